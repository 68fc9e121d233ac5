"""A browser tab is a worker: the published TypeScript SDK in headless Chromium, reloaded in the middle."""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator import Orchestrator
from scorers.processes import family
from tests.interop.conftest import require, serve
from tests.interop.members import BUNDLE, CHROMIUM, INSTALLED

pytestmark = pytest.mark.timeout(120)
PAGES = Path(__file__).parents[2] / "examples" / "browser_tab"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PAUSE_MS = 25
NUMBERS = (12, 15, 18)
TIMEOUT_S = 90
HOW_CHROMIUM = "no Chromium on PATH: install Debian's package chromium"
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


def browser() -> str:
    """Return the installed browser. Skips without one, and fails in CI unless CI said that there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        require(CHROMIUM)
        pytest.skip(f"{HOW_CHROMIUM}, to test with a browser tab")
    return found


class Site:
    """The server of the page: its files, what the tabs told, and a stream that has them load anew."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.told: list[dict[str, Any]] = []
        self.changed = asyncio.Condition()
        self._reload = asyncio.Event()

    def application(self) -> web.Application:
        site = web.Application()
        site.router.add_get("/settings.json", self._settings)
        site.router.add_post("/told", self._told)
        site.router.add_get("/control", self._control)
        site.router.add_get("/{file:index.html|worker.js|sdk.js}", _file)
        return site

    async def until(self, wanted: Any) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: wanted(self.told))

    def reload(self) -> None:
        self._reload.set()

    async def _settings(self, _: web.Request) -> web.Response:
        return web.json_response(self.settings)

    async def _told(self, request: web.Request) -> web.Response:
        async with self.changed:
            self.told.append(json.loads(await request.read()))
            self.changed.notify_all()
        return web.Response()

    async def _control(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await self._reload.wait()
        # For the tab that asked before it; the one that comes then is left alone.
        self._reload = asyncio.Event()
        await response.write(b"event: reload\ndata: now\n\n")
        return response


async def _file(request: web.Request) -> web.Response:
    name = request.match_info["file"]
    path = (INSTALLED / "browser" if name == "sdk.js" else PAGES) / name
    kind = "text/html" if path.suffix == ".html" else "text/javascript"
    return web.Response(body=await asyncio.to_thread(path.read_bytes), content_type=kind)


@asynccontextmanager
async def tab(url: str, profile: Path) -> AsyncIterator[None]:
    """Hold a browser with one tab on `url`; what it writes goes to a file of its profile."""
    log = profile / "browser.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            browser(),
            *FLAGS,
            f"--user-data-dir={profile / 'profile'}",
            url,
            stdout=output,
            stderr=output,
            env={**os.environ, "HOME": str(profile)},
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, 9)
            await process.wait()


async def test_a_tab_goes_on_after_it_was_loaded_anew(tmp_path: Path) -> None:
    require(BUNDLE)
    browser()
    page = Site()
    group = f"browser-{uuid.uuid4().hex[:8]}"
    async with TestServer(page.application()) as site, family(tmp_path) as children:
        origin = str(site.make_url("/").origin())
        server = await serve(children, tmp_path, environment={"DAO_SCORER_CORS_ORIGINS": origin})
        page.settings = {"url": server.where, "group": group, "pause_ms": PAUSE_MS}
        async with (
            asyncio.timeout(TIMEOUT_S),
            Orchestrator.remote(server.where, group="clients", worker=False) as client,
            tab(f"{origin}/index.html", tmp_path),
        ):
            await page.until(lambda told: told)
            invoker = client.options(target=group)
            handles = [await invoker.begin_rpc(f"factorial-{n}", "factorial", n) for n in NUMBERS]
            await page.until(lambda told: len(told) > 10)
            page.reload()
            await page.until(lambda told: len({news["tab"] for news in told}) > 1)
            results = [await handle.result() for handle in handles]
    assert results == [math.factorial(number) for number in NUMBERS]
    executed = [news for news in page.told if news["event"] == "executed"]
    tabs = {news["tab"] for news in executed}
    assert len(tabs) == 2, "both tabs have worked"
    # What had settled before is not executed again: a step may come twice only where the reload cut it off.
    again = [
        promise_id for promise_id, count in Counter(news["id"] for news in executed).items() if count > 1
    ]
    assert len(again) <= len(NUMBERS)
    assert len({news["id"] for news in executed}) == sum(number - 1 for number in NUMBERS)
