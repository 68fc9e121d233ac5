"""The local chain as a process of its own, ended by a signal."""

import asyncio
import json
import signal
import sys
import urllib.request
from asyncio.subprocess import PIPE

import pytest

pytestmark = pytest.mark.acceptance
WAIT_S = 30
PROGRAM = """
import asyncio
from hardhat_free_chain import ChainSettings, serve
asyncio.run(serve(ChainSettings(), port=0, on_ready=lambda server: print(server.url, flush=True)))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_served_chain_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    try:
        url = (await asyncio.wait_for(process.stdout.readline(), WAIT_S)).decode().strip()
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}).encode()
        question = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310

        def ask() -> bytes:
            with urllib.request.urlopen(question, timeout=WAIT_S) as answer:  # noqa: S310
                content: bytes = answer.read()
                return content

        assert json.loads(await asyncio.to_thread(ask))["result"] == "0x7a69"
        process.send_signal(number)
        _, errors = await asyncio.wait_for(process.communicate(), WAIT_S)
        assert process.returncode == 0
        assert errors == b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
