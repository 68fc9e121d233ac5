"""What an operator does to a store beside serving from it: upgrade, check, back up, compact.

Checking and backing up a SQLite file read one snapshot of it through a connection of their own, which WAL
allows while its owner goes on writing; nothing of the owner's is locked. Upgrading and compacting change the
file, and so need to own it: while another process does, they are refused with its pid.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.store.errors import StoreError
from orchestrator.store.inspection import inspect_file
from orchestrator.store.maintenance_checks import (
    CHECKS,
    EXAMPLES_MAX,
    SQLITE,
    Finding,
    count_of,
    examples_of,
    unsound,
)
from orchestrator.store.migration import check_revision, prepare_file, revision_of
from orchestrator.store.opening import POSTGRES
from orchestrator.store.ownership import Ownership
from orchestrator.store.schema import HEAD

_SQLITE = "sqlite:///"
_BUSY_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """The revision before, None for a new store, and after."""

    before: str | None
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """The size before and after, in bytes."""

    before: int
    after: int


async def upgrade(url: str) -> Upgraded:
    """Bring a store to this program's revision, creating it if there is none. Raises StoreError."""
    if url.startswith(POSTGRES):
        from orchestrator.store import maintenance_postgres as postgres  # noqa: PLC0415  # an extra

        return Upgraded(before=await postgres.upgrade(url), after=HEAD)
    return await asyncio.to_thread(_upgrade_file, _path_of(url))


def _upgrade_file(path: Path) -> Upgraded:
    inspect_file(path)
    with _owned(path), closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S)) as connection, _told(path):
        before = revision_of(connection, str(path))
        if check_revision(before, str(path)):
            prepare_file(connection, path, before)
    return Upgraded(before=before, after=HEAD)


async def check(url: str) -> list[Finding]:
    """Look for everything that must not be in a store; it may be in use. Raises StoreError.

    Each check stands in the answer, with the number of its faults and the ids of some.
    """
    if url.startswith(POSTGRES):
        from orchestrator.store import maintenance_postgres as postgres  # noqa: PLC0415  # an extra

        return await postgres.check(url)
    return await asyncio.to_thread(_check_file, _path_of(url))


def _check_file(path: Path) -> list[Finding]:
    with _reading(path) as connection, _told(path):
        connection.execute("BEGIN")  # one snapshot for all that follows
        damage = _damage(connection)
        if damage:
            return [unsound(damage)]  # nothing else that is read from it could be believed
        findings = [unsound([])]
        for each in CHECKS:
            sql = each.sql(SQLITE)
            faults = connection.execute(count_of(sql)).fetchone()[0]
            found = [str(row[0]) for row in connection.execute(examples_of(sql))] if faults else []
            findings.append(Finding(check=each.name, invariant=each.invariant, faults=faults, examples=found))
        return findings


def _damage(connection: sqlite3.Connection) -> list[str]:
    """Return what SQLite finds wrong with a file, in its own words."""
    try:
        found = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({EXAMPLES_MAX})")]
    except sqlite3.DatabaseError as error:  # so broken that not even that can be told
        return [str(error)]
    return [] if found == ["ok"] else found


async def backup(url: str, target: Path) -> int:
    """Copy a store into a new file, which may be done while a server runs; return the size in bytes.

    The copy appears under its name only when it is complete, sound and on the disk. Raises StoreError.
    """
    if url.startswith(POSTGRES):
        raise StoreError(
            "a PostgreSQL store is backed up with PostgreSQL's own tools: "
            "pg_dump --format=custom --file=FILE URL"
        )
    return await asyncio.to_thread(_backup_file, _path_of(url), target)


def _backup_file(path: Path, target: Path) -> int:
    if target.exists():
        raise StoreError(f"{target} exists already; name a new file")
    if not target.parent.is_dir():
        raise StoreError(f"cannot write {target}: directory {target.parent} does not exist; create it")
    partial = target.with_name(target.name + ".partial")
    try:
        with _reading(path) as source, closing(sqlite3.connect(partial)) as copy, _told(path):
            # In one step: a copy of several would begin anew at each write of the store's owner.
            source.backup(copy, pages=-1)
            damage = _damage(copy)
            if not damage:
                # The copy needs no files beside it: it is to be moved as one.
                copy.execute("PRAGMA journal_mode = DELETE")
        if damage:
            raise StoreError(f"store {path} is damaged ({damage[0]}); keep your last good copy")
        _make_durable(partial)
        partial.rename(target)
        _make_durable(target.parent)
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def _make_durable(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def compact(url: str) -> Compacted:
    """Give the space of what was deleted back to the disk. Raises StoreError.

    A SQLite file is written anew, which needs as much space again, and its write-ahead log is emptied;
    tables of PostgreSQL are vacuumed beside whoever uses them.
    """
    if url.startswith(POSTGRES):
        from orchestrator.store import maintenance_postgres as postgres  # noqa: PLC0415  # an extra

        before, after = await postgres.compact(url)
        return Compacted(before=before, after=after)
    return await asyncio.to_thread(_compact_file, _path_of(url))


def _compact_file(path: Path) -> Compacted:
    _check_exists(path)
    with _owned(path):
        before = _size(path)
        with (
            closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as connection,
            _told(path),
        ):
            if revision_of(connection, str(path)) is None:
                raise StoreError(f"store {path} is empty; there is nothing to compact")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return Compacted(before=before, after=_size(path))


def _size(path: Path) -> int:
    parts = (path, path.with_name(path.name + "-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())


def _path_of(url: str) -> Path:
    place = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or place in {"", ":memory:"}:
        raise StoreError("this store is kept in memory only; name one that lasts with --store")
    return Path(place)


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise StoreError(f"there is no store {path}; name one with --store")


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold a connection that can write nothing, to a file of this program's revision."""
    _check_exists(path)
    if inspect_file(path).upgrade_due:
        raise StoreError(f"store {path} is not of revision {HEAD}; run dao-scorer db upgrade first")
    uri = f"{path.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _owned(path: Path) -> Iterator[None]:
    ownership = Ownership(path)
    ownership.take()
    try:
        yield
    finally:
        ownership.release()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell an error of SQLite as one of the store, with what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"store {path} failed: {error}; check the disk's space and rights") from error
