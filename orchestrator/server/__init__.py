"""The HTTP server: RPC endpoint, SSE delivery, health, metrics and proofs."""
