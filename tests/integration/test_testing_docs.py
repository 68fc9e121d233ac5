"""The programs on the testing page run, and the plugin's fixtures work with pytest-asyncio and without."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.page_programs import ROOT, run_program, shown

PROGRAMS = shown("docs/testing.md")
PRINTED = [
    "Ada, day 1 Ada, day 30\n",
    "survived True\n",
    "dry\n",
    "True True\n",
    "charged 1 with tax\n",
]


@pytest.mark.parametrize(("program", "printed"), list(zip(PROGRAMS, PRINTED, strict=True)))
def test_the_programs_of_the_page_run(program: str, printed: str, tmp_path: Path) -> None:
    done = run_program(program, tmp_path)
    lines = [line for line in done.stdout.splitlines() if not re.match(r"\d{4}-\d\d-\d\d .*\[", line)]
    assert lines == printed.splitlines(), done.stderr


TESTS = """
import asyncio
import time


def workflow(app):
    from orchestrator import Context

    @app.register
    async def flow(ctx: Context) -> int:
        await ctx.sleep(30 * 86_400)
        return 5

    return flow


{mark}async def test_in_a_loop_of_the_tests(orchestrator, virtual_clock):
    flow = workflow(orchestrator)
    async with orchestrator:
        assert await orchestrator.run("w", flow) == 5
    assert virtual_clock.passed_s >= 30 * 86_400


def test_plain(orchestrator, virtual_clock):
    flow = workflow(orchestrator)

    async def main():
        async with orchestrator:
            return await orchestrator.run("w", flow)

    assert virtual_clock.run(main()) == 5
"""


@pytest.mark.parametrize("with_asyncio", [True, False])
def test_the_fixtures_work_with_and_without_pytest_asyncio(with_asyncio: bool, tmp_path: Path) -> None:
    mark = "import pytest\n\n\n@pytest.mark.asyncio\n" if with_asyncio else "def helper():\n    pass\n\n\n"
    text = TESTS.replace("{mark}", mark)
    if not with_asyncio:
        text = text.replace("async def test_in_a_loop_of_the_tests", "async def unused")
    (tmp_path / "test_it.py").write_text(text)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\n" if with_asyncio else "[pytest]\n"
    )
    without = [] if with_asyncio else ["-p", "no:asyncio"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "orchestrator.testing.plugin", *without],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{2 if with_asyncio else 1} passed" in done.stdout
