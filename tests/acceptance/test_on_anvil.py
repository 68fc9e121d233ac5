"""The same processes over a node of others: anvil mines by itself, and its newest blocks may be replaced.

Killed at boundaries of listener, worker and server, and with blocks reorganised under submissions, within
finality. `DAO_SCORER_FULL_MATRIX=1` takes every boundary of worker and listener.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from contracts.rpc import Node
from tests.acceptance.boundaries import FULL, MATRIX, Death
from tests.acceptance.conftest import Record, survived
from tests.acceptance.scene import END_S, LOOK_S, SCORER, Ground, scene, signer
from tests.acceptance.test_killed_everywhere import PATIENT_LEASE_S, die
from tests.acceptance.verdict import Reference, judge_effects

pytestmark = pytest.mark.acceptance
REORG_BLOCKS = 2
"""As many as are not final."""
REORGS = 6 if FULL else 1
MODEST = frozenset(
    {
        "worker, after broadcast, 1",
        "worker, before record confirm_transaction, 1",
        "listener, before settle votingEnded, 1",
    }
)
CASES = [death for death in MATRIX if (FULL and death.role != "server") or str(death) in MODEST]


def test_the_cases_are_there() -> None:
    """Boundaries have names, and names change."""
    assert {str(death) for death in CASES} >= MODEST


@pytest.mark.parametrize("death", CASES, ids=str)
async def test_killed(
    death: Death, of_others: tuple[Ground, Reference], tmp_path: Path, record_property: Record
) -> None:
    began = time.monotonic()
    lease = {} if death.role == "worker" else {"lease_s": PATIENT_LEASE_S}
    async with scene(of_others[0], tmp_path, **lease) as played:
        stood = await die(played, death)
        promises = await played.finished()
        await judge_effects(played, promises, of_others[1], stood)
    survived(record_property, played, ("anvil", death.point.when, str(death), death.point.nth), began)


async def test_one_transaction_carries_all(of_others: tuple[Ground, Reference], tmp_path: Path) -> None:
    async with scene(of_others[0], tmp_path, batched=True) as played:
        await played.serve()
        played.work()
        played.listen()
        promises = await played.finished(END_S)
        await judge_effects(played, promises, of_others[1], [])
    assert len([each for each in promises if each.startswith("nonce-")]) == 1


async def test_blocks_are_reorganised_under_submissions(
    of_others: tuple[Ground, Reference], tmp_path: Path, record_property: Record
) -> None:
    """What was mined and orphaned is submitted all the same, and once."""
    began, ground = time.monotonic(), of_others[0]
    async with scene(ground, tmp_path) as played:
        await played.serve()
        played.work()
        played.listen()
        orphaned = 0
        for _ in range(REORGS):
            mined = await _submitted(ground)
            await ground.reorganise(REORG_BLOCKS)
            orphaned += mined - await _nonce(ground)
        # An orphan is missed only when the watch of its transaction is over, and that is seconds long.
        promises = await played.finished(END_S)
        await judge_effects(played, promises, of_others[1], [])
    assert orphaned, "no submission was orphaned"
    survived(record_property, played, ("anvil", "reorganised", f"{orphaned} orphaned", "any"), began)


async def _submitted(ground: Ground) -> int:
    """Wait until transactions of the scorer are mined; return its nonce."""
    end = time.monotonic() + END_S
    while (nonce := await _nonce(ground)) <= ground.scorer_nonce:
        assert time.monotonic() < end, "nothing was submitted"
        await asyncio.sleep(LOOK_S / 4)
    return nonce


async def _nonce(ground: Ground) -> int:
    async with Node(ground.url) as node:
        return await node.nonce(signer(SCORER).address)
