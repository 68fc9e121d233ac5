"""What the scenarios with killed processes share, and the table of what was survived."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from tests.acceptance import boundaries
from tests.acceptance.nursery import Nursery
from tests.acceptance.scene import Ground, Scene, furnish, prepare, scene
from tests.acceptance.verdict import Reference, reference
from tests.anvil_node import SOON_FINAL, anvil

MANY = 8
ROW = "survived"
UNHURRIED_LEASE_S = 30.0
"""Nobody dies in the uninterrupted run, so that nobody waits for its end."""
LOCAL, ANVIL = "local", "anvil"
CHAINS = (LOCAL, ANVIL) if boundaries.FULL else (LOCAL,)
"""Where every scenario is played; without the full matrix, a few are played on anvil besides."""
BOTH = (LOCAL, ANVIL)
Record = Callable[[str, object], None]
Stage = tuple[Ground, Reference]
"""A chain that is put back for every scenario, and the uninterrupted run over it."""


@pytest.fixture
def chance() -> random.Random:
    """Chance for one test; `DAO_SCORER_SEED` brings a seed back, and with it the instants."""
    seed = int(os.environ.get("DAO_SCORER_SEED", random.randrange(2**32)))  # noqa: S311
    print("DAO_SCORER_SEED =", seed)  # noqa: T201
    return random.Random(seed)  # noqa: S311


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as made:
        yield made


@pytest.fixture(scope="session")
def ground(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A chain with a few proposals, one for each worker of pytest."""
    folder = tmp_path_factory.mktemp("chain")
    return asyncio.run(prepare(nursery, folder, boundaries.PROPOSALS))


@pytest.fixture(scope="session")
def moving(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A chain that mines by itself and whose blocks are final only later, and a run over it."""
    folder, options = tmp_path_factory.mktemp("moving-chain"), ("--finality-lag", "2", "--block-time", "0.2")
    made = asyncio.run(prepare(nursery, folder, boundaries.PROPOSALS, *options))
    return made, asyncio.run(_uninterrupted(made, tmp_path_factory.mktemp("moving-measure")))


# In the sample minutes lie between two scenarios. One anvil that was put back for each of them has been seen
# to count on from blocks that it no longer had; why is not proven.
@pytest.fixture(scope="session" if boundaries.FULL else "function")
def of_others(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The same on anvil, which mines by itself and finalises two blocks later, and a run over it."""
    with _on_anvil(nursery, boundaries.PROPOSALS, tmp_path_factory.mktemp("anvil-measure")) as made:
        yield made


@pytest.fixture(scope="session")
def wide_of_others(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The same with many proposals."""
    with _on_anvil(nursery, MANY, tmp_path_factory.mktemp("wide-anvil-measure")) as made:
        yield made


@pytest.fixture(scope="session")
def measure(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """The uninterrupted run over `ground`."""
    return asyncio.run(_uninterrupted(ground, tmp_path_factory.mktemp("measure")))


@pytest.fixture(scope="session")
def wide(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A chain with many proposals, and the uninterrupted run over it."""
    made = asyncio.run(prepare(nursery, tmp_path_factory.mktemp("wide-chain"), MANY))
    return made, asyncio.run(_uninterrupted(made, tmp_path_factory.mktemp("wide-measure")))


@pytest.fixture
def few(request: pytest.FixtureRequest) -> Stage:
    """A few proposals, on the chain that the test is parametrised with."""
    if request.param == ANVIL:
        return cast(Stage, request.getfixturevalue("of_others"))
    return request.getfixturevalue("ground"), request.getfixturevalue("measure")


@pytest.fixture
def few_moving(request: pytest.FixtureRequest) -> Stage:
    """The same on a chain that mines by itself, as anvil does in any case."""
    return cast(Stage, request.getfixturevalue("of_others" if request.param == ANVIL else "moving"))


@pytest.fixture
def many(request: pytest.FixtureRequest) -> Stage:
    """Many proposals; on anvil few of them where only a sample is played there."""
    others = "wide_of_others" if boundaries.FULL else "of_others"
    return cast(Stage, request.getfixturevalue(others if request.param == ANVIL else "wide"))


@contextmanager
def _on_anvil(nursery: Nursery, proposals: int, folder: Path) -> Iterator[Stage]:
    with anvil("--block-time", "0.2", *SOON_FINAL) as url:
        made = asyncio.run(furnish(nursery, url, proposals, of_others=True, moves=True))
        yield made, asyncio.run(_uninterrupted(made, folder))


async def _uninterrupted(ground: Ground, folder: Path) -> Reference:
    async with scene(ground, folder, UNHURRIED_LEASE_S) as made:
        await made.serve()
        made.listen()
        made.work()
        return reference(made, await made.finished())


def survived(record: Record, scene: Scene, place: tuple[object, ...], began: float) -> list[str]:
    """Note a row of the table (who died, when, where, at which proposal); return what was executed again."""
    executions, names = scene.history.executions(), scene.history.names()
    again = [names[step] for step, times in executions.items() if times > 1]
    who, *where = place
    record(
        ROW,
        (
            f"{who}{scene.ground.where}",
            *where,
            f"{time.monotonic() - began:.1f}",
            len(executions),
            len(again),
        ),
    )
    return again


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print who died where, how long the whole took, and what was executed again."""
    rows = [
        (report.outcome, *value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        if report.when == "call"
        for key, value in report.user_properties
        if key == ROW
    ]
    if not rows:
        return
    terminalreporter.section("killed, and survived")
    header = ("result", "who", "when", "where", "proposal", "seconds", "steps", "again")
    table = [header, *(tuple(str(cell) for cell in row) for row in sorted(rows))]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        terminalreporter.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    passed = sum(row[0] == "passed" for row in rows)
    seconds = sum(float(row[5]) for row in rows)
    terminalreporter.line(f"{len(rows)} deaths, {passed} survived, {seconds:.0f} s in all scenarios together")
