"""A look at a store's file from outside: nothing is created, locked for long, upgraded or released."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from orchestrator.store.errors import StoreError, driver_error
from orchestrator.store.migration import check_revision, revision_of

_BUSY_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """What stands in the file, and who uses it.

    `revision` is that of the schema, None while there is no file or nothing in it; `upgrade_due` says that
    opening will bring it to this program's. `owner` is the pid of the process that holds it, as text.
    """

    exists: bool
    revision: str | None
    upgrade_due: bool
    owner: str | None


def inspect_file(path: Path) -> StoreStatus:
    """Return what an owner would find. Raises StoreError for a file that none could open."""
    owner = _owner(path.with_name(path.name + ".lock"))
    if not path.parent.is_dir():
        raise StoreError(f"store {path}: directory {path.parent} does not exist; create it")
    if not os.access(path.parent, os.W_OK):
        raise StoreError(f"store {path}: directory {path.parent} is not writable; change its permissions")
    if not path.exists():
        return StoreStatus(exists=False, revision=None, upgrade_due=True, owner=owner)
    if not os.access(path, os.R_OK | os.W_OK):
        raise StoreError(f"store {path} cannot be read and written; change its permissions")
    revision = _revision(path)
    return StoreStatus(
        exists=True, revision=revision, upgrade_due=check_revision(revision, str(path)), owner=owner
    )


async def inspect_database(url: str) -> StoreStatus:
    """Return what a server would find in a PostgreSQL database. Raises StoreError if it could not open it."""
    try:
        from orchestrator.store.postgres_connections import Connections  # noqa: PLC0415  # an extra
        from orchestrator.store.postgres_migration import revision_of  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise driver_error() from error
    connections = Connections(url, 1)
    async with connections.lent() as connection:
        revision = await revision_of(connection, connections.place)
    await connections.close()
    due = check_revision(revision, connections.place)
    return StoreStatus(exists=True, revision=revision, upgrade_due=due, owner=None)


def _revision(path: Path) -> str | None:
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S)
        try:
            return revision_of(connection, str(path))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(
            f"store {path} cannot be read ({error}); restore it from a backup, or choose another file"
        ) from error


def _owner(lock: Path) -> str | None:
    """Return who holds the lock; for an instant it is shared, which ends with the descriptor."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
    else:
        return None
    finally:
        os.close(descriptor)
