"""The programs that docs/local-chain.md shows do what it says."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

from hardhat_free_chain.fault_control import METHODS as CONTROL_METHODS
from hardhat_free_chain.faults import providers
from hardhat_free_chain.faults.codec import AnyRule
from hardhat_free_chain.rpc.dispatch import METHODS
from tests.page_programs import ROOT, run_program, shown

PAGE = "docs/local-chain.md"
OPTIONS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
addopts = -p no:cacheprovider -p no:schemathesis -p no:anyio
"""


def test_the_program_with_faults_runs(tmp_path: Path) -> None:
    done = run_program(shown(PAGE, "## Faults")[0], tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.startswith("True\n[Latency(")
    assert "seconds=0.2" in done.stdout


def test_the_program_with_reorganisations_runs(tmp_path: Path) -> None:
    done = run_program(shown(PAGE, "## Reorganisations")[0], tmp_path)
    assert (done.stdout, done.stderr) == ("[1, 0, 0, 0] 1\n5\n", "")


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    conftest, tests = shown(PAGE, "## In your tests")[:2]
    (tmp_path / "conftest.py").write_text(conftest, encoding="utf-8")
    (tmp_path / "test_example.py").write_text(tests, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(OPTIONS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=tmp_path,
        env={"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "hardhat-free-chain"))), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_the_page_names_every_rule_and_every_provider() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    rules = [kind.__name__ for kind in get_args(AnyRule)]
    assert len(rules) > 15
    assert not [name for name in rules if f"`{name}`" not in text]
    words = [*providers.RANGE_WORDS, *providers.STATE_WORDS, *providers.HISTORY_WORDS]
    assert not [name for name in words if name not in text[text.index("Providers of `RangeLimit`") :]]


def test_the_page_names_the_methods_of_our_own() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    own = [name for name in (*METHODS, *CONTROL_METHODS) if name.startswith("hardhatfree_")]
    assert len(own) > 10
    assert not [name for name in own if name not in text]
