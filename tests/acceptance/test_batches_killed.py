"""Scores that go together, and a worker that is killed at the boundaries of their batch.

Who is gathered with whom depends on who lives: batches differ, what they bring about does not. Each score is
submitted once, no transaction carries none, and no step runs again once it has settled.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.acceptance.boundaries import BATCH_CASES, BATCHES, Death
from tests.acceptance.conftest import Record, survived
from tests.acceptance.scene import Ground, scene
from tests.acceptance.test_killed_everywhere import die
from tests.acceptance.verdict import Reference, judge_effects

pytestmark = pytest.mark.acceptance
TAKE_OVER_S = 10.0


def test_the_cases_are_there() -> None:
    """Boundaries have names, and names change."""
    assert len(BATCH_CASES) in (4, len(BATCHES))


async def test_nobody_dies_and_one_transaction_carries_all(
    ground: Ground, measure: Reference, tmp_path: Path
) -> None:
    async with scene(ground, tmp_path, batched=True) as played:
        await played.serve()
        played.work()
        played.listen()
        promises = await played.finished()
        await judge_effects(played, promises, measure, [])
    assert not played.history.retries()
    assert len([each for each in promises if each.startswith("nonce-")]) == 1


@pytest.mark.parametrize("death", BATCH_CASES, ids=str)
async def test_killed(
    death: Death, ground: Ground, measure: Reference, tmp_path: Path, record_property: Record
) -> None:
    began = time.monotonic()
    async with scene(ground, tmp_path, batched=True) as played:
        stood = await die(played, death)
        promises = await played.finished(played.lease_s + TAKE_OVER_S)
        await judge_effects(played, promises, measure, stood)
    survived(record_property, played, ("batching", death.point.when, death.boundary, death.point.nth), began)
