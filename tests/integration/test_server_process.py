"""The server as a process: ready when it says so, stopped by a signal, with an orderly end."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from tests.integration.server_support import get, raw_stream

PROGRAM = """
import asyncio, sys
from orchestrator.server import ServerSettings, create_app, serve
from tests.integration.server_support import ScriptedEngine

async def main():
    app = create_app(ScriptedEngine(), ServerSettings(port=0))
    await serve(app, on_ready=lambda url: print(url, file=sys.stderr, flush=True))

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_streams_and_the_process_in_order(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            url = (await process.stderr.readline()).decode().strip()
            assert (await get(url, "/ready"))[0] == 200
            async with raw_stream(url, "/poll/scorers/w1") as stream:
                await stream.until(b":\n\n")
                process.send_signal(number)
                assert (await stream.rest()).endswith(b"0\r\n\r\n")
            assert await process.wait() == 0
            assert await process.stderr.read() == b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
