"""A listener as a process of its own, which may have a place to die.

`python -m tests.acceptance.listener_process CONFIG`, where CONFIG is the JSON of a `Job`. It ends by itself
and prints its last progress when everything final is dispatched and every vote has ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from contracts.rpc import Node
from listener import Listener, ListenerSettings, Progress, SqliteCursorStore
from orchestrator import Orchestrator
from orchestrator.protocol.transport import Transport
from orchestrator.transport.http import HttpTransport
from tests.acceptance.killing import Killer, KillingTransport, KillPoint, killing_node, killing_store

ROOT = Path(__file__).parents[2]
WAIT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one listener process does; `kill` is the text of a `KillPoint`."""

    rpc: str
    server: str
    cursor: str
    settings: ListenerSettings
    kill: str | None = None


async def listen(job: Job) -> Progress:
    """Listen until nothing is left to do."""
    killer = Killer(KillPoint.parse(job.kill) if job.kill else None)
    stop = asyncio.Event()
    last: list[Progress] = []

    def note(progress: Progress) -> None:
        last[:] = [progress]
        if progress.caught_up and not progress.behind and not progress.open_proposals:
            stop.set()

    transport = HttpTransport(job.server)
    app = Orchestrator(
        transport=cast(Transport, KillingTransport(transport, killer)), group="listeners", worker=False
    )
    node = killing_node(Node(job.rpc, chain_id=job.settings.chain_id), killer)
    async with await SqliteCursorStore.open(job.cursor) as store, app, node:
        await Listener(job.settings, node, app, killing_store(store, killer), on_progress=note).run(stop)
    await transport.close()
    return last[0]


async def run_process(job: Job) -> tuple[int, Any]:
    """Run a job in a process; return its exit code (negative: the signal) and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.acceptance.listener_process",
        msgspec.json.encode(job).decode(),
        stdout=PIPE,
        stderr=PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'hardhat-free-chain'}"},
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), WAIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    lines = output.decode().splitlines()
    return process.returncode, json.loads(lines[-1]) if process.returncode == 0 else None


def main() -> None:
    """Run the job on the command line."""
    job = msgspec.json.decode(sys.argv[1], type=Job)
    print(json.dumps(asdict(asyncio.run(listen(job)))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
