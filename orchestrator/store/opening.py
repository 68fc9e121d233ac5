"""Which store a URL means."""

from __future__ import annotations

from pathlib import Path

from orchestrator.store.errors import StoreError
from orchestrator.store.memory import MemoryStore
from orchestrator.store.port import Store
from orchestrator.store.sqlite import SqliteStore

_SQLITE = "sqlite:///"


def open_store(url: str) -> Store:
    """Return the store of a URL, not opened yet: the engine opens and closes it.

    `sqlite:///FILE` (`sqlite:////abs/FILE` for an absolute path), `sqlite:///:memory:` or `memory://`.
    Raises StoreError for anything else.
    """
    if url == "memory://":
        return MemoryStore()
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        place = url.removeprefix(_SQLITE)
        return SqliteStore(None if place == ":memory:" else Path(place))
    raise StoreError(f"unknown store {url!r}: use sqlite:///FILE, sqlite:///:memory: or memory://")
