"""Leaf functions in processes of their own: values cross, deaths are attempts, and none is left behind."""

from __future__ import annotations

import asyncio
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ApplicationError, Constant, Context, Never, Orchestrator, PromiseCanceled
from orchestrator.client.processes import NotImportable, place_of
from tests.integration import process_functions as functions
from tests.integration.sdk_places import PATIENCE_S, Place, place
from tests.page_programs import run_program

__all__ = ["place"]
ONCE_MORE = Constant(delay_s=0.01, attempts_max=2)


def application(place: Place, fn: Any, **options: Any) -> Orchestrator:
    app = place.make(processes_max=2)
    app.register(fn, executor="process", **options)
    return app


async def ran(place: Place, fn: Any, *args: Any, **options: Any) -> Any:
    async with application(place, fn, **options) as app, asyncio.timeout(PATIENCE_S):
        return await app.run("w", fn, *args)


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


async def test_typed_values_cross(place: Place) -> None:
    weights = functions.Weights({"a": Decimal("1.50")}, b"\x00\xff")
    doubled = functions.Weights({"a": Decimal("3.00")}, b"\x00\xff\x00\xff")
    assert await ran(place, functions.doubled, weights, commit=False) == doubled


async def test_processes_are_bounded_used_again_and_gone_at_the_end(place: Place) -> None:
    async def flow(ctx: Context) -> list[int]:
        return await ctx.gather(*[ctx.run(functions.process_id) for _ in range(8)])

    app = application(place, functions.process_id)
    app.register(flow)
    async with app, asyncio.timeout(PATIENCE_S):
        found = set(await app.run("w", flow))
        assert len(found) <= 2
        assert os.getpid() not in found
        assert all(is_alive(one) for one in found)
    assert not any(is_alive(one) for one in found)


async def test_a_dead_process_is_a_failed_attempt(place: Place, tmp_path: Path) -> None:
    assert await ran(place, functions.dies_once, str(tmp_path), retry=ONCE_MORE) == 2


async def test_a_process_that_always_dies_fails_the_step(place: Place, tmp_path: Path) -> None:
    with pytest.raises(ApplicationError, match="dies_once version 1 ended with exit code -9") as caught:
        await ran(place, functions.dies_once, str(tmp_path), retry=Never())
    assert caught.value.type_name == "ProcessDied"


async def test_a_process_that_takes_too_long_is_killed(place: Place) -> None:
    assert await ran(place, functions.hangs_once, retry=ONCE_MORE, attempt_timeout_s=0.3) == 2


async def test_heartbeats_come_from_there(place: Place) -> None:
    assert await ran(place, functions.beats, retry=Never(), heartbeat_timeout_s=0.5) == 1


async def test_failures_come_with_type_data_and_cause_and_obey_the_policy(place: Place) -> None:
    policy = Constant(delay_s=0.01, attempts_max=5, non_retryable=(functions.Hopeless,))
    with pytest.raises(ApplicationError, match="attempt 1") as caught:
        await ran(place, functions.fails, retry=policy)
    assert (caught.value.type_name, caught.value.data) == ("Hopeless", {"why": Decimal(7)})
    assert isinstance(caught.value.__cause__, ApplicationError)
    assert caught.value.__cause__.type_name == "KeyError"


async def test_what_a_process_does_not_have_is_told(place: Place) -> None:
    with pytest.raises(ApplicationError, match="a process of its own has none"):
        await ran(place, functions.wants_dependency, retry=Never())


async def test_a_result_without_a_stored_form(place: Place) -> None:
    with pytest.raises(ApplicationError, match=r"builtins\.object has no stored form"):
        await ran(place, functions.gives_nothing_storable, retry=Never())


async def test_cancelling_kills_the_process(place: Place, tmp_path: Path) -> None:
    async def flow(ctx: Context) -> None:
        await ctx.run(functions.hangs, str(tmp_path))

    app = application(place, functions.hangs)
    app.register(flow)
    file = tmp_path / "pid"
    async with app, asyncio.timeout(PATIENCE_S):
        handle = await app.begin_run("w", flow)
        while not file.exists() or not file.read_text():  # noqa: ASYNC110 - another process writes
            await asyncio.sleep(0.02)
        process_id = int(file.read_text())
        await app.promises.cancel("w")
        with pytest.raises(PromiseCanceled):
            await handle.result()
        while is_alive(process_id):  # noqa: ASYNC110 - another process ends
            await asyncio.sleep(0.02)


def test_only_what_a_process_finds_by_name() -> None:
    app = Orchestrator.local(":memory:")

    def inner() -> None: ...

    async def heavy() -> None: ...

    with pytest.raises(TypeError, match="inner cannot run in a process of its own: define it at the top"):
        app.register(inner, executor="process")
    with pytest.raises(TypeError, match="only a plain `def`"):
        app.register(heavy, executor="process")
    renamed = type(inner)(inner.__code__, globals(), "other")
    renamed.__qualname__ = "other"
    with pytest.raises(NotImportable, match="define it at the top level of a module, under its own name"):
        place_of(renamed)


SCRIPT = """
from dataclasses import dataclass
from orchestrator import Orchestrator

app = Orchestrator.local(":memory:")

@dataclass
class Vote:
    weight: int

@app.register(executor="process")
def heavier(vote: Vote) -> Vote:
    return Vote(vote.weight + 1)

if __name__ == "__main__":
    with app.sync() as sync:
        print(sync.run("w", heavier, Vote(1)))
"""


def test_functions_of_a_script_are_found_again(tmp_path: Path) -> None:
    done = run_program(SCRIPT, tmp_path)
    assert (done.returncode, done.stdout) == (0, "Vote(weight=2)\n"), done.stderr
