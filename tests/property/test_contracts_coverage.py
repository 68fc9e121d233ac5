"""Every statement of the contracts that scores depend on is executed by their own tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts_coverage import CONTRACTS, FOLDER, executed, missed

ROOT = Path(__file__).parents[2]
NAMES = ("ProposalScores", "ScoreConsumer", "ReputationDao", "BlockClockGovernor")


@pytest.mark.node
@pytest.mark.skipif(os.environ.get("DAO_SCORER_RECORDS") != "1", reason="a record: it repeats other tests")
@pytest.mark.timeout(900)
def test_every_statement_is_executed(tmp_path: Path) -> None:
    if shutil.which("node") is None or not (CONTRACTS / "node_modules" / "solc").is_dir():
        pytest.skip(
            "Node.js or contracts/node_modules is missing: npm ci --prefix contracts enables this test"
        )
    tests = sorted(str(file) for file in (ROOT / "tests" / "integration").glob("test_contracts_*.py"))
    others = ("property/test_contracts_rounds_walk.py", "integration/test_governors_scored.py")
    tests += [str(ROOT / "tests" / name) for name in others]
    environment = {name: value for name, value in os.environ.items() if name != "DAO_SCORER_RECORDS"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.contracts_coverage", *tests]
    run = subprocess.run(
        command,
        cwd=ROOT,
        env={**environment, FOLDER: str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )
    assert run.returncode == 0, run.stdout[-2_000:]
    left = missed(NAMES, executed(tmp_path))
    assert not left, "never executed:\n" + "\n".join(left)
