"""The tree against the vectors of npm's @openzeppelin/merkle-tree, and against the package itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak

from orchestrator.commitments import (
    Commitment,
    Leaf,
    MerkleTree,
    ProofError,
    leaf_hash,
    leaves_of,
    tree_of,
    verify_leaf,
    verify_multi,
)
from orchestrator.commitments.leaf import LEAF_TYPES, hash_text
from orchestrator.commitments.tree import verify

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests/vectors/merkle.json").read_text())
PACKAGE = ROOT / "contracts/node_modules/@openzeppelin/merkle-tree"


def commitment(index: int) -> Commitment:
    """The step that the generator of the vectors derives from its index."""
    return Commitment(
        function=VECTORS["functions"][index % len(VECTORS["functions"])],
        version=1 + index % 3,
        input_hash=sha256(f"input {index}".encode()).digest(),
        output_hash=sha256(f"output {index}".encode()).digest(),
    )


def domain_of(count: int) -> bytes:
    return sha256(f"domain {count}".encode()).digest()


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: f"{vector['count']} leaves")
def test_vectors_of_the_npm_package(vector: dict[str, Any]) -> None:
    count = vector["count"]
    domain = domain_of(count)
    assert hash_text(domain) == vector["domain"]
    leaves = leaves_of(domain, [commitment(index) for index in range(count)])
    tree = tree_of(domain, [leaf.commitment for leaf in leaves])
    assert hash_text(tree.root) == vector["root"]
    for shown in vector["proofs"]:
        leaf = leaves[shown["index"]]
        proof = tree.proof(leaf.index)
        assert (leaf.commitment.function, leaf.commitment.version) == (shown["function"], shown["version"])
        assert hash_text(leaf_hash(leaf)) == shown["hash"]
        assert [hash_text(sibling) for sibling in proof] == shown["proof"]
        assert verify_leaf(tree.root, leaf, proof)
    for shown in vector["multi_proofs"]:
        proven = tree.multi_proof(shown["indices"])
        assert [hash_text(each) for each in proven.leaves] == shown["leaves"]
        assert [hash_text(each) for each in proven.proof] == shown["proof"]
        assert proven.flags == shown["flags"]
        assert verify_multi(tree.root, proven)


def test_vectors_cover_what_was_promised() -> None:
    assert [vector["count"] for vector in VECTORS["vectors"]] == [1, 2, 3, 5, 10, 100, 1000, 10_001]
    assert tuple(VECTORS["leaf_types"]) == LEAF_TYPES


@pytest.mark.node
def test_committed_vectors_are_what_the_package_writes_today() -> None:
    node = shutil.which("node")
    if node is None or not PACKAGE.is_dir():
        pytest.skip("needs node and the npm packages of contracts/package.json")
    script = ROOT / "tests/vectors/make_merkle_vectors.mjs"
    written = subprocess.run(
        [node, str(script)], capture_output=True, check=True, timeout=60, text=True
    ).stdout
    assert json.loads(written) == VECTORS


def test_leaf_is_the_double_hash_of_the_agreed_tuple() -> None:
    leaf = Leaf(domain=b"\1" * 32, index=2, count=3, commitment=commitment(2))
    step = leaf.commitment
    values = (leaf.domain, 2, 3, step.function, step.version, step.input_hash, step.output_hash)
    types = ["bytes32", "uint256", "uint256", "string", "uint256", "bytes32", "bytes32"]
    assert leaf_hash(leaf) == keccak(keccak(encode(types, values)))


def test_single_leaf_is_its_own_root() -> None:
    leaf = Leaf(domain=b"\1" * 32, index=0, count=1, commitment=commitment(0))
    tree = MerkleTree([leaf_hash(leaf)])
    assert tree.root == leaf_hash(leaf)
    assert tree.proof(0) == []
    assert verify_leaf(tree.root, leaf, [])


def test_empty_and_malformed_trees_are_refused() -> None:
    for leaves in ([], [b"\1" * 31], [b"\1" * 32, b"\1" * 32]):
        with pytest.raises(ProofError):
            MerkleTree(leaves)
    tree = MerkleTree([b"\1" * 32, b"\2" * 32])
    for index in (-1, 2):
        with pytest.raises(ProofError, match="does not exist"):
            tree.proof(index)
    assert len(tree) == 2


def test_wrong_proofs_do_not_verify() -> None:
    hashes = [bytes([number]) * 32 for number in range(1, 6)]
    tree = MerkleTree(hashes)
    for index, one in enumerate(hashes):
        proof = tree.proof(index)
        assert verify(tree.root, one, proof)
        assert not verify(tree.root, one, proof[:-1])
        assert not verify(tree.root, one, [*proof, b"\0" * 32])
        assert not verify(tree.root, b"\7" * 32, proof)
        assert not verify(b"\7" * 32, one, proof)
        assert not verify(tree.root, one, [proof[0][:31], *proof[1:]])


def test_a_leaf_of_an_index_outside_its_count_cannot_be_made() -> None:
    with pytest.raises(ProofError, match="not below the count"):
        Leaf(domain=b"\1" * 32, index=3, count=3, commitment=commitment(0))


def test_ten_thousand_leaves_with_all_proofs_are_quick() -> None:
    commitments = [commitment(index) for index in range(10_000)]
    started = time.process_time()
    tree = tree_of(b"\1" * 32, commitments)
    proofs = [tree.proof(index) for index in range(len(commitments))]
    seconds = time.process_time() - started
    assert {len(proof) for proof in proofs} == {13, 14}
    # Half a second on an idle machine; the bound leaves room for a busy one and catches a quadratic walk.
    assert seconds < 2, f"{seconds:.2f} s"
