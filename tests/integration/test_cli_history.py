"""`dao-scorer history export` and `replay-history`, as processes: what is recorded meets changed code."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from orchestrator.engine import Engine
from orchestrator.store.memory import MemoryStore
from orchestrator.transport.http import HttpTransport
from scorers.cli.history import load
from tests.integration.server_support import served

ROOT = Path(__file__).parents[2]
MODULE = """
from orchestrator import Context, Orchestrator

app = Orchestrator.local(":memory:")


@app.register
def charge(order: int) -> int:
    return order * 10


@app.register
def refund(order: int) -> int:
    return -order


@app.register
async def order(ctx: Context, number: int) -> int:
    return await ctx.run({step}, number)
"""


async def run(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scorers",
        *arguments,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'hardhat-free-chain'}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode(), err.decode()


async def test_an_exported_history_is_replayed_by_its_module_and_differs_from_a_changed_one(
    tmp_path: Path,
) -> None:
    for name, step in (("same", "charge"), ("changed", "refund")):
        (tmp_path / f"{name}.py").write_text(MODULE.replace("{step}", step))
    async with Engine(MemoryStore()) as engine, served(engine) as url:
        transport = HttpTransport(url)
        sys.path.insert(0, str(tmp_path))
        try:
            recording = load("same")
        finally:
            sys.path.remove(str(tmp_path))
            sys.modules.pop("same")
        async with recording.twin(lambda: _borrowed(transport)) as app:
            assert await app.run("order-1", "order", 4) == 40
        await transport.close()
        code, out, err = await run(
            "history", "export", "order-1", "-o", "h.json", "--server", url, cwd=tmp_path
        )
        assert (code, err) == (0, ""), err
        assert "2 promises of order-1 written to h.json" in out
        code, _, err = await run("history", "export", "nobody", "--server", url, cwd=tmp_path)
        assert code == 1
        assert "there is no promise nobody" in err
    assert json.loads((tmp_path / "h.json").read_text())["format"] == "orchestrator-history"

    code, out, err = await run("replay-history", "h.json", "--module", "same", cwd=tmp_path)
    assert (code, err) == (0, ""), err
    assert "✔ order-1 (order version 1) repeats its record" in out
    code, out, _ = await run("replay-history", "h.json", "-m", "changed:app", "--json", cwd=tmp_path)
    told = json.loads(out)
    assert code == 1
    assert "order-1:1 was recorded as step charge version 1" in told["difference"]
    assert "step refund version 1 (call 1 of order-1)" in told["difference"]

    for arguments, message in (
        (("h.json", "-m", "nowhere"), "cannot import nowhere"),
        (("h.json", "-m", "same:other"), "same has no Orchestrator 'other': it has app"),
        (("none.json", "-m", "same"), "cannot read none.json"),
        (("same.py", "-m", "same"), "same.py is no recorded history"),
    ):
        code, _, err = await run("replay-history", *arguments, cwd=tmp_path)
        assert code == 1
        assert message in " ".join(err.split())


class _borrowed:  # noqa: N801 - reads as the function that it stands for
    def __init__(self, transport: HttpTransport) -> None:
        self.transport = transport

    async def __aenter__(self) -> HttpTransport:
        return self.transport

    async def __aexit__(self, *_: object) -> None: ...
