"""What the published example got wrong about commitments, each fault as a test that would catch it here."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

import orchestrator.commitments
from orchestrator.commitments import (
    CanonicalError,
    Commitment,
    Leaf,
    ProofError,
    Uint256,
    build_bundle,
    bundle_to_json,
    canonical,
    close,
    close_tree,
    commitment_for,
    leaves_of,
    tree_of,
    verify_bundle,
    verify_leaf,
)
from orchestrator.protocol.records import PromiseRecord, PromiseState, Value

DOMAIN = sha256(b"a proposal").digest()
PACKAGE = Path(orchestrator.commitments.__file__).parent

REBUILD = """
import sys, msgspec
from orchestrator.commitments import build_bundle, bundle_to_json
from orchestrator.protocol.records import PromiseRecord
promises = msgspec.json.decode(sys.stdin.buffer.read(), type=list[PromiseRecord])
sys.stdout.buffer.write(bundle_to_json(build_bundle(promises)))
"""


def reputations(voters: list[str]) -> dict[str, Uint256]:
    return {voter: len(voter) for voter in voters}


def promise(promise_id: str, headers: dict[str, str] | None = None, *, created_at: int = 1) -> PromiseRecord:
    return PromiseRecord(
        id=promise_id,
        state=PromiseState.RESOLVED,
        param=Value(),
        value=Value(headers=headers),
        tags={},
        timeout_at=2**53,
        created_at=created_at,
        settled_at=created_at + 1,
    )


def workflow(steps: int, *, created_at: int = 1) -> list[PromiseRecord]:
    promises = [
        promise(
            f"w:{number}",
            commitment_for(reputations, "reputations", 1, ([str(number)],), {}, {str(number): 1}),
            created_at=created_at,
        )
        for number in range(1, steps + 1)
    ]
    closing = close_tree(DOMAIN, promises, before=f"w:{steps + 1}")
    return [*promises, promise(f"w:{steps + 1}", closing.to_headers(), created_at=created_at)]


def test_a_map_is_committed_with_its_content() -> None:
    """There, Maps were hashed as {}: two of four steps committed to nothing."""
    empty = commitment_for(reputations, "reputations", 1, ([],), {}, {})
    one = commitment_for(reputations, "reputations", 1, ([],), {}, {"0xa": 1})
    two = commitment_for(reputations, "reputations", 1, ([],), {}, {"0xa": 2})
    assert len({headers["commitment-output"] for headers in (empty, one, two)}) == 3


@pytest.mark.parametrize(
    "value", [object(), iter([1]), {1: "a"}, type("Map", (dict,), {})({"a": 1}), lambda: 1]
)
def test_what_has_no_canonical_form_is_refused_and_never_written_as_empty(value: object) -> None:
    with pytest.raises(CanonicalError):
        canonical(value)


@pytest.mark.parametrize("count", range(1, 18))
def test_every_proof_of_a_tree_of_any_size_verifies(count: int) -> None:
    """There, a proof of five leaves did not verify: an odd level was paired in one place only."""
    commitments = [
        Commitment(function="step", version=1, input_hash=sha256(bytes([n])).digest(), output_hash=DOMAIN)
        for n in range(count)
    ]
    tree = tree_of(DOMAIN, commitments)
    for leaf in leaves_of(DOMAIN, commitments):
        assert verify_leaf(tree.root, leaf, tree.proof(leaf.index))
        other = Leaf(domain=DOMAIN, index=leaf.index, count=count + 1, commitment=leaf.commitment)
        assert not verify_leaf(tree.root, other, tree.proof(leaf.index))


def test_another_process_rebuilds_the_same_bundle_from_the_store() -> None:
    """There, commitments were kept in a worker's memory; another process built the root of an empty list."""
    promises = workflow(5)
    done = subprocess.run(
        [sys.executable, "-c", REBUILD],
        input=msgspec.json.encode(promises),
        capture_output=True,
        check=True,
        timeout=60,
        cwd=PACKAGE.parents[1],
        env=os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Kolkata"},
    )
    assert done.stdout == bundle_to_json(build_bundle(promises))


def test_a_root_of_nothing_is_refused() -> None:
    with pytest.raises(ProofError, match="at least one leaf"):
        close(DOMAIN, [])
    with pytest.raises(ProofError, match="at least one leaf"):
        close_tree(DOMAIN, [promise("w:1")], before="w:2")


def test_no_time_enters_a_root() -> None:
    """There, wall-clock times stood inside the leaves, so that nobody could compute a root again."""
    early, late = workflow(4, created_at=1), workflow(4, created_at=1_700_000_000_000)
    assert build_bundle(early).root == build_bundle(late).root
    assert bundle_to_json(build_bundle(early)) == bundle_to_json(build_bundle(late))


def test_a_leaf_has_no_place_for_clock_key_worker_or_signature() -> None:
    """There, throw-away keys and HMACs, which no third party can check, stood beside the values."""
    assert set(Leaf.__dataclass_fields__) == {"domain", "index", "count", "commitment"}
    assert set(Commitment.__dataclass_fields__) == {"function", "version", "input_hash", "output_hash"}
    for function in (commitment_for, tree_of, close, build_bundle, verify_bundle, verify_leaf):
        assert not {"key", "secret", "now_ms", "now"} & set(inspect.signature(function).parameters)


def test_commitments_import_no_clock_no_chance_and_no_secret() -> None:
    """What is not imported cannot enter: neither a time nor a random key nor an HMAC."""
    allowed_times = {"UTC", "date", "datetime"}
    for path in sorted(PACKAGE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            )
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            roots = {name.split(".")[0] for name in ([module] if module else names)}
            forbidden = {"time", "random", "secrets", "hmac", "os", "socket", "asyncio", "logging"}
            assert not roots & forbidden, f"{path.name} imports {roots & forbidden}"
            assert module != "datetime" or set(names) <= allowed_times, f"{path.name} imports {names}"
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"now", "utcnow", "today", "uuid4", "uuid1"}, (
                    f"{path.name} reads a clock"
                )


def test_anyone_verifies_with_the_bundle_alone() -> None:
    """There, a verifier needed the secret. Here, changing one committed value is found by whoever looks."""
    promises = workflow(5)
    bundle = build_bundle(promises)
    assert {check.name for check in verify_bundle(bundle) if not check.ok} == {"values"}
    forged = promises.copy()
    forged[2] = promise("w:3", commitment_for(reputations, "reputations", 1, (["3"],), {}, {"3": 2}))
    with pytest.raises(ProofError, match="recorded root"):
        build_bundle(forged)


def test_negative_and_large_integers_keep_their_sign_and_all_their_digits() -> None:
    """There, a double lost the low digits of a weight: 2**60 and 2**60 + 1 were one number."""
    assert canonical(2**60, Uint256) != canonical(2**60 + 1, Uint256)
    with pytest.raises(CanonicalError, match="outside uint256"):
        canonical(-1, Uint256)
    # Writing only large integers as text would make these two alike.
    assert canonical(2**60, Uint256 | str) != canonical(str(2**60), Uint256 | str)
