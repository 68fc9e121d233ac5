"""The thread of SQLite's transactions: what it carries out, and whom it tells."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from orchestrator.store.sqlite_thread import StoreThread

NAME = "a-store"
PATIENCE_S = 10.0


@pytest.fixture
def thread() -> Iterator[StoreThread]:
    made = StoreThread(NAME)
    yield made
    made.shutdown()


async def test_calls_are_carried_out_in_the_thread_in_their_order(thread: StoreThread) -> None:
    done: list[tuple[int, str]] = []

    def work(number: int) -> int:
        done.append((number, threading.current_thread().name))
        return number * number

    loop = asyncio.get_running_loop()
    futures = [loop.run_in_executor(thread, work, number) for number in range(200)]
    assert await asyncio.gather(*futures) == [number * number for number in range(200)]
    assert done == [(number, NAME) for number in range(200)]


async def test_a_fault_reaches_who_waits_and_nobody_else(thread: StoreThread) -> None:
    def fail() -> None:
        raise LookupError("not here")

    loop = asyncio.get_running_loop()
    failing, after = loop.run_in_executor(thread, fail), loop.run_in_executor(thread, str, 5)
    with pytest.raises(LookupError, match="not here"):
        await failing
    assert await after == "5"


async def test_who_is_cancelled_stops_neither_the_call_nor_the_thread(thread: StoreThread) -> None:
    begun, may_go, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        if may_go.wait(PATIENCE_S):
            done.set()

    loop = asyncio.get_running_loop()
    waiting = loop.run_in_executor(thread, work)
    assert await asyncio.to_thread(begun.wait, PATIENCE_S)
    waiting.cancel()
    may_go.set()
    assert await loop.run_in_executor(thread, done.is_set)
    assert waiting.cancelled()


async def test_what_is_cancelled_before_its_turn_is_never_begun(thread: StoreThread) -> None:
    may_go, done = threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    before = loop.run_in_executor(thread, may_go.wait, PATIENCE_S)
    loop.run_in_executor(thread, done.set).cancel()
    may_go.set()
    assert await before
    assert not await loop.run_in_executor(thread, done.is_set)


def test_a_loop_that_was_closed_meanwhile_does_not_end_the_thread(thread: StoreThread) -> None:
    may_go = threading.Event()

    async def leave() -> None:
        asyncio.get_running_loop().run_in_executor(thread, may_go.wait, PATIENCE_S)

    async def ask() -> str:
        return await asyncio.get_running_loop().run_in_executor(thread, str, 7)

    asyncio.run(leave())
    may_go.set()
    assert asyncio.run(ask()) == "7"


async def test_what_nobody_waits_for_is_done_in_its_place(thread: StoreThread) -> None:
    done: list[str] = []
    thread.start(lambda: done.append("first"))
    await asyncio.get_running_loop().run_in_executor(thread, done.append, "second")
    assert done == ["first", "second"]


def test_it_ends_behind_the_calls_that_came_before() -> None:
    thread, done = StoreThread(NAME), []
    for number in range(50):
        thread.start(lambda number=number: done.append(number))  # type: ignore[misc]
    thread.shutdown()
    assert done == list(range(50))
    assert NAME not in {each.name for each in threading.enumerate()}


async def test_nothing_of_a_call_is_kept_once_it_is_done(thread: StoreThread) -> None:
    class Large:
        pass

    large = Large()
    kept = weakref.ref(large)
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(thread, lambda each: each is not None, large)
    await loop.run_in_executor(thread, lambda: None)
    del large
    gc.collect()
    assert kept() is None
