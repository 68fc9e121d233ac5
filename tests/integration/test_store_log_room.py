"""Room for SQLite's log: made once the log is in use, never over what SQLite writes, and never needed."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.domain.promise import EMPTY, PromiseRecord, PromiseState, Value
from orchestrator.store import sqlite, sqlite_log
from orchestrator.store.port import Changes, LoadRows, Program, Write, ask
from orchestrator.store.sqlite import CHECKPOINT_PAGES, LOG_ROOM_PAGES, LOOK_PAUSE_S, SqliteStore
from orchestrator.store.sqlite_log import CopyingDue, LogRoom

WHOLE_BYTES = 32 + LOG_ROOM_PAGES * (24 + 4096)
PATIENCE_S = 20


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "s.db")
    await made.open()
    yield made
    await made.close()


def log_of(tmp_path: Path) -> Path:
    return tmp_path / "s.db-wal"


async def write(store: SqliteStore, name: str, *, size: int = 3000) -> None:
    promise = PromiseRecord(
        id=name,
        state=PromiseState.PENDING,
        param=Value(data="x" * size),
        value=EMPTY,
        tags={},
        timeout_at=9,
        created_at=1,
    )

    def program(_: int) -> Program[None]:
        yield from ask(Write(changes=Changes(promises_created=[promise])))

    await store.run(program, 1)


async def found(store: SqliteStore, names: list[str]) -> set[str]:
    def program(_: int) -> Program[set[str]]:
        rows = yield from ask(LoadRows(ids=names))
        return {promise.id for promise, _ in rows}

    return await store.run(program, 1)


async def until_made(store: SqliteStore, path: Path) -> list[str]:
    """Write until there is all the room; return what was written."""
    names: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        while path.stat().st_size < WHOLE_BYTES:  # noqa: ASYNC240 - it is here
            names.append(f"p-{len(names)}")
            await write(store, names[-1])
            await asyncio.sleep(0)
    return names


async def test_a_log_in_use_gets_its_room_and_is_read_again(store: SqliteStore, tmp_path: Path) -> None:
    names = await until_made(store, log_of(tmp_path))
    assert log_of(tmp_path).stat().st_size == WHOLE_BYTES, "it was made ahead"
    # As after a crash: the log, its room behind it, is all that there is of most of it.
    for name in ("s.db", "s.db-wal"):
        shutil.copy(tmp_path / name, tmp_path / f"left-{name}")
    left = SqliteStore(tmp_path / "left-s.db")
    await left.open()
    assert await found(left, names) == set(names)
    await left.close()
    again = sqlite3.connect(tmp_path / "left-s.db")
    assert again.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    again.close()


async def test_the_log_begins_anew_within_its_room(store: SqliteStore, tmp_path: Path) -> None:
    names = await until_made(store, log_of(tmp_path))
    for number in range(100):
        names.append(f"large-{number}")
        await write(store, names[-1], size=1_000_000)
    assert log_of(tmp_path).stat().st_size < 2 * WHOLE_BYTES
    assert await found(store, names) == set(names)


async def test_the_log_is_copied_in_the_stores_thread_when_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that did it would hold the loop for as long as the disk takes."""
    copies: list[tuple[str, int]] = []
    copied = CopyingDue.copied

    def note(due: CopyingDue, changes: int, pages: int) -> None:
        copies.append((threading.current_thread().name, pages))
        copied(due, changes, pages)

    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 400)
    monkeypatch.setattr(sqlite, "LOOK_PAUSE_S", 0.0)
    monkeypatch.setattr(sqlite_log, "CHANGES_FIRST", 20)
    monkeypatch.setattr(sqlite_log, "CHANGES_MIN", 1)
    monkeypatch.setattr(CopyingDue, "copied", note)
    store = SqliteStore(tmp_path / "s.db")
    await store.open()
    for number in range(800):
        await write(store, f"p-{number}")
    await store.close()
    assert len(copies) >= 3
    assert {name.partition("_")[0] for name, _ in copies} == {"sqlite-store"}
    later = [pages for _, pages in copies[2:]]
    assert all(100 <= pages <= 1_600 for pages in later), copies


def test_a_log_that_a_commit_had_to_copy_is_not_taken_for_one_that_hardly_grows() -> None:
    due = CopyingDue(pages=8_000)
    assert due.ask(3_000)
    due.copied(changes=3_000, pages=1_700)  # a small file: many changes of few pages
    assert due.ask(11_000)
    due.copied(changes=11_000, pages=900)  # a commit had copied it a moment ago
    assert not due.ask(18_000)
    assert due.ask(19_000)


async def test_a_store_of_a_few_commits_stays_small(store: SqliteStore, tmp_path: Path) -> None:
    for number in range(5):
        await write(store, f"p-{number}")
    await asyncio.sleep(2 * LOOK_PAUSE_S)
    await write(store, "last")
    assert log_of(tmp_path).stat().st_size < sqlite_log.FROM_BYTES


async def test_a_disk_that_is_nearly_full_is_left_alone(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fstatvfs", lambda _: SimpleNamespace(f_bavail=1000, f_frsize=4096))
    await write(store, "large", size=sqlite_log.FROM_BYTES)
    await asyncio.sleep(2 * LOOK_PAUSE_S)
    for number in range(20):
        await write(store, f"p-{number}")
    assert store._room is not None
    assert store._room._thread is not None
    store._room._thread.join()
    assert log_of(tmp_path).stat().st_size < 4 * sqlite_log.FROM_BYTES


async def test_what_cannot_be_lengthened_is_written_all_the_same(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    await write(store, "large", size=sqlite_log.FROM_BYTES)
    await asyncio.sleep(2 * LOOK_PAUSE_S)
    names = [f"p-{number}" for number in range(20)]
    for name in names:
        await write(store, name)
    assert await found(store, names) == set(names)


async def test_closing_ends_it_and_removes_the_log(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    await store.open()
    await write(store, "large", size=sqlite_log.FROM_BYTES)
    await asyncio.sleep(2 * LOOK_PAUSE_S)
    await write(store, "last")
    await store.close()
    assert not log_of(tmp_path).exists()


def test_nothing_is_written_over_what_is_appended_meanwhile(tmp_path: Path) -> None:
    """By somebody who writes at the places that it has reached itself, as SQLite does."""
    log = log_of(tmp_path)
    log.write_bytes(b"x" * sqlite_log.FROM_BYTES)
    room = LogRoom(tmp_path / "s.db", CHECKPOINT_PAGES)
    with log.open("r+b") as file:
        room.look()
        file.seek(sqlite_log.FROM_BYTES)
        for _ in range(20_000):
            file.write(b"y" * 1000)
            file.flush()
    assert room._thread is not None
    room._thread.join()
    written = log.read_bytes()
    assert written.count(b"y") == 20_000_000
    assert written.rstrip(b"\0") == b"x" * sqlite_log.FROM_BYTES + b"y" * 20_000_000
