"""Which examples a test plays: some by a seed each time, all of them for the record."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from examples.gallery import EXAMPLES, Example

ROOT = Path(__file__).parents[2]
FOLDERS = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.folder)
RECORDS = os.environ.get("DAO_SCORER_RECORDS") == "1"
SEED = int(os.environ.get("DAO_SCORER_SEED", random.SystemRandom().randrange(2**32)))
RecordProperty = Callable[[str, object], None]


def available(example: Example) -> Example:
    """Return the example; skip the test where this machine lacks something, if CI knows that it does."""
    if (reason := example.lacking()) is not None:
        if os.environ.get("CI") and not list((ROOT / ".interop").glob("*.unavailable")):
            pytest.fail(reason)
        pytest.skip(reason)
    return example


def drawn(number: int, without: Collection[str] = ()) -> tuple[Example, random.Random]:
    """Return an example, and what the rest of the test draws from; skip the test as `available` does.

    `without` names folders that are not drawn.
    """
    print(f"DAO_SCORER_SEED={SEED}")  # noqa: T201 - pytest shows it with a failure
    chance = random.Random(f"{SEED} {number}")  # noqa: S311 - places and moments, no secrets
    return available(chance.choice([each for each in EXAMPLES if each.folder not in without])), chance
