"""The program on the SDK's page runs, and runs again to the same end without executing anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_program_runs_twice(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "sdk.md").read_text()
    program = tmp_path / "program.py"
    program.write_text(page.split("```python\n", 1)[1].split("```", 1)[0])
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "error", str(program)],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "Hello, Ada\nHello, Grace\n"), done.stderr


def test_the_scheduled_program_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "sdk.md").read_text()
    program = tmp_path / "program.py"
    program.write_text(page.split("## On a schedule", 1)[1].split("```python\n", 1)[1].split("```", 1)[0])
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tallied votes\n")


def test_the_program_without_async_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "sdk.md").read_text()
    program = tmp_path / "program.py"
    program.write_text(page.split("## Without async", 1)[1].split("```python\n", 1)[1].split("```", 1)[0])
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "12\n16\n"), done.stderr
