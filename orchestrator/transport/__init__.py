"""How a client reaches an engine: in process, or over HTTP and SSE."""
