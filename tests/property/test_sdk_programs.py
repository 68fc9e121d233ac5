"""Generated workflows, crashed several times at random commands: same outcome, same record (W1-W3)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from orchestrator import Orchestrator
from orchestrator.protocol.transport import Transport
from orchestrator.store.memory import MemoryStore
from orchestrator.testing import ExecutionLog, SimulatedCrash, VirtualClock, crash_at
from orchestrator.testing.cuts import comparable, in_memory, records_of, settled_records
from orchestrator.testing.local import engine_in
from tests.workflow_programs import Program, generate, interpret, register_programs

SEEDS = range(60)
CRASHES_MAX = 4
ROOT = "program"


async def ask_nobody(_: str) -> None:
    raise AssertionError("no program here asks somebody")


def application(transport: Transport, clock: VirtualClock, log: ExecutionLog) -> Orchestrator:
    app = Orchestrator(transport=transport, clock=clock, grace_s=2.0)
    app.observe(log)
    return register_programs(app, ask_nobody)


async def run_to_its_end(
    transport: Transport, clock: VirtualClock, log: ExecutionLog, program: Program
) -> tuple[object, dict[str, object]]:
    async with application(transport, clock, log) as app, asyncio.timeout(24 * 3600):
        outcome = await app.run(ROOT, interpret, program)
        return outcome, comparable(await settled_records(transport))


async def run_until_crash(
    transport: Transport, clock: VirtualClock, log: ExecutionLog, program: Program
) -> None:
    app = application(transport, clock, log)
    try:
        await app.start()
        running = asyncio.ensure_future(app.run(ROOT, interpret, program))
        crashed = asyncio.ensure_future(transport.crashed.wait())
        await asyncio.wait((running, crashed), return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        crashed.cancel()
        await asyncio.gather(running, crashed, return_exceptions=True)
    except SimulatedCrash:
        pass
    finally:
        await app.abort()


@asynccontextmanager
async def engine_on(store: MemoryStore, clock: VirtualClock) -> AsyncIterator[Transport]:
    async with engine_in(store, clock, lambda inner: inner) as transport:
        yield transport


@pytest.mark.parametrize("seed", SEEDS)
def test_a_generated_workflow_survives_crashes(seed: int) -> None:
    chance, clock = random.Random(seed), VirtualClock()  # noqa: S311 - a seed makes the case repeatable
    clock.run(survive(generate(chance), chance, clock, seed))


async def survive(program: Program, chance: random.Random, clock: VirtualClock, seed: int) -> None:
    async with in_memory(clock)() as transport:
        expected = await run_to_its_end(transport, clock, ExecutionLog(), program)
    store, settled = MemoryStore(), set[str]()
    for _ in range(chance.randint(1, CRASHES_MAX)):
        log = ExecutionLog()
        async with engine_on(store, clock) as transport:
            crashing = crash_at(transport, chance.randint(2, 30), after=chance.random() < 0.5)
            await run_until_crash(crashing, clock, log, program)
            assert not settled & set(log.started), (seed, program)
            settled = {key for key, one in (await records_of(transport)).items() if not one.pending}
    log = ExecutionLog()
    async with engine_on(store, clock) as transport:
        assert await run_to_its_end(transport, clock, log, program) == expected, (seed, program)
    assert not settled & set(log.started), (seed, program)
