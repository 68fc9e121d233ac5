"""JSON-RPC: requests in, answers out, over a table of methods; knows no transport."""
