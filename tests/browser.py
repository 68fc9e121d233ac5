"""Headless Chromium as a test drives it: by its DevTools protocol, with nothing but aiohttp."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.interop.test_interop_browser import FLAGS, browser

START_S = 30


@dataclass
class Tab:
    """One page."""

    socket: aiohttp.ClientWebSocketResponse
    numbers: Any = field(default_factory=count)

    async def call(self, method: str, **parameters: Any) -> Any:
        number = next(self.numbers)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await self.socket.receive_json(timeout=START_S)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    async def evaluate(self, expression: str) -> Any:
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def open(self, url: str) -> None:
        await self.call("Page.enable")
        await self.socket.send_json(
            {"id": next(self.numbers), "method": "Page.navigate", "params": {"url": url}}
        )
        while (await self.socket.receive_json(timeout=START_S)).get("method") != "Page.loadEventFired":
            pass

    async def choose(self, selector: str, path: Path) -> None:
        """Put a file into an input, as a user does."""
        document = (await self.call("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.call("DOM.querySelector", nodeId=document, selector=selector))["nodeId"]
        await self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    async def screenshot(self, path: Path, *, dark: bool, width: int = 1100) -> None:
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=scheme)
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(shot["data"]))


@asynccontextmanager
async def headless(profile: Path) -> AsyncIterator[Tab]:
    """Hold a browser with one empty tab; skips without a browser."""
    program = browser()
    log = profile / "browser.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program,
            *FLAGS,
            "--remote-debugging-port=0",
            f"--user-data-dir={profile / 'profile'}",
            "about:blank",
            stdout=output,
            stderr=output,
            env={**os.environ, "HOME": str(profile)},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(START_S):
                port = await _port(profile / "profile" / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    pages = [each for each in await answer.json() if each["type"] == "page"]
                # A picture of the whole page is larger than a message usually is.
                async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    yield Tab(socket)
        finally:
            os.killpg(process.pid, 9)
            await process.wait()


async def _port(file: Path) -> int:
    """The browser writes its port once it listens."""
    while not file.exists() or not file.read_text().strip():  # noqa: ASYNC110, ASYNC240 - another process's
        await asyncio.sleep(0.05)
    return int(file.read_text().splitlines()[0])  # noqa: ASYNC240
