"""Blocks are reorganised under submissions, within finality: each is submitted all the same, and once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from contracts.rpc import Node
from tests.acceptance.boundaries import FULL
from tests.acceptance.conftest import ANVIL, BOTH, Record, Stage, survived
from tests.acceptance.scene import END_S, LOOK_S, SCORER, Ground, scene, signer
from tests.acceptance.verdict import judge

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]
REORG_BLOCKS = 2
"""As many as are not final."""
REORGS = 6 if FULL else 1


@pytest.mark.parametrize("few_moving", BOTH if FULL else [ANVIL], indirect=True)
async def test_what_was_mined_and_orphaned_is_submitted_once(
    few_moving: Stage, tmp_path: Path, record_property: Record
) -> None:
    began, ground = time.monotonic(), few_moving[0]
    async with scene(ground, tmp_path) as played:
        await played.serve()
        played.work()
        played.listen()
        orphaned, stood = 0, ground.scorer_nonce
        for _ in range(REORGS):
            mined = await _submitted(ground, stood)
            await ground.reorganise(REORG_BLOCKS)
            stood = await _nonce(ground)
            orphaned += max(mined - stood, 0)  # More may be mined while the chain is told to reorganise.
            if stood == ground.scorer_nonce + ground.proposals:
                break  # All of them lie too deep.
        # An orphan is missed only when the watch of its transaction is over, and that is seconds long.
        promises = await played.finished(END_S)
        await judge(played, promises, few_moving[1])
    assert orphaned, "no submission was orphaned"
    survived(record_property, played, ("nobody", "reorganised", f"{orphaned} orphaned", "any"), began)


async def _submitted(ground: Ground, stood: int) -> int:
    """Wait until more transactions of the scorer are mined than already `stood`; return its nonce."""
    # What was orphaned is missed when its watch is over, and the pauses between watches grow.
    end = time.monotonic() + 2 * END_S
    while (nonce := await _nonce(ground)) <= stood:
        assert time.monotonic() < end, "nothing was submitted"
        await asyncio.sleep(LOOK_S / 4)
    return nonce


async def _nonce(ground: Ground) -> int:
    async with Node(ground.url) as node:
        return await node.nonce(signer(SCORER).address)
