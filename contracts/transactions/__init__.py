"""Durable sending: a nonce reserved, bytes stored, then broadcast and confirmed."""
