"""Workflows of the corpus, killed for real: SIGKILL at a command, a new process, the same answer (W1-W3).

In the sample some workflows meet one place; `DAO_SCORER_FULL_MATRIX=1` kills all of them at every command.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.acceptance.boundaries import FULL
from tests.acceptance.cut_process import run
from tests.integration.test_sdk_cuts import WORKFLOWS

NUMBERS_MAX = 200
SAMPLE = {"remote": 6, "descending": 7, "mixed_generator": 5, "loose_ends": 4}
NAMES = [workflow.__name__ for workflow in WORKFLOWS if FULL or workflow.__name__ in SAMPLE]
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3_600)]


def to_its_end(database: Path, name: str) -> str:
    ended = run(database, name)
    assert ended.code == 0, ended.said
    return ended.said.splitlines()[-1]


def executed_again(journal: Path) -> list[str]:
    stored, again = set[str](), []
    for line in journal.read_text().splitlines():
        what, promise_id, *_ = line.split()
        if what == "stored":
            stored.add(promise_id)
        elif promise_id in stored:
            again.append(promise_id)
    return again


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_workflow_gives_the_same_answer(name: str, tmp_path: Path) -> None:
    expected = to_its_end(tmp_path / "uncut.db", name)
    killed = 0
    for number in range(1, NUMBERS_MAX) if FULL else (SAMPLE[name],):
        dead = 0
        for when in ("before", "after") if FULL else (("before", "after")[number % 2],):
            database = tmp_path / f"{number}{when}.db"
            first = run(database, name, number, after=when == "after")
            if first.code != -signal.SIGKILL:
                assert first.code == 0, first.said
                continue
            dead += 1
            assert to_its_end(database, name) == expected, f"killed {when} command {number}"
            assert not executed_again(database.with_suffix(".journal")), f"killed {when} command {number}"
        killed += dead
        if FULL and not dead:
            break
    assert killed, "no process was killed"
    print(f"{name}: {killed} deaths, the same answer each time")  # noqa: T201
