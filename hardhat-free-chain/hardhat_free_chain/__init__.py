"""A local chain: eth-tester and py-evm behind JSON-RPC over HTTP and WebSocket."""
