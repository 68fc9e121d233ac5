"""The programs on the pages about workers and the gateway are programs; one of them is served here."""

from __future__ import annotations

import asyncio
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from orchestrator import Orchestrator

DOCS = Path(__file__).parents[2] / "docs"
TIMEOUT_S = 20


def programs(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def loaded(source: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a program as a module, so that annotations find their names."""
    module = types.ModuleType("program_of_the_docs")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source, "docs", "exec"), module.__dict__)  # noqa: S102 - the documentation's own programs
    return module.__dict__


@pytest.mark.parametrize("page", ["workers.md", "gateway.md"])
def test_the_programs_of_the_page_can_be_loaded(
    page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert programs(page)
    for program in programs(page):
        loaded(program, monkeypatch)


async def test_a_site_starts_and_stops_its_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    source = next(program for program in programs("workers.md") if "attach(" in program)
    for life in range(2):
        # The second life finds the order in the store, whatever the first left of it.
        program = loaded(source, monkeypatch)
        durable: Orchestrator = program["durable"]
        async with asyncio.timeout(TIMEOUT_S), TestClient(TestServer(program["site"]())) as client:
            async with client.post("/orders/7") as response:
                assert (response.status, await response.json()) == (202, {"id": "order-7"})
            if life:
                assert await (await durable.get("order-7")).result() == "order 7 shipped"
        assert durable._surroundings is None
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others, "nothing of the application is left running"
