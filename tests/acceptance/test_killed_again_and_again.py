"""One scoring, many deaths: the worker dies at each boundary in turn, or all processes die at once.

The chain of the first test mines by itself and its blocks are final only two blocks later, so that a death
also falls between broadcast and confirmation.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from tests.acceptance.boundaries import FULL, LIVES, SUSPENDED
from tests.acceptance.conftest import CHAINS, Record, Stage, survived
from tests.acceptance.killing import KillPoint
from tests.acceptance.nursery import Process
from tests.acceptance.scene import END_S, KILLED, Ground, scene
from tests.acceptance.test_killed_everywhere import DRAIN_S, PATIENT_LEASE_S
from tests.acceptance.verdict import interruption, judge

pytestmark = pytest.mark.acceptance
POWER_CUTS = 8 if FULL else 3
REACHED_S = 15.0
"""Beyond a lease, and whatever it takes to come to a place from where the one before has died."""
UPTIMES_S = (0.3, 0.9)
"""Worker and listener start within these, and in the longest of them do about half of the work."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("few_moving", CHAINS, indirect=True)
async def test_a_worker_dies_at_every_boundary_in_turn(
    few_moving: Stage, tmp_path: Path, record_property: Record
) -> None:
    began, deaths, beyond = time.monotonic(), [], []
    async with scene(few_moving[0], tmp_path) as played:
        await played.serve()
        played.listen()
        for point in _in_order(few_moving[0]):
            victim = played.work(str(point))
            if few_moving[0].of_others and not await _dies(victim):
                # anvil answers so fast that the proposals are not in step: all may be beyond this place.
                beyond.append(point)
                await victim.kill()
            assert await victim.ended(END_S) == KILLED, f"{point}: {victim.words()}"
            await asyncio.sleep(DRAIN_S)
            deaths.append(interruption(played, victim, await played.settled()))
        played.work()
        promises = await played.finished()
        await judge(played, promises, few_moving[1], interruptions=deaths)
    assert len(beyond) <= len(LIVES) // 4, f"too few died by their own hand: {beyond}"
    place = ("worker", f"{len(LIVES) - len(beyond)} times", "one boundary after the other", "any")
    survived(record_property, played, place, began)


def _in_order(ground: Ground) -> list[KillPoint]:
    """Return the places to die at.

    On anvil a transaction may be final before its scoring waits for it. Where all went through before anybody
    waited, nobody would be left to die at the places behind: that one comes last.
    """
    return sorted(LIVES, key=lambda point: ground.of_others and point.match == SUSPENDED)


async def _dies(victim: Process) -> bool:
    try:
        await victim.ended(REACHED_S)
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("many", CHAINS, indirect=True)
async def test_a_power_cut_again_and_again(
    chance: random.Random, many: Stage, tmp_path: Path, record_property: Record
) -> None:
    began, deaths = time.monotonic(), []
    async with scene(many[0], tmp_path) as played:
        for _ in range(POWER_CUTS):
            processes = [await played.serve(), worker := played.work(), played.listen()]
            await asyncio.sleep(chance.uniform(*UPTIMES_S))
            chance.shuffle(processes)
            await asyncio.gather(*(process.kill() for process in processes))
            assert [process.code for process in processes] == [KILLED] * len(processes)
            deaths.append(interruption(played, worker, played.settled_in_file()))
        await played.serve()
        played.work(lease_s=PATIENT_LEASE_S)
        played.listen()
        promises = await played.finished()
        await judge(played, promises, many[1], interruptions=deaths)
    unfinished = sum(len(each.settled) < len(promises) for each in deaths)
    place = ("all processes", f"{POWER_CUTS} times", f"{unfinished} times at work", "any")
    survived(record_property, played, place, began)
