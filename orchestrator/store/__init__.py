"""The stores behind the engine: the port, SQLite, memory, and the migrations."""
