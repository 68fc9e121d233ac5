"""Attempts of leaf functions: limits, heartbeats, retries, failures and their causes; everywhere alike."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from orchestrator import (
    ApplicationError,
    Constant,
    Context,
    Exponential,
    Info,
    Never,
    Orchestrator,
)
from tests.integration.sdk_places import PATIENCE_S, Place, place

__all__ = ["place"]
ONCE_MORE = Constant(delay_s=0.01, attempts_max=2)


async def outcome(app: Orchestrator, fn: Any, *args: Any) -> Any:
    app.register(fn)
    async with app, asyncio.timeout(PATIENCE_S):
        return await app.run("w", fn, *args)


async def test_an_attempt_that_takes_too_long_is_followed_by_another(place: Place) -> None:
    async def slow(info: Info) -> int:
        if info.attempt == 1:
            await asyncio.Event().wait()
        return info.attempt

    async def flow(ctx: Context) -> int:
        return await ctx.run(slow)

    app = place.make()
    app.register(slow, attempt_timeout_s=0.1, retry=ONCE_MORE)
    assert await outcome(app, flow) == 2


async def test_the_limit_of_a_call_goes_before_that_of_the_function(place: Place) -> None:
    async def slow() -> None:
        await asyncio.Event().wait()

    async def flow(ctx: Context) -> str:
        try:
            await ctx.options(attempt_timeout_s=0.05).run(slow)
        except ApplicationError as error:
            return f"{error.type_name}: {error.message}"
        return "never"

    app = place.make()
    app.register(slow, attempt_timeout_s=60, retry=Never())
    expected = "AttemptTimedOut: an attempt of slow version 1 took longer than 0.05 s"
    assert await outcome(app, flow) == expected


async def test_a_thread_whose_time_is_over_is_told_and_not_waited_for(place: Place) -> None:
    told = threading.Event()

    def slow(info: Info) -> str:
        while info.attempt == 1 and not info.cancelled:
            time.sleep(0.01)
        if info.cancelled:
            told.set()
        return f"attempt {info.attempt}"

    async def flow(ctx: Context) -> str:
        return await ctx.run(slow)

    app = place.make()
    app.register(slow, attempt_timeout_s=0.1, retry=ONCE_MORE)
    assert await outcome(app, flow) == "attempt 2"
    assert told.wait(PATIENCE_S)


async def test_waiting_for_a_thread_does_not_count(place: Place) -> None:
    def slow(number: int) -> int:
        time.sleep(0.12)
        return number

    async def flow(ctx: Context) -> list[int]:
        return await ctx.gather(*[ctx.run(slow, number) for number in range(4)])

    app = place.make(threads_max=1)
    app.register(slow, attempt_timeout_s=0.3, retry=Never())
    assert await outcome(app, flow) == [0, 1, 2, 3]


async def test_heartbeats_keep_an_attempt_alive_and_silence_ends_it(place: Place) -> None:
    async def beating(info: Info) -> str:
        for _ in range(10):
            await asyncio.sleep(0.05)
            info.heartbeat()
        if info.attempt == 1:
            await asyncio.Event().wait()
        return f"attempt {info.attempt}"

    def in_thread(info: Info) -> str:
        for _ in range(10):
            time.sleep(0.05)
            info.heartbeat()
        return f"attempt {info.attempt}"

    async def flow(ctx: Context) -> list[str]:
        return await ctx.gather(ctx.run(beating), ctx.run(in_thread))

    app = place.make()
    app.register(beating, heartbeat_timeout_s=0.25, retry=ONCE_MORE)
    app.register(in_thread, heartbeat_timeout_s=0.25, retry=Never())
    assert await outcome(app, flow) == ["attempt 2", "attempt 1"]


async def test_silence_that_no_attempt_ends_is_the_failure(place: Place) -> None:
    async def silent() -> None:
        await asyncio.Event().wait()

    app = place.make()
    app.register(silent, heartbeat_timeout_s=0.05, attempt_timeout_s=60, retry=Never())
    async with app, asyncio.timeout(PATIENCE_S):
        with pytest.raises(ApplicationError, match=r"silent version 1 gave no heartbeat for 0\.05 s"):
            await app.run("w", silent)


async def test_a_time_out_of_the_functions_own_is_its_own(place: Place) -> None:
    async def impatient() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    app = place.make()
    app.register(impatient, attempt_timeout_s=60, retry=Never())
    async with app, asyncio.timeout(PATIENCE_S):
        with pytest.raises(ApplicationError) as caught:
            await app.run("w", impatient)
    assert caught.value.type_name == "TimeoutError"


async def test_retries_end_after_their_total_time(place: Place) -> None:
    attempts = []

    async def failing(info: Info) -> None:
        attempts.append(info.attempt)
        raise ValueError("again")

    policy = Exponential(delay_s=0.1, factor=1, jitter=0, attempts_max=None, duration_s_max=0.35)
    app = place.make()
    app.register(failing, retry=policy)
    async with app, asyncio.timeout(PATIENCE_S):
        with pytest.raises(ApplicationError, match="again"):
            await app.run("w", failing)
    assert 2 <= len(attempts) <= 4


async def test_a_failure_brings_its_causes(place: Place) -> None:
    class Broken(Exception):
        def __init__(self, message: str, data: object) -> None:
            super().__init__(message)
            self.data = data

    async def leaf() -> None:
        try:
            try:
                raise Broken("the disk", {"sector": 7})
            except Broken as error:
                raise OSError("no write") from error
        except OSError as error:
            raise RuntimeError("not saved") from error

    async def flow(ctx: Context) -> None:
        try:
            await ctx.run(leaf)
        except ApplicationError as error:
            raise LookupError("gave up") from error

    app = place.make()
    app.register(leaf, retry=Never())
    with pytest.raises(ApplicationError) as caught:
        await outcome(app, flow)
    chain = []
    error: BaseException | None = caught.value
    while isinstance(error, ApplicationError):
        chain.append((error.type_name, error.message, error.data))
        error = error.__cause__
    assert chain == [
        ("LookupError", "gave up", None),
        ("RuntimeError", "not saved", None),
        ("OSError", "no write", None),
        ("Broken", "the disk", {"sector": 7}),
    ]


async def test_a_long_chain_of_causes_is_cut(place: Place) -> None:
    async def leaf() -> None:
        error = ValueError("0")
        error.__cause__ = error  # as a chain without an end
        raise error

    app = place.make()
    app.register(leaf, retry=Never())
    async with app, asyncio.timeout(PATIENCE_S):
        with pytest.raises(ApplicationError) as caught:
            await app.run("w", leaf)
    length, error = 0, caught.value.__cause__
    while error is not None:
        length, error = length + 1, error.__cause__
    assert length == 8
