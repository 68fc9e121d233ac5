"""A process that commits as fast as it can is killed; whatever it acknowledged is there afterwards."""

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.domain.promise import PromiseState
from orchestrator.protocol import commands as c
from tests.engine_world import world

COMMIT = """
import asyncio, os, sys
from orchestrator.engine import Engine
from orchestrator.domain.promise import PromiseState, Value
from orchestrator.protocol import commands as c
from orchestrator.store import open_store

async def work(engine, lane):
    for number in range(1_000_000):
        root, child = f"{sys.argv[2]}-{lane}-{number}", f"{sys.argv[2]}-{lane}-{number}:1"
        target = {"resonate:target": "poll://any@g"}
        await engine.handle(c.TaskCreate(pid="w", ttl=10_000, action=c.PromiseCreate(
            id=root, timeout_at=2**50, tags=target)))
        await engine.handle(c.TaskFence(id=root, version=1, action=c.PromiseCreate(
            id=child, timeout_at=2**50, param=Value(data="x" * 300))))
        awaits = [c.PromiseRegisterCallback(awaited=child, awaiter=root)]
        await engine.handle(c.TaskSuspend(id=root, version=1, actions=awaits))
        await engine.handle(c.PromiseSettle(id=child, state=PromiseState.RESOLVED, value=Value(data="y")))
        os.write(1, f"{root}\\n".encode())

async def main():
    async with Engine(open_store(sys.argv[1])) as engine:
        await asyncio.gather(*(work(engine, lane) for lane in range(8)))

asyncio.run(main())
"""

ADD = """
import asyncio, os, sys
from orchestrator.engine import Engine
from orchestrator.protocol import commands as c
from orchestrator.store import open_store

async def work(engine, lane):
    for number in range(1_000_000):
        key = f"{sys.argv[2]}-{lane}-{number}"
        await engine.handle(c.PromiseCreate(id=key, timeout_at=2**50))
        os.write(1, f"{key}\\n".encode())

async def main():
    async with Engine(open_store(sys.argv[1])) as engine:
        await asyncio.gather(*(work(engine, lane) for lane in range(80)))

asyncio.run(main())
"""
"""As many clients as are served by additions beside one another (`orchestrator.engine.lanes`)."""


@pytest.mark.acceptance
async def test_no_addition_acknowledged_is_lost_to_sigkill(tmp_path: Path) -> None:
    seed, chance = _seeded()
    url = f"sqlite:///{tmp_path}/s.db"
    acknowledged: set[str] = set()
    for life in range(6):
        acknowledged.update(await asyncio.to_thread(_one_life, url, life, chance.randint(20, 4_000), ADD))
    whole = sqlite3.connect(tmp_path / "s.db")
    stored = {key for (key,) in whole.execute("SELECT id FROM promises")}
    assert whole.execute("PRAGMA integrity_check").fetchone() == ("ok",), seed
    whole.close()
    assert acknowledged <= stored, seed
    # What was under way at each death may be there or not.
    assert len(stored) <= len(acknowledged) + 6 * 80, seed


@pytest.mark.acceptance
async def test_nothing_acknowledged_is_lost_to_sigkill(tmp_path: Path) -> None:
    seed, chance = _seeded()
    url = f"sqlite:///{tmp_path}/s.db"
    acknowledged: list[str] = []
    for life in range(4):
        acknowledged += await asyncio.to_thread(_one_life, url, life, chance.randint(20, 300))
    async with world(url) as w:
        for root in acknowledged:
            child = (await w.do(c.PromiseGet(id=f"{root}:1"))).promise
            assert (child.state, child.value.data) == (PromiseState.RESOLVED, "y"), (root, seed)
            task = await w.task(root)
            assert (task.state.value, task.version) == ("pending", 1), (root, seed)
        gauges = await w.engine.gauges()
        assert gauges.outbox_executes >= len(acknowledged)
    whole = sqlite3.connect(tmp_path / "s.db")
    assert whole.execute("PRAGMA integrity_check").fetchone() == ("ok",), seed
    whole.close()


def _seeded() -> tuple[int, random.Random]:
    seed = random.randrange(2**32)  # noqa: S311
    print("seed", seed)  # noqa: T201
    return seed, random.Random(seed)  # noqa: S311


def _one_life(url: str, life: int, lines: int, program: str = COMMIT) -> list[str]:
    """Read so many acknowledgements, then kill; return all that came through the pipe whole."""
    # Unbuffered: `communicate` passes over what `readline` has read ahead, and would begin within a line.
    process = subprocess.Popen(
        [sys.executable, "-c", program, url, str(life)],
        bufsize=0,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    heard = [process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    rest, errors = process.communicate()
    heard += rest.splitlines(keepends=True)
    whole = [line.decode().strip() for line in heard if line.endswith(b"\n")]
    assert len(whole) >= lines, errors.decode()
    return whole
