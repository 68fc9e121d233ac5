"""Generated workflows, crashed several times at random commands: same outcome, same record (W1-W3)."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from orchestrator import ApplicationError, Constant, Context, Info, Never, Orchestrator
from orchestrator.store.memory import MemoryStore
from orchestrator.testing import ExecutionLog, crash_at
from tests.integration.test_sdk_cuts import ROOT, engine_on, records, settled_tree, shown, stopped_by_crash

SEEDS = range(60)
CRASHES_MAX = 4
DEPTH_MAX = 2
Program = list[dict[str, Any]]


def generate(chance: random.Random, depth: int = 0) -> Program:
    """Return a workflow as data: a list of operations, each a dictionary."""
    kinds = ["run", "flaky", "broken", "begin", "forget", "rpc", "sleep", "detached", "random", "gather"]
    if depth < DEPTH_MAX:
        kinds += ["child", "remote child", "branches"]
    program: Program = []
    for _ in range(chance.randint(1, 4)):
        step: dict[str, Any] = {"kind": chance.choice(kinds), "number": chance.randint(0, 99)}
        if step["kind"] in ("child", "remote child", "branches"):
            step["programs"] = [generate(chance, depth + 1) for _ in range(chance.randint(1, 2))]
        program.append(step)
    return program


async def double(number: int) -> int:
    return number * 2


def flaky(info: Info, number: int) -> int:
    if info.attempt == 1:
        raise ValueError("once more")
    return number + 1


async def broken(number: int) -> int:
    raise KeyError(number)


async def interpret(ctx: Context, program: Program) -> list[object]:
    results: list[object] = []
    for step in program:
        results.append(await _perform(ctx, step["kind"], step["number"], step.get("programs", [])))
    return results


async def _perform(ctx: Context, kind: str, number: int, programs: list[Program]) -> object:  # noqa: PLR0911, PLR0912
    match kind:
        case "run":
            return await ctx.run(double, number)
        case "flaky":
            return await ctx.run(flaky, number)
        case "broken":
            try:
                return await ctx.run(broken, number)
            except ApplicationError as error:
                return error.type_name
        case "begin":
            late = ctx.begin_run(double, number)
            await ctx.run(double, 0)
            return await late
        case "forget":
            ctx.begin_run(flaky, number)
            ctx.begin_rpc(double, number)
        case "rpc":
            return await ctx.rpc(double, number)
        case "sleep":
            await ctx.sleep(0.001)
        case "detached":
            ctx.detached(double, number)
        case "random":
            # Its value differs from run to run; that it is the same on each replay shows in the record.
            drawn = await ctx.random()
            return await ctx.rpc(double, int(drawn) + number)
        case "gather":
            return await ctx.gather(ctx.run(double, 1), ctx.rpc(double, 2), ctx.run(flaky, 3))
        case "child":
            return await ctx.run(interpret, programs[0])
        case "remote child":
            return await ctx.rpc(interpret, programs[0])
        case "branches":
            return await ctx.gather(*[ctx.begin_run(interpret, program) for program in programs])
    return None


def application(transport: Any, log: ExecutionLog) -> Orchestrator:
    app = Orchestrator(transport=transport, grace_s=2.0)
    for function in (interpret, double, flaky, broken):
        app.register(function, retry=Never() if function is broken else Constant(delay_s=0.001))
    app.observe(log)
    return app


def without_chance(stored: dict[str, Any]) -> dict[str, object]:
    """What W3 speaks of, without the values that the workflow drew by chance."""
    drawn = {key for key, one in stored.items() if (one.param.headers or {}).get("func") == "ctx.random"}
    return {key: one for key, one in shown(stored).items() if key not in drawn}


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_generated_workflow_survives_crashes(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed makes the case repeatable
    program = generate(chance)
    async with engine_on(MemoryStore()) as transport, application(transport, ExecutionLog()) as app:
        expected = await app.run(ROOT, interpret, program)
        expected_tree = without_chance(await settled_tree(transport))
    store, settled = MemoryStore(), set[str]()
    for _ in range(chance.randint(1, CRASHES_MAX)):
        log = ExecutionLog()
        async with engine_on(store) as transport:
            crashing = crash_at(transport, chance.randint(2, 30), after=chance.random() < 0.5)
            await stopped_by_crash(
                application(crashing, log), crashing, lambda app: app.run(ROOT, interpret, program)
            )
            assert not settled & set(log.started), (seed, program)
            settled = {key for key, one in (await records(transport)).items() if not one.pending}
    log = ExecutionLog()
    async with engine_on(store) as transport, application(transport, log) as app, asyncio.timeout(20):
        assert await app.run(ROOT, interpret, program) == expected, (seed, program)
        assert without_chance(await settled_tree(transport)) == expected_tree, (seed, program)
    assert not settled & set(log.started), (seed, program)
