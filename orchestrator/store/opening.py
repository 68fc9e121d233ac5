"""Which store a URL means."""

from __future__ import annotations

from pathlib import Path

from orchestrator.store.errors import StoreError, driver_error
from orchestrator.store.memory import MemoryStore
from orchestrator.store.port import Store
from orchestrator.store.sqlite import SqliteStore

_SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")
"""How the URL of a PostgreSQL store begins."""


def open_store(url: str) -> Store:
    """Return the store of a URL, not opened yet: the engine opens and closes it.

    `sqlite:///FILE` (`sqlite:////abs/FILE` for an absolute path), `sqlite:///:memory:`, `memory://`, or
    `postgresql://USER:PASSWORD@HOST:PORT/DATABASE` (`?host=/FOLDER` for a Unix socket).
    Raises StoreError for anything else.
    """
    if url == "memory://":
        return MemoryStore()
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        place = url.removeprefix(_SQLITE)
        return SqliteStore(None if place == ":memory:" else Path(place))
    if url.startswith(POSTGRES):
        return _postgres(url)
    shown = url.rsplit("@", maxsplit=1)[-1]  # what stands before may be a password
    raise StoreError(
        f"unknown store {shown!r}: use sqlite:///FILE, sqlite:///:memory:, postgresql://HOST/DATABASE "
        "or memory://"
    )


def _postgres(url: str) -> Store:
    try:
        from orchestrator.store.postgres import PostgresStore  # noqa: PLC0415  # an extra
    except ModuleNotFoundError as error:
        raise driver_error() from error
    return PostgresStore(url)
