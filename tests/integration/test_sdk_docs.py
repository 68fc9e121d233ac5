"""The programs on the SDK's page run; the first one twice, to the same end, executing nothing again."""

from __future__ import annotations

from pathlib import Path

from tests.page_programs import run_program, shown

PAGE = "docs/sdk.md"


def test_the_program_runs_twice(tmp_path: Path) -> None:
    for _ in range(2):
        done = run_program(shown(PAGE)[0], tmp_path)
        assert (done.returncode, done.stdout) == (0, "Hello, Ada\nHello, Grace\n"), done.stderr


def test_the_scheduled_program_runs(tmp_path: Path) -> None:
    done = run_program(shown(PAGE, "## On a schedule")[0], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tallied votes\n")


def test_the_program_without_async_runs(tmp_path: Path) -> None:
    done = run_program(shown(PAGE, "## Without async")[0], tmp_path)
    assert (done.returncode, done.stdout) == (0, "12\n16\n"), done.stderr
