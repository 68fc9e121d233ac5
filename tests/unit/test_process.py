"""Preparing a process: what exists is frozen, collections are rare, threads take turns sooner; if asked."""

import asyncio
import subprocess
import sys
import time

import pytest

from orchestrator import event_loop
from orchestrator import process as module

LOOK = "print(gc.get_freeze_count(), round(sys.getswitchinterval() * 1e6), gc.get_threshold()[0])"


def looked(program: str) -> tuple[int, int, int]:
    code = f"import gc, sys, orchestrator; {program}; {LOOK}"
    told = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    frozen, interval_us, threshold = map(int, told.stdout.split())
    return frozen, interval_us, threshold


def test_a_prepared_process() -> None:
    frozen, interval_us, threshold = looked("orchestrator.prepare_process()")
    assert frozen > 10_000, "the modules that were imported"
    assert interval_us == 500
    assert threshold == module.COLLECT_AFTER


def test_the_library_leaves_the_process_alone() -> None:
    untouched = (0, 5_000, looked("pass")[2])
    assert looked("orchestrator.Orchestrator.local('sqlite:///:memory:')") == untouched
    assert untouched[2] < module.COLLECT_AFTER


def test_a_process_runs_on_the_fastest_loop_and_prepared() -> None:
    program = (
        "import asyncio, uvloop\n"
        "async def main(): return isinstance(asyncio.get_running_loop(), uvloop.Loop)\n"
        "assert orchestrator.run_process(main())"
    )
    assert looked(f"exec({program!r})")[1:] == (500, module.COLLECT_AFTER)


def test_where_there_is_no_faster_loop_it_is_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOP", None)
    loop = event_loop()
    try:
        assert isinstance(loop, asyncio.SelectorEventLoop)
    finally:
        loop.close()


def test_the_loops_clock_goes_on_within_a_callback() -> None:
    """A lease that ends while a step keeps the loop has ended (T2)."""

    async def blocked() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        time.sleep(0.05)  # noqa: ASYNC251 - what a step that blocks the loop does
        return loop.time() - began

    with asyncio.Runner(loop_factory=event_loop) as runner:
        assert runner.run(blocked()) >= 0.05


def test_a_timer_that_is_set_after_a_blocked_turn_does_not_end_early() -> None:
    async def slept() -> float:
        time.sleep(0.1)  # noqa: ASYNC251
        began = time.monotonic()
        await asyncio.sleep(0.05)
        return time.monotonic() - began

    with asyncio.Runner(loop_factory=event_loop) as runner:
        assert runner.run(slept()) >= 0.045
