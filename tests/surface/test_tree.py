"""The shape of the code base: what the wheel holds, what the README shows, what no file may contain."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.page_programs import ROOT, run_program, shown

PACKAGES = ("orchestrator", "contracts", "listener", "scorers", "hardhat-free-chain/hardhat_free_chain")
SOURCES = [
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "node_modules" not in str(path)
]
LINES_MAX = 400


def test_the_wheel_holds_the_five_packages_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    roots = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert roots == {Path(package).name for package in PACKAGES}
    for needed in ("contracts/artifacts/ProposalScores.json", "orchestrator/py.typed"):
        assert needed in names
    assert any(name.startswith("orchestrator/store/migrations/versions/") for name in names)
    assert not [name for name in names if "node_modules" in name]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_owns_and_stays_small(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    assert not text.strip() or re.match(r'r?"""', text), f"{source} has no docstring that says what it owns"
    lines = text.count("\n")
    assert lines <= LINES_MAX, f"{source} has {lines} lines: split it by subject"


@pytest.mark.parametrize(
    ("pattern", "allowed", "instead"),
    [
        (r"^\s*(from|import) pickle", (), "msgspec and the codec in orchestrator.client.codec"),
        (r"(?<![\w.])eval\(|(?<![\w.])exec\(", (), "a parser for what is meant"),
        (
            r"aiohttp import web\b|aiohttp\.web\b",
            ("orchestrator/server", "hardhat-free-chain"),
            "a client session; only servers serve",
        ),
        (r"\bTODO\b|\bFIXME\b", (), "an issue, or the work itself"),
        (r"asyncio\.sleep\(0\.0+1\)", (), "an event"),
    ],
)
def test_no_source_uses_what_has_a_better_way(pattern: str, allowed: tuple[str, ...], instead: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        if not str(path.relative_to(ROOT)).startswith(allowed or ("\0",))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert not found, f"use {instead}: {found}"


def test_neither_distribution_holds_the_examples() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert not [
        name for name in (*targets["sdist"]["include"], *targets["wheel"]["packages"]) if "example" in name
    ]


def test_lock_files_name_no_index() -> None:
    assert "://" not in (ROOT / "constraints.txt").read_text(encoding="utf-8")
    packages = json.loads((ROOT / "contracts/package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert packages
    assert not [name for name, package in packages.items() if "resolved" in package]


def test_pre_releases_are_pinned_exactly() -> None:
    chain = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["chain"]
    assert {"eth-tester==0.14.0b1", "py-evm==0.12.1b1"} <= set(chain)


DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "examples").rglob("*.md"),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text(encoding="utf-8"))
    broken = [link for link in links if not (document.parent / link).exists()]
    assert not broken


def blocks(language: str) -> list[str]:
    return re.findall(
        rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )


@pytest.mark.parametrize(
    ("block", "printed"), list(zip(shown("README.md"), ("order 1 paid, shipped\n", "1\n"), strict=True))
)
def test_the_programs_of_the_readme_run(block: str, printed: str, tmp_path: Path) -> None:
    done = run_program(block, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (printed, "", 0)


def test_the_readme_names_only_commands_that_exist() -> None:
    text = "\n".join(blocks("console")) + "\n".join(
        re.findall(r"`dao-scorer ([^`]*)`", (ROOT / "README.md").read_text())
    )
    named = set(re.findall(r"dao-scorer +([a-z]+)", text)) - {"dao"}
    known = subprocess.run(
        [sys.executable, "-m", "scorers", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "200", "PATH": ""},
    ).stdout
    assert named
    for command in named:
        assert re.search(rf"^  {command} ", known, re.MULTILINE), f"the README names dao-scorer {command}"
