"""Histories of many clients over HTTP are those of one engine that answers one call at a time.

Against live servers: one on SQLite, one on PostgreSQL, one that is killed again and again, and two on one
PostgreSQL of which one after the other is killed and started again. The seed is printed and
`DAO_SCORER_SEED` sets it; it decides what is asked, the machine who comes first.
`DAO_SCORER_RECORDS=1` lets each history last long.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import pytest

from tests.acceptance.boundaries import RECORDS
from tests.acceptance.nursery import Nursery
from tests.acceptance.recorded import Script, play
from tests.acceptance.serving import Served
from tests.linearizability import Call, explain_all

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]
CLIENTS = 12
SECONDS = 120.0 if RECORDS else 2.5
ANSWERS_MIN = 2_000
"""However busy the machine is, and however long its servers are away, so many calls are answered."""
LONGER_S_MAX = 120.0
"""How much longer a history may last until each kind of answer has been seen."""
UPTIME_S = (0.1, 0.7)
SEEN = {
    ("promise.create", 200), ("promise.settle", 200), ("promise.settle", 404), ("task.acquire", 200),
    ("task.acquire", 409), ("task.create", 200), ("task.create", 409), ("task.fence", 200),
    ("task.fence", 409), ("task.fulfill", 200), ("task.halt", 200), ("task.continue", 200),
    ("task.continue", 409), ("task.release", 200),
    ("task.release", 409), ("task.suspend", 200), ("task.suspend", 300),
    ("promise.register_callback", 200), ("promise.register_callback", 422), ("task.heartbeat", 200),
    ("promise.cancel", 200), ("promise.cancel", 422), ("promise.terminate", 200),
    ("promise.search", 200), ("task.get", 200), ("task.get", 404),
}  # fmt: skip
"""Answers without which a history proves little."""


@asynccontextmanager
async def _serving(nursery: Nursery, folder: Path, store: str, count: int = 1) -> AsyncIterator[list[Served]]:
    servers = [
        Served(nursery=nursery, folder=folder, store=store, name=f"server {number}")
        for number in range(count)
    ]
    try:
        for server in servers:
            await server.start()
        yield servers
    finally:
        for server in servers:
            await server.close()


async def _history(servers: Sequence[Served], chance: random.Random, *, killing: bool) -> list[Call]:
    """Play for SECONDS, and until enough was seen; meanwhile servers by chance are killed and started again.

    Nobody is killed after SECONDS.
    """
    end, deaths = perf_counter() + SECONDS, 0

    async def kill_again_and_again() -> None:
        nonlocal deaths
        while perf_counter() < end:
            await asyncio.sleep(chance.uniform(*UPTIME_S))
            victim = chance.choice(servers)
            await victim.kill()
            deaths += 1
            await victim.start()

    script = Script(chance)
    async with asyncio.TaskGroup() as group:
        killer = group.create_task(kill_again_and_again()) if killing else None

        def over() -> bool:
            if perf_counter() < end or not (killer is None or killer.done()):
                return False
            enough = script.answered.total() >= ANSWERS_MIN and script.answered.keys() >= SEEN
            return enough or perf_counter() >= end + LONGER_S_MAX

        playing = group.create_task(play(lambda: [each.url for each in servers], script, CLIENTS, over))
    calls = playing.result()
    unknown = sum(call.answer is None for call in calls)
    origins = len(script.origins())
    print(f"{len(calls)} calls, {unknown} of them unanswered, {origins} origins, {deaths} deaths")  # noqa: T201
    assert deaths or not killing
    return calls


def _judge(calls: list[Call]) -> None:
    began = perf_counter()
    fault = explain_all(calls)
    print(f"checked in {perf_counter() - began:.1f} s")  # noqa: T201
    assert fault is None, fault
    seen = Counter((call.request["kind"], call.answer[0]) for call in calls if call.answer is not None)
    assert seen.keys() >= SEEN, (SEEN - seen.keys(), seen)


async def test_on_sqlite(chance: random.Random, nursery: Nursery, tmp_path: Path) -> None:
    async with _serving(nursery, tmp_path, f"sqlite:///{tmp_path}/h.db") as servers:
        calls = await _history(servers, chance, killing=False)
    _judge(calls)
    _the_judge_can_say_no(calls, chance)


async def test_on_sqlite_under_a_server_that_dies(
    chance: random.Random, nursery: Nursery, tmp_path: Path
) -> None:
    async with _serving(nursery, tmp_path, f"sqlite:///{tmp_path}/h.db") as servers:
        calls = await _history(servers, chance, killing=True)
    _judge(calls)


async def test_on_postgresql(
    chance: random.Random, nursery: Nursery, postgres_url: str, tmp_path: Path
) -> None:
    async with _serving(nursery, tmp_path, postgres_url) as servers:
        calls = await _history(servers, chance, killing=False)
    _judge(calls)


async def test_on_two_servers_of_one_postgresql_that_die_in_turn(
    chance: random.Random, nursery: Nursery, postgres_url: str, tmp_path: Path
) -> None:
    async with _serving(nursery, tmp_path, postgres_url, count=2) as servers:
        calls = await _history(servers, chance, killing=True)
    _judge(calls)


def _the_judge_can_say_no(calls: list[Call], chance: random.Random) -> None:
    """One acknowledged write of a true history that nobody sees, and the whole is refused."""
    writes = [
        number
        for number, call in enumerate(calls)
        if call.request["kind"] == "promise.settle"
        and call.answer is not None
        and call.answer[0] == 200
        and call.answer[1]["promise"]["value"] == call.request["data"]["value"]
    ]
    number = chance.choice(writes)
    answer = calls[number].answer
    assert answer is not None
    lost = {**answer[1]["promise"], "value": {"data": "of nobody"}}
    false = [*calls]
    false[number] = replace(calls[number], answer=(200, {"promise": lost}))
    assert explain_all(false) is not None
