"""Workflows of the corpus, killed for real: SIGKILL at a command, a new process, the same answer (W1-W3).

The sixteen on a SQLite file, and generated ones that deal out every operation on that, on PostgreSQL, and
over HTTP at a server process. In the sample some meet one place; `DAO_SCORER_FULL_MATRIX=1` kills all of them
at every command, and at every third one where it is not a file of their own.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from tests.acceptance.boundaries import FULL
from tests.acceptance.cut_process import DEALT, run, serving
from tests.integration import test_sdk_cuts as cuts

NUMBERS_MAX = 400
SAMPLE = {
    ("remote", "sqlite"): 6,
    ("descending", "sqlite"): 7,
    ("mixed_generator", "sqlite"): 5,
    ("loose_ends", "sqlite"): 4,
    (f"{DEALT}4", "postgresql"): 6,
    (f"{DEALT}7", "http"): 9,
}
"""The command at which each of these dies, where not all die everywhere."""
EVERY = {"sqlite": 1} | dict.fromkeys(("postgresql", "http"), int(os.environ.get("CUTS_KILLED_EVERY", "3")))
GENERATED = [(f"{DEALT}{number}", place) for place in EVERY for number in range(cuts.DEALT)]
CASES = [(workflow.__name__, "sqlite") for workflow in cuts.WORKFLOWS] + GENERATED
Ground = Callable[[Path], AbstractContextManager[str]]
"""Lends the URL of a fresh store, or of a server on one; what it needs lies beside the path."""
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(3_600)]


@pytest.fixture
def ground(place: str, request: pytest.FixtureRequest) -> Ground:
    if place == "sqlite":
        return lambda base: nullcontext(f"sqlite:///{base}.db")
    if place == "http":
        return lambda base: serving(base.with_suffix(".db"))
    server = request.getfixturevalue("postgres")

    @contextmanager
    def database(_: Path) -> Iterator[str]:
        name = f"killed_{secrets.token_hex(8)}"
        yield server.fresh(name)
        server.drop(name)

    return database


def to_its_end(url: str, base: Path, name: str) -> str:
    ended = run(url, base, name)
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


@pytest.mark.parametrize(("name", "place"), CASES if FULL else SAMPLE)
def test_a_killed_workflow_gives_the_same_answer(
    name: str, place: str, ground: Ground, tmp_path: Path
) -> None:
    with ground(tmp_path / "uncut") as url:
        expected = to_its_end(url, tmp_path / "uncut", name)
    killed = 0
    for number in range(1, NUMBERS_MAX, EVERY[place]) if FULL else (SAMPLE[name, place],):
        dead = 0
        for when in ("before", "after") if FULL else (("before", "after")[number % 2],):
            base = tmp_path / f"{number}{when}"
            with ground(base) as url:
                first = run(url, base, name, number, after=when == "after")
                if first.code != -signal.SIGKILL:
                    assert first.code == 0, first.said
                    continue
                dead += 1
                assert to_its_end(url, base, name) == expected, f"killed {when} command {number}"
            assert not executed_again(base.with_suffix(".journal")), f"killed {when} command {number}"
        killed += dead
        if FULL and not dead:
            break
    assert killed, "no process was killed"
    print(f"{name} on {place}: {killed} deaths, the same answer each time")  # noqa: T201
