"""The demonstration: real processes on a local chain, one of them killed half-way."""
