"""A type checker infers what functions return through every way of calling them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from collections.abc import Generator
from typing import Any
from typing_extensions import assert_type
from orchestrator import (
    ApplicationError, CommittedOrchestrator, Context, DurableFuture, Handle, Info, Orchestrator
)

app = Orchestrator.local(":memory:")
committed = CommittedOrchestrator(app)
assert_type(CommittedOrchestrator.local(":memory:"), CommittedOrchestrator)

@app.register
async def fetch(number: int) -> list[str]:
    return []

@app.register(executor="inline", commit=True)
def count(info: Info, words: list[str]) -> int:
    return 0

def plain(number: int, *, scale: float = 1.0) -> float:
    return scale

@committed.register
def hashed(number: int) -> bytes:
    return b""

@committed.register(name="other", commit=False)
async def uncommitted(number: int) -> bool:
    return True

@app.register(version=2)
async def flow(ctx: Context, number: int) -> bytes:
    words = await ctx.run(fetch, number)
    assert_type(words, list[str])
    assert_type(await ctx.begin_run(count, words), int)
    assert_type(ctx.rpc(plain, 1, scale=2.0), DurableFuture[float])
    assert_type(await ctx.detached(flow, 1), bytes)
    assert_type(await ctx.lfc(generated, "a"), bool)
    assert_type(await ctx.options(timeout_s=1).run(generated, "a"), bool)
    assert_type(await ctx.rpc("by_name", 1), Any)
    assert_type(ctx.info.timeout_at, int)
    figure, word = ctx.begin_run(plain, 1), ctx.begin_rpc(generated, "a")
    assert_type(await ctx.gather(figure, figure), list[float])
    assert_type(await ctx.gather(*[figure, figure]), list[float])
    assert_type(await ctx.gather(figure, word), tuple[float, bool])
    assert_type(await ctx.gather(figure, figure, return_exceptions=True), list[float | ApplicationError])
    assert_type(await ctx.race(figure, figure), float)
    assert_type(await ctx.race(ctx.run(fetch, 1), word), list[str] | bool)
    assert_type(await ctx.any(*[word, word]), bool)
    assert_type(await ctx.timeout(word, 1), bool)
    assert_type(await ctx.shield(figure), float)
    assert_type([await one async for one in ctx.as_completed(word, word)], list[bool])
    if not await word:
        return ctx.continue_as(2)
    return b""

@app.register
def generated(ctx: Context, name: str) -> Generator[Any, Any, bool]:
    words = yield from ctx.run(fetch, 1)
    assert_type(words, list[str])
    return True

async def main() -> None:
    assert_type(await app.run("a", flow, 1), bytes)
    async with committed as running:
        assert_type(running, CommittedOrchestrator)
        assert_type(await running.run("a", hashed, 1), bytes)
        assert_type(await committed.rpc("a", uncommitted, 1), bool)
    assert_type(await app.begin_run("a", generated, "x"), Handle[bool])
    assert_type(await app.rpc("a", fetch, 1), list[str])
    handle = await app.options(target="others").begin_rpc("a", count, ["x"])
    assert_type(handle, Handle[int])
    assert_type(await handle.result(), int)

def script() -> None:
    with app.sync() as sync:
        assert_type(sync.run("a", flow, 1), bytes)
        assert_type(sync.begin_run("a", generated, "x").result(), bool)
        assert_type(sync.options(priority=1).rpc("a", fetch, 1), list[str])
"""
WRONG = (
    PROGRAM
    + """
async def wrong(ctx: Context) -> None:
    await ctx.run(fetch, "text")
    await ctx.run(flow)
    await app.run("a", flow, 1, 2)
"""
)


def check(tmp_path: Path, program: str) -> tuple[int, str]:
    source = tmp_path / "program.py"
    source.write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(source)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    return done.returncode, done.stdout


@pytest.mark.timeout(170)
def test_results_are_inferred_and_wrong_calls_refused(tmp_path: Path) -> None:
    lines = PROGRAM.count("\n")
    status, report = check(tmp_path, WRONG)
    faults = [line for line in report.splitlines() if "program.py" in line and "error:" in line]
    wrong = {int(line.split(":")[1]) - lines for line in faults}
    assert status == 1, report
    assert wrong == {3, 4, 5}, report
