"""anvil, a node that is not of this project, as a process of a test; skipped loudly where it is absent."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BINARY = "contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
START_S = 20
LOOK_S = 0.02
SOON_FINAL = ("--slots-in-an-epoch", "1")
"""Blocks are final two blocks later, and not 64."""


def anvil_binary() -> str:
    """Return anvil's path, from npm's folder or the search path; skip the test where there is none."""
    local = Path(__file__).parents[1] / BINARY
    found = str(local) if local.exists() and os.access(local, os.X_OK) else shutil.which("anvil")
    if found is None:
        pytest.skip("anvil is not installed: npm ci in contracts/")
    return found


@contextmanager
def anvil(*options: str) -> Iterator[str]:
    """Run anvil on a free port of the loopback, until it is left; yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [anvil_binary(), "--host", "127.0.0.1", "--port", str(port), "--silent", *options]
    process = subprocess.Popen(command)
    try:
        _wait(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert process.poll() is None, f"anvil ended with {process.returncode} at its start"
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(LOOK_S)
    raise TimeoutError(f"anvil does not listen on port {port}")
