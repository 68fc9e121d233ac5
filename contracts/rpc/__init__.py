"""Access to chain nodes over JSON-RPC."""
