"""Every example comes to the same, and to the same record, wherever one of its processes is cut off.

W1 no settled step is executed again. W2 replay sees the recorded outcome. W3 the record is the one of the
uninterrupted run. Each program ends by SIGKILL right after its first command that changes the record, in the
next play after its second one, and so on until it is not killed any more.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from examples.gallery import Example
from examples.playing import Course, course, faults
from examples.spawning import forked
from examples.stage import Cut, Fate
from tests.examples.record import Record, differences, recorded
from tests.examples.sample import FOLDERS, RECORDS, RecordProperty, available, drawn
from tests.postgres_server import Server

STORES = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
FROM = int(os.environ.get("EXAMPLES_CUTS_FROM", "1"))
EACH_UP_TO = int(os.environ.get("EXAMPLES_CUTS", "30"))
THINNED = 5
"""Behind so many checkpoints of a program (`EXAMPLES_CUTS`) only every fifth one is a place to die.

`EXAMPLES_CUTS_FROM` leaves those before it to another run.
"""
WITHOUT_CHECKPOINTS = ("browser_tab",)
"""Its steps run in a browser, where none of the programs that may die has a checkpoint."""
CUTS_IN_CI = 2
FIRST_IN_CI = 4
"""In CI the place is one of so many first checkpoints."""
UNDISTURBED_REST_S, REST_S, REST_S_MAX = 0.5, 6.0, 40.0
"""Whoever dies leaves a lease behind, of two seconds."""
LOOK_S = 0.05


class Cutting:
    """An example that is played again and again, in a folder and on a store of its own each time."""

    def __init__(self, example: Example, folders: pytest.TempPathFactory, server: Server | None) -> None:
        self._example = example
        self._folders = folders
        self._server = server
        self._known: list[tuple[Course, Record]] = []

    async def undisturbed(self) -> Course:
        """Play it to its end, and remember what it came to."""
        came, record = await self._play(None)
        self._known.append((came, record))
        return came

    async def killed(self, cut: Cut) -> bool:
        """Play it with a cut; tell whether there was one. AssertionError if it came to anything else."""
        came, record = await self._play(cut)
        place = f"{self._example.folder}, program {cut.program} cut after {cut.checkpoint}: {came.cut}"
        assert not faults(came, self._known[0][0]), place
        if self._differences(record) and len(self._known) == 1:
            await self.undisturbed()  # what differs there as well is not the cut's
        assert not self._differences(record), place
        return came.cut is not None

    def _differences(self, record: Record) -> list[str]:
        return differences(record, [known for _, known in self._known])

    async def _play(self, cut: Cut | None) -> tuple[Course, Record]:
        folder = self._folders.mktemp("cut" if cut else "undisturbed")
        async with database(self._server) as url:
            where = url or folder / self._example.store
            rest = partial(self._rest, where, UNDISTURBED_REST_S if cut is None else REST_S)
            came = await course(self._example, folder, Fate(cut=cut, spawn=forked, store=url), rest)
            return came, await recorded(where)

    async def _rest(self, where: str | Path, still_s: float) -> None:
        """Wait until the record is as it should be, or stands still: what is detached ends late."""
        loop = asyncio.get_running_loop()
        begun = changed = loop.time()
        last = await recorded(where)
        while loop.time() < min(changed + still_s, begun + REST_S_MAX):
            if self._known and not self._differences(last):
                break
            await asyncio.sleep(LOOK_S)
            before, last = last, await recorded(where)
            changed = loop.time() if last != before else changed


@asynccontextmanager
async def database(server: Server | None) -> AsyncIterator[str | None]:
    """Lend a database that is removed afterwards; None if there is no server, for files."""
    if server is None:
        yield None
        return
    name = f"cut_{secrets.token_hex(8)}"
    yield server.fresh(name)
    server.drop(name)


async def cut_everywhere(cutting: Cutting) -> str | None:
    """Cut off each program after each of its checkpoints, one a play; return how many deaths that were.

    None if no program has any.
    """
    deaths: Counter[int] = Counter()
    thinned = False
    for program in (await cutting.undisturbed()).lives_s:
        for checkpoint in count(FROM):
            if checkpoint > EACH_UP_TO and checkpoint % THINNED:
                thinned = True
            elif not await cutting.killed(Cut(program=program, checkpoint=checkpoint)):
                break
            else:
                deaths[program] += 1
    if not deaths:
        return None
    each = f"each up to the {EACH_UP_TO}th, then every {THINNED}th" if thinned else "each"
    return f"{deaths.total()} deaths of {len(deaths)} programs, after {each} of their checkpoints"


async def cut_somewhere(cutting: Cutting, chance: random.Random) -> list[str]:
    """Cut off programs at some of their first checkpoints; return which."""
    programs = list((await cutting.undisturbed()).lives_s)
    chance.shuffle(programs)
    places: list[str] = []
    for program in programs:
        for checkpoint in (chance.randint(1, FIRST_IN_CI), 1):
            if await cutting.killed(Cut(program=program, checkpoint=checkpoint)):
                places.append(f"program {program} after {checkpoint}")
                break
        if len(places) == CUTS_IN_CI:
            break
    return places


@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", range(2))
async def test_some_are_cut_after_some_checkpoints(
    number: int, tmp_path_factory: pytest.TempPathFactory, record_property: RecordProperty
) -> None:
    example, chance = drawn(number, without=WITHOUT_CHECKPOINTS)
    places = await cut_somewhere(Cutting(example, tmp_path_factory, None), chance)
    assert places, f"no program of {example.folder} was killed"
    record_property("cut", f"{example.folder}: {places}")


@pytest.mark.skipif(not RECORDS, reason="make records cuts all of them everywhere")
@pytest.mark.timeout(3_600)
@STORES
@FOLDERS
async def test_all_are_cut_after_every_checkpoint(
    example: Example,
    kind: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    available(example)
    server = request.getfixturevalue("postgres") if kind == "postgresql" else None
    said = await cut_everywhere(Cutting(example, tmp_path_factory, server))
    if said is None:
        pytest.skip(f"{example.folder}: no program that may die has such a checkpoint")
    with capsys.disabled():
        print(f"\n{example.folder} on {kind}: {said}")  # noqa: T201 - the record


def record_of(**values: str) -> Record:
    return {name: frozenset({("resolved", None, None, None, value)}) for name, value in values.items()}


def test_what_differs_from_undisturbed_records_is_told() -> None:
    undisturbed = [record_of(kept="1", drawn=drawn) for drawn in ("2", "3")]
    assert not differences(record_of(kept="1", drawn="4"), undisturbed)
    assert differences(record_of(kept="1", drawn="4"), undisturbed[:1])
    told = differences(record_of(kept="5", more="6"), undisturbed)
    assert [one.split(" ")[0] for one in told] == ["drawn", "more", "kept:"]
