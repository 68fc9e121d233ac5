"""Durable homes for promises and tasks, behind one port."""

from orchestrator.store.errors import InvalidRow, StoreError
from orchestrator.store.memory import MemoryStore
from orchestrator.store.opening import open_store
from orchestrator.store.port import Store
from orchestrator.store.sqlite import SqliteStore

__all__ = ["InvalidRow", "MemoryStore", "SqliteStore", "Store", "StoreError", "open_store"]
