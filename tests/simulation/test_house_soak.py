"""Hours of chain time under faults, end to end, end with an empty backlog and one submission a proposal.

`DAO_SCORER_RECORDS=1` plays whole hours, `DAO_SCORER_SEED=N` the house of that seed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.simulation.house import HOUR_BLOCKS, live

RECORDS = os.environ.get("DAO_SCORER_RECORDS") == "1"
SEED = os.environ.get("DAO_SCORER_SEED")
SEEDS = [int(SEED)] if SEED else range(10 if RECORDS else 1)
BLOCKS = HOUR_BLOCKS if RECORDS else 50
pytestmark = pytest.mark.timeout(7_200 if RECORDS else 600)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_befell_the_house_nothing_is_left_and_nothing_is_double(seed: int, tmp_path: Path) -> None:
    ended = live(seed, BLOCKS, tmp_path)
    print(f"seed {seed}: {ended}")  # noqa: T201 - the record
    assert not ended.faults, f"DAO_SCORER_SEED={seed}: {ended.faults}"
    assert ended.proposals >= BLOCKS // 20, f"seed {seed}: too quiet to show anything"
    assert min(ended.events["storm"], ended.events["kill"]), f"seed {seed}: too quiet to show anything"
