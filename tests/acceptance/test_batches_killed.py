"""Scores that go together, and a worker that is killed at the boundaries of their batch.

Who is gathered with whom depends on who lives: batches differ, what they bring about does not. Each score is
submitted once, no transaction carries none, and no step runs again once it has settled.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.acceptance.boundaries import BATCH_CASES, BATCHES, Death
from tests.acceptance.conftest import BOTH, CHAINS, Record, Stage, survived
from tests.acceptance.scene import END_S, scene
from tests.acceptance.test_killed_everywhere import die
from tests.acceptance.verdict import judge_effects

pytestmark = pytest.mark.acceptance
TAKE_OVER_S = 10.0


def test_the_cases_are_there() -> None:
    """Boundaries have names, and names change."""
    assert len(BATCH_CASES) in (4, len(BATCHES))


@pytest.mark.parametrize("few", BOTH, indirect=True)
async def test_nobody_dies_and_one_transaction_carries_all(few: Stage, tmp_path: Path) -> None:
    async with scene(few[0], tmp_path, batched=True) as played:
        await played.serve()
        played.work()
        played.listen()
        promises = await played.finished(END_S if few[0].moves else None)
        await judge_effects(played, promises, few[1], [])
    assert few[0].moves or not played.history.retries()
    assert len([each for each in promises if each.startswith("nonce-")]) == 1


@pytest.mark.parametrize("few", CHAINS, indirect=True)
@pytest.mark.parametrize("death", BATCH_CASES, ids=str)
async def test_killed(few: Stage, death: Death, tmp_path: Path, record_property: Record) -> None:
    began = time.monotonic()
    async with scene(few[0], tmp_path, batched=True) as played:
        stood = await die(played, death)
        promises = await played.finished(played.lease_s + TAKE_OVER_S)
        await judge_effects(played, promises, few[1], stood)
    survived(record_property, played, ("batching", death.point.when, death.boundary, death.point.nth), began)
