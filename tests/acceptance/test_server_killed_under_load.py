"""A server is killed under load again and again: nothing that it acknowledged is lost, and no task is stuck.

`dao-scorer serve` on SQLite, and on PostgreSQL, which crashes itself now and then. The instants are random;
the seed is printed and `DAO_SCORER_SEED` sets it. At every second death on average all workers lose their
memory, too. `DAO_SCORER_RECORDS=1` lets each die 200 times.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from pathlib import Path
from time import monotonic

import pytest
import structlog

from orchestrator.domain.promise import PromiseState, Value
from orchestrator.protocol.records import PromiseRecord
from tests.acceptance.boundaries import RECORDS
from tests.acceptance.nursery import Nursery
from tests.acceptance.serving import Served
from tests.acceptance.witnesses import LEASE_MS, Memory, Witnesses
from tests.postgres_server import WHY_ABSENT, Server, binaries, server

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3000)]
DEATHS = 200 if RECORDS else 5
UPTIME_S = (0.0, 0.6)
CRASHES_OF_POSTGRES = 10 if RECORDS else 1
PROMPT_S = 15.0
"""Beyond a lease, what the last task may last: the retry timer of 30 s must not be needed."""


@pytest.fixture(autouse=True)
def _only_warnings() -> None:
    """Keep the reconnections of many deaths out of the progress that is shown."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


async def _die_again_and_again(chance: random.Random, served: Served, database: Server | None) -> Witnesses:
    await served.start()
    witnesses = Witnesses([served.url])
    began, longest_s = monotonic(), 0.0
    crashes = set(chance.sample(range(DEATHS), CRASHES_OF_POSTGRES)) if database else set()
    async with asyncio.TaskGroup() as group:
        stack = await witnesses.run(group)
        async with stack:
            for number in range(DEATHS):
                await asyncio.sleep(chance.uniform(*UPTIME_S))
                if number in crashes and database is not None:
                    await asyncio.to_thread(database.stop)
                    await asyncio.to_thread(database.start)
                    await asyncio.sleep(chance.uniform(*UPTIME_S))
                await served.kill()
                if chance.random() < 0.5:
                    witnesses.forget(group)
                died = monotonic()
                await served.start()
                longest_s = max(longest_s, monotonic() - died)
                if number % 10 == 9:
                    _progress(number + 1, witnesses, began)
            await witnesses.finish(LEASE_MS / 1000 + PROMPT_S)
            await witnesses.judge()
    _progress(DEATHS, witnesses, began)
    print(f"{len(crashes)} crashes of the database, longest start {longest_s:.2f} s")  # noqa: T201
    return witnesses


def _progress(deaths: int, witnesses: Witnesses, began: float) -> None:
    memory = witnesses.memory
    print(  # noqa: T201
        f"{deaths} deaths, {memory.answers} answers, {memory.unanswered} calls unanswered, "
        f"{len(memory.promises)} promises, {len(witnesses.done)} workflows, {monotonic() - began:.0f} s",
        flush=True,
        file=sys.stdout,
    )


def _check_load(witnesses: Witnesses) -> None:
    assert len(witnesses.done) > DEATHS, "hardly anything was done between the deaths"
    assert witnesses.memory.unanswered >= DEATHS / 2, "nobody was asking when the server died"


async def test_on_sqlite(chance: random.Random, nursery: Nursery, tmp_path: Path) -> None:
    served = Served(nursery=nursery, folder=tmp_path, store=f"sqlite:///{tmp_path}/s.db")
    try:
        witnesses = await _die_again_and_again(chance, served, None)
    finally:
        await served.close()
    _check_load(witnesses)


@pytest.mark.skipif(binaries() is None, reason=WHY_ABSENT)
async def test_on_postgresql_that_crashes_itself(
    chance: random.Random, nursery: Nursery, tmp_path: Path
) -> None:
    with server(durable=True) as database:
        served = Served(nursery=nursery, folder=tmp_path, store=database.fresh("load"))
        try:
            witnesses = await _die_again_and_again(chance, served, database)
        finally:
            await served.close()
    _check_load(witnesses)


def test_a_lost_write_would_be_told() -> None:
    memory = Memory()
    pending = PromiseRecord(
        id="p", state=PromiseState.PENDING, param=Value(), value=Value(), tags={}, timeout_at=9, created_at=1
    )
    memory.see(pending)
    assert not memory.faults({"p": pending}, {})
    assert memory.faults({}, {}) == ["p is lost"]
    settled = PromiseRecord(
        id="p",
        state=PromiseState.RESOLVED,
        param=Value(),
        value=Value(data="first"),
        tags={},
        timeout_at=9,
        created_at=1,
        settled_at=2,
    )
    memory.see(settled)
    memory.versions["p"] = 2
    assert not memory.faults({"p": settled}, {"p": 2})
    assert len(memory.faults({"p": pending}, {"p": 1})) == 2
