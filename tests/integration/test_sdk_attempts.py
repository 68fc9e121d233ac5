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
    Keyring,
    Never,
    Orchestrator,
    Refused,
)
from orchestrator.client import codec
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
    app.register(slow, attempt_timeout_s=0.3, retry=ONCE_MORE)
    assert await outcome(app, flow) == "attempt 2"
    assert told.wait(PATIENCE_S)


async def test_waiting_for_a_thread_does_not_count(place: Place) -> None:
    def slow(number: int) -> int:
        time.sleep(0.06)
        return number

    async def flow(ctx: Context) -> list[int]:
        return await ctx.gather(*[ctx.run(slow, number) for number in range(10)])

    app = place.make(threads_max=1)
    app.register(slow, attempt_timeout_s=0.5, retry=Never())
    assert await outcome(app, flow) == list(range(10))


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


async def test_while_the_loop_stands_still_nobody_is_silent() -> None:
    async def beating(info: Info) -> str:
        for _ in range(20):
            await asyncio.sleep(0.02)
            info.heartbeat()
        return f"attempt {info.attempt}"

    async def blocking() -> None:
        for _ in range(3):
            time.sleep(0.4)  # noqa: ASYNC251 - longer than the others may be silent
            await asyncio.sleep(0.05)

    async def flow(ctx: Context) -> str:
        said, _ = await ctx.gather(ctx.run(beating), ctx.run(blocking))
        return said

    app = Orchestrator.local(":memory:")
    app.register(blocking)
    app.register(beating, heartbeat_timeout_s=0.2, retry=Never())
    assert await outcome(app, flow) == "attempt 1"


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

    policy = Exponential(delay_s=0.2, factor=1, jitter=0, attempts_max=None, duration_s_max=0.7)
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


async def test_the_next_attempt_reads_how_far_the_last_one_came(place: Place) -> None:
    async def batch(info: Info) -> list[Any]:
        if info.attempt == 1:
            assert info.progress is None
            info.heartbeat({"done": {1, 2}})
            raise OSError("the network")
        return [info.attempt, info.progress]

    async def flow(ctx: Context) -> list[Any]:
        return await ctx.run(batch)

    app = place.make()
    app.register(batch, retry=ONCE_MORE)
    assert await outcome(app, flow) == [2, {"done": {1, 2}}]


@pytest.mark.parametrize("as_root", [True, False], ids=["root", "step"])
@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
async def test_progress_outlives_its_process_and_leaves_no_trace(
    place: Place, *, as_root: bool, encrypted: bool
) -> None:
    if not place.remembers:
        pytest.skip("nothing in memory outlives its process")
    noted = asyncio.Event()
    keys = Keyring({"k": bytes(32)}) if encrypted else None

    async def batch(info: Info) -> Any:
        if info.progress is None:
            info.heartbeat(["row", 7])
            noted.set()
            await asyncio.Event().wait()
        return info.progress

    async def flow(ctx: Context) -> Any:
        return await ctx.run(batch)

    def application() -> Orchestrator:
        app = place.make(ttl_ms=1000, encryptor=keys, pid="member")
        app.register(batch)
        app.register(flow)
        return app

    first, step = application(), "w" if as_root else "w:1"
    await first.start()
    async with asyncio.timeout(PATIENCE_S):
        await first.begin_run("w", batch if as_root else flow)
        await noted.wait()
        while (await recorded(first, step)) is None:  # noqa: ASYNC110 - the engine's
            await asyncio.sleep(0.02)
        await first.abort()
        async with application() as second:
            assert await (await second.get("w")).result() == ["row", 7]
            record = await second.promises.get(step)
    assert record.value.data == codec.to_data(["row", 7]), "the outcome has taken the progress's place"


async def recorded(app: Orchestrator, promise_id: str) -> str | None:
    try:
        return (await app.promises.get(promise_id)).value.data
    except Refused:
        return None


async def test_progress_without_a_stored_form_is_the_functions_error(place: Place) -> None:
    async def batch(info: Info) -> None:
        info.heartbeat(object())

    app = place.make()
    app.register(batch, retry=Never())
    async with app, asyncio.timeout(PATIENCE_S):
        with pytest.raises(ApplicationError, match=r"the progress of w: builtins\.object has no stored form"):
            await app.run("w", batch)


async def test_progress_may_be_noted_as_often_as_one_likes(place: Place) -> None:
    async def busy(info: Info) -> int:
        for row in range(3_000):
            info.heartbeat(row)
            if row % 100 == 0:
                await asyncio.sleep(0)
        return int(info.progress)

    app = place.make()
    app.register(busy, retry=Never())
    async with app, asyncio.timeout(PATIENCE_S):
        assert await app.run("w", busy) == 2_999
