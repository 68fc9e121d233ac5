"""The committed artifacts belong to the committed sources, settings and versions."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from contracts.artifacts import Artifact, ArtifactNotFoundError, load, names, parse

CONTRACTS = Path(__file__).parents[2] / "contracts"
REFRESH = "run: npm ci --prefix contracts && npm run compile --prefix contracts"


TESTS = Path(__file__).parents[1] / "contracts"


def source_hash(folder: Path) -> str:
    """SHA-256 over name, length and bytes of each source, as contracts/compile.mjs computes it."""
    digest = hashlib.sha256()
    for file in sorted((folder / "src").glob("*.sol")):
        content = file.read_bytes()
        digest.update(f"{file.name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()


@pytest.fixture(params=names())
def artifact(request: pytest.FixtureRequest) -> Artifact:
    return load(request.param)


def test_all_contracts_are_there() -> None:
    assert names() == ("BlockClockGovernor", "ProposalScores", "ReadMany", "ReputationDao", "ScoreConsumer")


def test_an_unknown_contract_is_named_with_those_there_are() -> None:
    with pytest.raises(
        ArtifactNotFoundError,
        match=r"'Nothing'.*BlockClockGovernor, ProposalScores, ReadMany, ReputationDao, ScoreConsumer",
    ):
        load("Nothing")


def test_an_artifact_is_of_the_sources_as_they_are(artifact: Artifact) -> None:
    assert artifact.source_hash == source_hash(CONTRACTS), f"contracts/src has changed: {REFRESH}"


@pytest.mark.parametrize("file", sorted((TESTS / "artifacts").glob("*.json")), ids=lambda file: file.stem)
def test_the_contracts_of_the_tests_are_compiled_likewise(file: Path) -> None:
    artifact = parse(file.read_text())
    assert artifact.name == file.stem
    assert artifact.source_hash == source_hash(TESTS), f"tests/contracts/src has changed: {REFRESH}"
    assert artifact.settings == json.loads((TESTS / "compiler.json").read_text()), REFRESH
    ours = load("ProposalScores")
    assert (artifact.compiler, artifact.openzeppelin) == (ours.compiler, ours.openzeppelin), REFRESH
    assert 0 < len(artifact.deployed_bytecode) < 24_576


def test_an_artifact_is_of_the_pinned_compiler_library_and_settings(artifact: Artifact) -> None:
    pins = json.loads((CONTRACTS / "package.json").read_text())["devDependencies"]
    assert artifact.compiler.startswith(pins["solc"] + "+commit."), REFRESH
    assert artifact.openzeppelin == pins["@openzeppelin/contracts"], REFRESH
    assert artifact.settings == json.loads((CONTRACTS / "compiler.json").read_text()), REFRESH


def test_code_fits_the_limit_of_a_contract(artifact: Artifact) -> None:
    assert 0 < len(artifact.deployed_bytecode) < 24_576
    # PUSH1, or PUSH2 where a contract has many immutables.
    assert artifact.bytecode[:1] in (b"\x60", b"\x61")


def test_the_lock_file_names_no_registry() -> None:
    """Anyone's own registry, mirror or proxy must serve: integrity is held by the hashes."""
    lock = (CONTRACTS / "package-lock.json").read_text()
    assert '"resolved"' not in lock, (
        "rewrite it: npm install --package-lock-only --omit-lockfile-registry-resolved"
    )
    assert '"integrity"' in lock


@pytest.mark.node
def test_recompiling_gives_the_same_bytes() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed: the artifacts are compared by source hash only")
    if not (CONTRACTS / "node_modules" / "solc").is_dir():
        pytest.skip("contracts/node_modules is missing: npm ci --prefix contracts enables this test")
    command = [node, "compile.mjs", "--check"]
    run = subprocess.run(command, cwd=CONTRACTS, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
