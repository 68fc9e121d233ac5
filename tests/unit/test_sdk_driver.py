"""The driver steps coroutines and generators alike, hides the loop, and refuses what is not durable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest

from orchestrator.client.driver import Driver, Finished, ForeignAwait
from orchestrator.client.future import DurableFuture, Raised, Returned
from orchestrator.domain.errors import Abandoned


def open_future(name: str = "w:1") -> DurableFuture[int]:
    return DurableFuture(name, int, None)


async def awaiting(future: DurableFuture[int]) -> int:
    return await future + 1


def yielding(future: DurableFuture[int]) -> Generator[Any, Any, int]:
    return (yield future) + 1


def delegating(future: DurableFuture[int]) -> Generator[Any, Any, int]:
    value = yield from future
    return value + 1


@pytest.mark.parametrize("body", [awaiting, yielding, delegating])
def test_a_body_waits_and_goes_on(body: Callable[..., Any]) -> None:
    future = open_future()
    driver = Driver(body(future), "body")
    assert driver.step(Returned(None)) is future
    assert driver.step(Returned(41)) == Finished(Returned(42))


@pytest.mark.parametrize("body", [awaiting, yielding, delegating])
def test_an_error_is_raised_where_the_body_waits(body: Callable[..., Any]) -> None:
    driver = Driver(body(open_future()), "body")
    driver.step(Returned(None))
    error = ValueError("no")
    assert driver.step(Raised(error)) == Finished(Raised(error))


async def sleeps() -> None:
    await asyncio.sleep(1)


async def starts_a_task() -> None:
    asyncio.get_running_loop()


async def yields_to_the_loop() -> None:
    await asyncio.sleep(0)


def bare_yield() -> Generator[Any, Any, None]:
    yield


@pytest.mark.parametrize("body", [sleeps, starts_a_task, yields_to_the_loop, bare_yield])
async def test_asyncio_is_refused_with_the_durable_way(body: Callable[[], Any]) -> None:
    result = Driver(body(), body.__name__).step(Returned(None))
    assert isinstance(result, Finished)
    assert isinstance(result.outcome, Raised)
    assert isinstance(result.outcome.error, ForeignAwait)
    assert body.__name__ in str(result.outcome.error)
    assert "ctx.run" in str(result.outcome.error)
    assert asyncio.get_running_loop() is not None


async def test_a_foreign_future_is_refused_where_it_is_awaited() -> None:
    foreign: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def body(awaitable: Awaitable[int]) -> str:
        try:
            await awaitable
        except ForeignAwait:
            return "refused"
        return "taken"

    assert Driver(body(foreign), "body").step(Returned(None)) == Finished(Returned("refused"))


def test_what_ends_an_execution_passes_through() -> None:
    async def body() -> None:
        try:
            raise Abandoned("lost")
        except Exception:
            return

    with pytest.raises(Abandoned):
        Driver(body(), "body").step(Returned(None))


def test_closing_runs_the_finally_blocks() -> None:
    ended = []

    async def body() -> None:
        try:
            await open_future()
        finally:
            ended.append(True)

    driver = Driver(body(), "body")
    driver.step(Returned(None))
    driver.close()
    assert ended == [True]
