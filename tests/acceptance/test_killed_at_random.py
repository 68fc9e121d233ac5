"""Killed at random instants: a worker among two, a listener beside another, and the single process of `up`.

The seed is printed, and `DAO_SCORER_SEED` sets it; it decides the instants, the machine the rest.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from tests.acceptance.boundaries import FULL
from tests.acceptance.conftest import ANVIL, CHAINS, Record, Stage, survived
from tests.acceptance.scene import END_S, KILLED, LEASE_S, LOOK_S, Scene, scene
from tests.acceptance.test_killed_everywhere import DRAIN_S, PATIENT_LEASE_S
from tests.acceptance.verdict import interruption, judge

pytestmark = pytest.mark.acceptance
ROUNDS = 12 if FULL else 3
PLACES = [(chain, number) for chain in CHAINS for number in range(ROUNDS)]
UP_DEATHS = 5
UP_ROUNDS = 4 if FULL else 1
LIFE_S = 1.2
LISTENING_S = 0.1
"""From the first invocation that is seen to the last vote that the listeners settle, about."""


async def _dispatched(scene: Scene) -> None:
    """Wait for the first invocation."""
    end = time.monotonic() + END_S
    while not await scene.promises():
        assert time.monotonic() < end, scene.words()
        await asyncio.sleep(LOOK_S)


@pytest.mark.parametrize(("many", "number"), [*PLACES, *([] if FULL else [(ANVIL, 0)])], indirect=["many"])
async def test_one_of_two_workers(
    number: int,
    chance: random.Random,
    many: Stage,
    tmp_path: Path,
    record_property: Record,
) -> None:
    began = time.monotonic()
    async with scene(many[0], tmp_path) as played:
        await played.serve()
        victim = played.work()
        played.work(lease_s=PATIENT_LEASE_S)
        await asyncio.gather(*(process.ready() for process in played.processes))
        played.listen()
        await _dispatched(played)
        instant_s = chance.uniform(0, LIFE_S)
        await asyncio.sleep(instant_s)
        await victim.kill()
        assert victim.code == KILLED
        await asyncio.sleep(DRAIN_S)
        stood = interruption(played, victim, await played.settled())
        promises = await played.finished()
        await judge(played, promises, many[1], interruptions=[stood])
    survived(record_property, played, ("1 of 2 workers", f"{instant_s:.2f} s", "", "any"), began)


@pytest.mark.parametrize(("many", "number"), PLACES, indirect=["many"])
async def test_a_worker_that_was_taken_for_dead(
    number: int,
    chance: random.Random,
    many: Stage,
    tmp_path: Path,
    record_property: Record,
) -> None:
    """A frozen worker wakes in the middle of what somebody else has done by then: it must not go on (T2)."""
    began = time.monotonic()
    async with scene(many[0], tmp_path) as played:
        await played.serve()
        victim = played.work()
        await victim.ready()
        played.listen()
        await _dispatched(played)
        instant_s = chance.uniform(0, LIFE_S / 2)
        await asyncio.sleep(instant_s)
        victim.freeze()
        await asyncio.sleep(DRAIN_S)
        stood = interruption(played, victim, await played.settled())
        played.work(lease_s=PATIENT_LEASE_S)
        await asyncio.sleep(LEASE_S + chance.uniform(0, LIFE_S))
        victim.thaw()
        promises = await played.finished()
        await asyncio.sleep(DRAIN_S)
        await judge(played, promises, many[1], interruptions=[stood])
    survived(record_property, played, ("frozen worker", f"{instant_s:.2f} s", "", "any"), began)


@pytest.mark.parametrize("many", CHAINS, indirect=True)
@pytest.mark.parametrize("cursor", ["its own cursor", "a shared cursor"])
async def test_one_of_two_listeners(
    cursor: str,
    chance: random.Random,
    many: Stage,
    tmp_path: Path,
    record_property: Record,
) -> None:
    began = time.monotonic()
    async with scene(many[0], tmp_path, PATIENT_LEASE_S) as played:
        await played.serve()
        played.work()
        victim = played.listen(cursor="other" if cursor == "its own cursor" else "cursor")
        played.listen()
        await _dispatched(played)
        instant_s = chance.uniform(0, LISTENING_S)
        await asyncio.sleep(instant_s)
        await victim.kill()
        assert victim.code == KILLED
        promises = await played.finished()
        await judge(played, promises, many[1])
    place = ("1 of 2 listeners", f"{instant_s:.2f} s", cursor, "any")
    survived(record_property, played, place, began)


@pytest.mark.parametrize("many", CHAINS, indirect=True)
@pytest.mark.parametrize("number", range(UP_ROUNDS))
async def test_the_single_process_again_and_again(
    number: int,
    chance: random.Random,
    many: Stage,
    tmp_path: Path,
    record_property: Record,
) -> None:
    began, deaths, instants = time.monotonic(), [], []
    async with scene(many[0], tmp_path) as played:
        for _ in range(UP_DEATHS):
            victim = await played.up()
            instants.append(chance.uniform(0, LIFE_S / 4))
            await asyncio.sleep(instants[-1])
            await victim.kill()
            assert victim.code == KILLED, victim.words()
            deaths.append(interruption(played, victim, played.settled_in_file()))
        await played.up()
        # Engine and worker die together here: a task announced in that moment is announced at the next start.
        promises = await played.finished()
        await judge(played, promises, many[1], interruptions=deaths)
    unfinished = sum(len(each.settled) < len(promises) for each in deaths)
    assert unfinished, "everything had ended before the first death"
    place = ("up", " ".join(f"{each:.2f}" for each in instants), f"{unfinished} times at work", "any")
    survived(record_property, played, place, began)
