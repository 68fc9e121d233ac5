"""What the scenarios with killed processes share, and the table of what was survived."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import boundaries
from tests.acceptance.nursery import Nursery
from tests.acceptance.scene import Ground, prepare, scene
from tests.acceptance.verdict import Reference, reference

MANY = 8
ROW = "survived"


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
def measure(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """The uninterrupted run over `ground`."""
    return asyncio.run(_uninterrupted(ground, tmp_path_factory.mktemp("measure")))


@pytest.fixture(scope="session")
def wide(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ground, Reference]:
    """A chain with many proposals, and the uninterrupted run over it."""
    made = asyncio.run(prepare(nursery, tmp_path_factory.mktemp("wide-chain"), MANY))
    return made, asyncio.run(_uninterrupted(made, tmp_path_factory.mktemp("wide-measure")))


async def _uninterrupted(ground: Ground, folder: Path) -> Reference:
    async with scene(ground, folder) as made:
        await made.serve()
        made.listen()
        made.work()
        return reference(made, await made.finished())


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
