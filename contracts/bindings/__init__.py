"""Typed, I/O-free encoders and decoders for each contract and event."""
