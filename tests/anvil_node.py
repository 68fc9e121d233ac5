"""anvil, a node that is not of this project, as a process of a test; skipped loudly where it is absent."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contracts.rpc import Node, NodeUnavailable

BINARY = "contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
START_S = 20
SOON_FINAL = ("--slots-in-an-epoch", "1")
"""Blocks are final two blocks later, and not 64."""


def anvil_binary() -> str:
    """Return anvil's path, from npm's folder or the search path; skip the test where there is none."""
    local = Path(__file__).parents[1] / BINARY
    found = str(local) if local.exists() and os.access(local, os.X_OK) else shutil.which("anvil")
    if found is None:
        pytest.skip("anvil is not installed: npm ci in contracts/")
    return found


@asynccontextmanager
async def anvil(*options: str) -> AsyncIterator[str]:
    """Run anvil on a free port of the loopback; yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [anvil_binary(), "--host", "127.0.0.1", "--port", str(port), "--silent", *options]
    process = subprocess.Popen(command)  # noqa: ASYNC220 - it returns at once
    try:
        await _ready(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


async def _ready(url: str) -> None:
    async with asyncio.timeout(START_S), Node(url) as node:
        while True:
            try:
                await node.chain_id()
            except NodeUnavailable:
                await asyncio.sleep(0.05)
            else:
                return
