"""Killed everywhere: SIGKILL on each side of every durable boundary of listener, worker and server.

Each case runs a server, a listener and a worker as real processes, over this project's chain or over anvil, a
node that others wrote, which mines by itself. One of them ends itself at its boundary, an unarmed one takes
over, and the end is compared with the uninterrupted run on the same chain. A case that does not come to its
boundary fails.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.acceptance.boundaries import CASES, FULL, MATRIX, WAITING, Death
from tests.acceptance.conftest import ANVIL, LOCAL, Record, Stage, survived
from tests.acceptance.scene import END_S, KILLED, Scene, scene
from tests.acceptance.verdict import NEEDS_SERVER, Interruption, interruption, judge

pytestmark = pytest.mark.acceptance
PATIENT_LEASE_S = 6.0
"""Where the worker lives on, it keeps its tasks for as long as the server is away."""
MODEST = frozenset(
    {
        "worker, after broadcast, 1",
        "worker, before record confirm_transaction, 1",
        "listener, before settle votingEnded, 1",
    }
)
"""What is always played on anvil; the full matrix plays everything there."""
PLACES = [(LOCAL, death) for death in CASES]
PLACES += [(ANVIL, death) for death in MATRIX if FULL or str(death) in MODEST]
DRAIN_S = 0.1
"""How long the server may take to store what a victim had sent it."""


async def _worker_dies(scene: Scene, death: Death) -> Interruption:
    await scene.serve()
    if death.boundary == WAITING:
        await _only_dispatch(scene)
    victim = scene.work(str(death.point))
    if death.boundary != WAITING:
        scene.listen()
    assert await victim.ended(END_S) == KILLED, victim.words()
    await asyncio.sleep(DRAIN_S)
    stood = interruption(scene, victim, await scene.settled())
    scene.work(lease_s=PATIENT_LEASE_S)
    if death.boundary == WAITING:
        scene.listen()
    return stood


async def _only_dispatch(scene: Scene) -> None:
    """Have a listener that dies before it settles an end: whoever awaits one then has to wait."""
    listener = scene.listen("before:1:promise.settle votingEnded-")
    assert await listener.ended(END_S) == KILLED, listener.words()


async def _listener_dies(scene: Scene, kill: str) -> None:
    await scene.serve()
    scene.work()
    victim = scene.listen(kill)
    assert await victim.ended(END_S) == KILLED, victim.words()
    scene.listen()


async def _server_dies(scene: Scene, kill: str) -> None:
    victim = await scene.serve(kill)
    scene.work()
    scene.listen()
    assert await victim.ended(END_S) == KILLED, victim.words()
    await scene.serve()


async def die(scene: Scene, death: Death) -> list[Interruption]:
    """Play one case until another has taken over; return where things stood, if the victim executes steps."""
    kill = str(death.point)
    match death.role:
        case "worker":
            return [await _worker_dies(scene, death)]
        case "listener":
            await _listener_dies(scene, kill)
        case "server":
            await _server_dies(scene, kill)
    return []


def test_the_cases_are_there() -> None:
    """Boundaries have names, and names change."""
    assert {str(death) for chain, death in PLACES if chain == ANVIL} >= MODEST


@pytest.mark.parametrize(("few", "death"), PLACES, indirect=["few"], ids=str)
async def test_killed(few: Stage, death: Death, tmp_path: Path, record_property: Record) -> None:
    began = time.monotonic()
    lease = {} if death.role == "worker" else {"lease_s": PATIENT_LEASE_S}
    async with scene(few[0], tmp_path, **lease) as played:
        stood = await die(played, death)
        promises = await played.finished()
        retried = NEEDS_SERVER if death.role == "server" else ()
        await judge(played, promises, few[1], interruptions=stood, retried=retried)
    place = (death.role, death.point.when, death.boundary, death.point.nth)
    again = survived(record_property, played, place, began)
    if death.role == "worker" and death.point.when == "before" and death.step:
        assert death.step in again, "what was not recorded has to be executed again"
