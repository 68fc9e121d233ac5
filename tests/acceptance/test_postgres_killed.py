"""Servers on one PostgreSQL are killed under load: what they acknowledged is there, and the others go on."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.domain.promise import PromiseState
from orchestrator.protocol import commands as c
from orchestrator.transport.http import HttpTransport
from tests.acceptance.boundaries import FULL
from tests.acceptance.conftest import CHAINS, Record, Stage, survived
from tests.acceptance.scene import END_S, KILLED, LOOK_S, Scene, scene
from tests.acceptance.test_killed_everywhere import DRAIN_S
from tests.acceptance.test_store_crash import COMMIT
from tests.acceptance.verdict import interruption, judge
from tests.engine_world import world
from tests.postgres_server import Server

pytestmark = pytest.mark.acceptance
LIVES = 40 if FULL else 4


async def test_nothing_acknowledged_is_lost_to_sigkill(postgres: Server, postgres_url: str) -> None:
    """Two processes commit to one database; again and again one is killed and another takes its place."""
    seed = random.randrange(2**32)  # noqa: S311
    print("seed", seed)  # noqa: T201
    chance = random.Random(seed)  # noqa: S311
    acknowledged: list[str] = []
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for life in range(LIVES):
            while len(processes) < 2:
                processes.append(_start(postgres_url, f"{life}-{len(processes)}"))
            victim = processes.pop(chance.randrange(2))
            acknowledged += await asyncio.to_thread(_killed, victim, chance.randint(20, 150))
    finally:
        for process in processes:
            acknowledged += _killed(process, 0)
    assert len(acknowledged) >= 20 * LIVES
    async with world(postgres_url) as w:
        for root in acknowledged:
            child = (await w.do(c.PromiseGet(id=f"{root}:1"))).promise
            assert (child.state, child.value.data) == (PromiseState.RESOLVED, "y"), (root, seed)
            task = await w.task(root)
            # A lease of ten seconds may have ended and been announced meanwhile; nobody acquired again.
            assert (task.state.value, task.version) == ("pending", 1), (root, seed)
    database = postgres_url.partition("?")[0].rpartition("/")[2]
    stuck = await postgres.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", database)
    assert stuck[0][0] == 0


def _start(url: str, name: str) -> subprocess.Popen[bytes]:
    # Unbuffered: `communicate` passes over what `readline` has read ahead, and would begin within a line.
    return subprocess.Popen(
        [sys.executable, "-c", COMMIT, url, name], bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _killed(process: subprocess.Popen[bytes], lines: int) -> list[str]:
    """Read so many acknowledgements, then kill; return all that came through the pipe whole."""
    assert process.stdout is not None
    heard = [process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    rest, errors = process.communicate()
    heard += rest.splitlines(keepends=True)
    whole = [line.decode().strip() for line in heard if line.endswith(b"\n")]
    assert len(whole) >= lines, errors.decode()
    return whole


@pytest.mark.parametrize("many", CHAINS, indirect=True)
async def test_a_scoring_over_two_servers_of_which_one_is_killed(
    many: Stage,
    postgres_url: str,
    chance: random.Random,
    tmp_path: Path,
    record_property: Record,
) -> None:
    began = time.monotonic()
    async with scene(many[0], tmp_path) as played:
        first, first_url = await _serve(played, postgres_url)
        _, second_url = await _serve(played, postgres_url)
        orphan, heir = _work(played, first_url), _work(played, second_url)
        await asyncio.gather(orphan.ready(), heir.ready())
        played.server_url = second_url
        played.listen()
        await _dispatched(played)
        instant_s = chance.uniform(0, 0.6)
        await asyncio.sleep(instant_s)
        await first.kill()
        assert first.code == KILLED
        await asyncio.sleep(DRAIN_S)
        stood = interruption(played, orphan, await played.settled())
        await _serve(played, postgres_url, port=first_url.rpartition(":")[2])
        promises = await played.finished()
        await judge(played, promises, many[1], interruptions=[stood])
        elsewhere = HttpTransport(first_url)
        for promise_id, promise in promises.items():
            assert (await elsewhere.call(c.PromiseGet(id=promise_id))).promise == promise
        await elsewhere.close()
    survived(record_property, played, ("1 of 2 servers", f"{instant_s:.2f} s", "", "any"), began)


async def _serve(played: Scene, url: str, port: str = "0"):  # type: ignore[no-untyped-def]
    process = played._start("server", ["serve", "--port", port, "--store", url], "")
    return process, await process.ready()


def _work(played: Scene, url: str):  # type: ignore[no-untyped-def]
    return played._start("worker", ["worker", "--server", url, "--lease", str(played.lease_s)], "")


async def _dispatched(played: Scene) -> None:
    end = time.monotonic() + END_S
    while not await played.promises():
        assert time.monotonic() < end, played.words()
        await asyncio.sleep(LOOK_S)
