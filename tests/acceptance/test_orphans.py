"""Whoever starts a family of processes may be killed: none of them outlives it."""

import asyncio
import os
import re
import select
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(
        not hasattr(os, "pidfd_open"), reason="only Linux tells of the end of a foreign process"
    ),
]
WAIT_S = 30
PARENT = """
import asyncio, signal, sys
from pathlib import Path
from scorers.processes import family

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Under nohup it would be ignored, and that is inherited.

async def main():
    async with family(Path(sys.argv[1])) as children:
        store = ["--store", "sqlite:///orphan.db"]
        child = await children.start("the server", ["serve", "--port", "0", *store])
        print(child.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
async def test_a_child_ends_with_the_process_that_started_it(number: signal.Signals, tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(tmp_path), stdout=PIPE)
    assert parent.stdout is not None
    child = None
    try:
        child = int(await asyncio.wait_for(parent.stdout.readline(), WAIT_S))
        life = os.pidfd_open(child)
        parent.send_signal(number)
        await asyncio.wait_for(parent.wait(), WAIT_S)
        ended, _, _ = await asyncio.to_thread(select.select, [life], [], [], WAIT_S)
        os.close(life)
        assert ended, f"process {child} is left over"
        child = None
    finally:
        if parent.returncode is None:
            parent.kill()
            await parent.wait()
        if child is not None:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_stopped_demo_leaves_no_process_and_no_file(number: signal.Signals, tmp_path: Path) -> None:
    demo = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scorers",
        "demo",
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert demo.stdout is not None
    try:
        line = await asyncio.wait_for(demo.stdout.readline(), WAIT_S)
        chain = re.search(rb"pid (\d+)", line)
        assert chain is not None, line
        life = os.pidfd_open(int(chain[1]))
        demo.send_signal(number)
        _, errors = await asyncio.wait_for(demo.communicate(), WAIT_S)
        assert (demo.returncode, errors) == (128 + number, b"")
        ended, _, _ = select.select([life], [], [], 0)
        os.close(life)
        assert ended, "the chain is left over"
        assert not os.listdir(tmp_path)
    finally:
        if demo.returncode is None:
            demo.kill()
            await demo.wait()
