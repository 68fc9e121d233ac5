"""Preparing a process: what exists is frozen, threads take turns sooner, and nobody does so unasked."""

import subprocess
import sys

LOOK = "print(gc.get_freeze_count(), round(sys.getswitchinterval() * 1e6))"


def looked(program: str) -> tuple[int, int]:
    code = f"import gc, sys, orchestrator; {program}; {LOOK}"
    told = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    frozen, interval_us = told.stdout.split()
    return int(frozen), int(interval_us)


def test_a_prepared_process() -> None:
    frozen, interval_us = looked("orchestrator.prepare_process()")
    assert frozen > 10_000, "the modules that were imported"
    assert interval_us == 500


def test_the_library_leaves_the_process_alone() -> None:
    assert looked("orchestrator.Orchestrator.local('sqlite:///:memory:')") == (0, 5_000)
