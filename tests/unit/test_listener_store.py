"""The listener's own file: what it keeps, how it is shared, and how it says that it cannot be used."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from listener import CursorStoreError, Source, SqliteCursorStore
from listener.store import Cursor, OpenCounts, OpenProposal, Outcome, Parked

SOURCE = Source(chain_id=1, dao="0x" + "da" * 20)
OTHER = Source(chain_id=2, dao="0x" + "da" * 20)


def at(number: int) -> Cursor:
    return Cursor(block_number=number, block_hash=number.to_bytes(32, "big"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cursor.db"


async def test_what_is_written_is_there_after_reopening(path: Path) -> None:
    async with await SqliteCursorStore.open(path) as store:
        assert await store.cursor(SOURCE) is None
        await store.advance(SOURCE, at(5), ["7"], [])
    async with await SqliteCursorStore.open(f"sqlite:///{path}") as store:
        assert await store.cursor(SOURCE) == at(5)
        assert await store.cursor(OTHER) is None
        assert await store.due(SOURCE, 0, 0, 10) == [OpenProposal(proposal_id="7", failures=0)]
        assert await store.counts(OTHER) == OpenCounts(open=0, parked=0)


async def test_a_cursor_never_moves_back(path: Path) -> None:
    async with await SqliteCursorStore.open(path) as store:
        await store.advance(SOURCE, at(9), [], [])
        await store.advance(SOURCE, at(5), ["1"], [])
        assert await store.cursor(SOURCE) == at(9)
        assert (await store.counts(SOURCE)).open == 1, "what the slower listener found is kept all the same"


async def test_the_life_of_an_open_proposal(path: Path) -> None:
    async with await SqliteCursorStore.open(path) as store:
        await store.advance(SOURCE, at(5), ["1", "2"], [])
        await store.record(
            SOURCE,
            Outcome(
                deadlines=[("1", 100)], parked=[Parked(proposal_id="2", retry_at_ms=5_000, reason="reverted")]
            ),
        )
        assert await store.due(SOURCE, 100, 4_999, 10) == []
        assert [each.proposal_id for each in await store.due(SOURCE, 101, 4_999, 10)] == ["1"]
        assert await store.due(SOURCE, 0, 5_000, 10) == [OpenProposal(proposal_id="2", failures=1)]
        assert await store.counts(SOURCE) == OpenCounts(open=2, parked=1)

        await store.advance(SOURCE, at(6), [], ["1", "unknown"])
        assert [each.proposal_id for each in await store.due(SOURCE, 0, 0, 10)] == ["1"]
        await store.advance(SOURCE, at(7), ["1"], [])
        await store.record(SOURCE, Outcome(ended=["1"], deadlines=[("2", 9)]))
        assert await store.counts(SOURCE) == OpenCounts(open=1, parked=0)


async def test_a_proposal_noted_twice_keeps_what_is_known(path: Path) -> None:
    async with await SqliteCursorStore.open(path) as store:
        await store.advance(SOURCE, at(5), ["1"], [])
        await store.record(SOURCE, Outcome(deadlines=[("1", 2**256 - 1)]))
        await store.advance(SOURCE, at(6), ["1"], [])
        assert await store.due(SOURCE, 2**62, 0, 10) == []


async def test_two_handles_write_at_once(path: Path) -> None:
    async with await SqliteCursorStore.open(path) as one, await SqliteCursorStore.open(path) as two:
        await asyncio.gather(
            *(
                store.advance(SOURCE, at(number), [f"{number}"], [])
                for number in range(40)
                for store in (one, two)
            )
        )
        assert await one.cursor(SOURCE) == at(39)
        assert (await two.counts(SOURCE)).open == 40


async def test_two_processes_may_create_it_together(path: Path) -> None:
    stores = await asyncio.gather(*(SqliteCursorStore.open(path) for _ in range(5)))
    for store in stores:
        await store.advance(SOURCE, at(1), [], [])
        await store.close()


async def test_a_locked_file_is_told_in_time(path: Path) -> None:
    async with await SqliteCursorStore.open(path, busy_timeout_s=0.05) as store:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(CursorStoreError, match="another process has locked it") as caught:
                await store.advance(SOURCE, at(1), [], [])
            assert str(path) in str(caught.value)
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        await store.advance(SOURCE, at(1), [], [])


async def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"this is no database" * 100)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE something (x)")
    connection.close()
    newer = tmp_path / "newer.db"
    (await _opened(newer)).execute("PRAGMA user_version = 99").connection.close()
    for path, reason in [
        (garbage, "not a database: name another file, or remove it"),
        (foreign, "no cursor file of this version"),
        (newer, "no cursor file of this version"),
        (tmp_path / "missing" / "cursor.db", "does not exist: create it"),
        (tmp_path, "unable to open database file: check that it is a file"),
    ]:
        with pytest.raises(CursorStoreError, match=reason) as caught:
            await SqliteCursorStore.open(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert garbage.read_bytes().startswith(b"this is no database"), "nothing is overwritten"


async def _opened(path: Path) -> sqlite3.Cursor:
    await (await SqliteCursorStore.open(path)).close()
    return sqlite3.connect(path).cursor()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
async def test_a_file_that_may_not_be_written_is_named(path: Path) -> None:
    await (await SqliteCursorStore.open(path)).close()
    path.chmod(stat.S_IRUSR)  # noqa: ASYNC240 - an instant on a local file
    with pytest.raises(CursorStoreError, match="readonly"):
        await SqliteCursorStore.open(path)
