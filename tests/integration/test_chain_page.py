"""The programs that docs/local-chain.md shows do what it says."""

from pathlib import Path

from tests.page_programs import run_program, shown

PAGE = "docs/local-chain.md"


def test_the_program_with_faults_runs(tmp_path: Path) -> None:
    done = run_program(shown(PAGE, "## Faults")[0], tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.startswith("True\n[Latency(")
    assert "seconds=0.2" in done.stdout


def test_the_program_with_reorganisations_runs(tmp_path: Path) -> None:
    done = run_program(shown(PAGE, "## Reorganisations")[0], tmp_path)
    assert (done.stdout, done.stderr) == ("[1, 0, 0, 0] 1\n5\n", "")
