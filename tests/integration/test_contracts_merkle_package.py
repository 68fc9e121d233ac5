"""Solidity accepts the roots and proofs of the npm package @openzeppelin/merkle-tree."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from contracts.bindings import proposal_scores
from contracts.bindings.proposal_scores import Step
from scorers.vote_leaves import VOTE_TYPES
from tests.contracts_merkle import TYPES, leaf_of, proof_of, tree_of
from tests.contracts_registry import new_deployment
from tests.integration.test_contracts_voter_proofs import counted

CONTRACTS = Path(__file__).parents[2] / "contracts"
SCRIPT = """
import { StandardMerkleTree } from "@openzeppelin/merkle-tree";
import { readFileSync } from "node:fs";
const { values, types } = JSON.parse(readFileSync(0, "utf8"));
const tree = StandardMerkleTree.of(values, types);
console.log(JSON.stringify({ root: tree.root, proofs: values.map((_, index) => tree.getProof(index)) }));
"""
MULTI_SCRIPT = """
import { StandardMerkleTree } from "@openzeppelin/merkle-tree";
import { readFileSync } from "node:fs";
const { values, types, indices } = JSON.parse(readFileSync(0, "utf8"));
const tree = StandardMerkleTree.of(values, types);
const { leaves, proof, proofFlags } = tree.getMultiProof(indices);
const order = leaves.map((leaf) => Number(leaf[1]));
console.log(JSON.stringify({ root: tree.root, order, proof, proofFlags }));
"""


def text(data: bytes) -> str:
    return "0x" + data.hex()


def row(step: Step) -> list[str]:
    numbers = [str(step.index), str(step.count), step.function_name, str(step.version)]
    return [text(step.domain), *numbers, text(step.input_hash), text(step.output_hash)]


def package(script: str, given: dict[str, object]) -> Any:
    """Return what the npm package makes of what it is given."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    if not (CONTRACTS / "node_modules" / "@openzeppelin" / "merkle-tree").is_dir():
        pytest.skip("contracts/node_modules is missing: npm ci --prefix contracts enables this test")
    command = [node, "--input-type=module", "--eval", script]
    run = subprocess.run(
        command,
        cwd=CONTRACTS,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(run.stdout)


def tree_by_the_package(steps: list[Step]) -> tuple[bytes, list[list[bytes]]]:
    answer = package(SCRIPT, {"values": [row(step) for step in steps], "types": TYPES})
    proofs = [[bytes.fromhex(each[2:]) for each in proof] for proof in answer["proofs"]]
    return bytes.fromhex(answer["root"][2:]), proofs


@pytest.mark.node
def test_the_package_our_tree_and_solidity_agree() -> None:
    deployment = new_deployment()
    proposal = deployment.ended()
    domain = deployment.chain.call(deployment.scores, proposal_scores.DOMAIN_OF, proposal)
    steps = [
        Step(
            domain=domain,
            index=index,
            count=7,
            function_name=f"étape {index}",
            version=2**200 + index,
            input_hash=bytes([index]) * 32,
            output_hash=bytes([99]) * 32,
        )
        for index in range(7)
    ]
    root, proofs = tree_by_the_package(steps)
    nodes = tree_of([leaf_of(step) for step in steps])
    assert root == nodes[0]
    deployment.submit(proposal, root=root)
    for step, proof in zip(steps, proofs, strict=True):
        assert proof == proof_of(nodes, leaf_of(step))
        accepted = deployment.chain.call(
            deployment.scores, proposal_scores.VERIFY_STEP, proposal, proof, step
        )
        assert accepted


@pytest.mark.node
@pytest.mark.parametrize("indices", [[0], [3, 1], [0, 2, 4, 6], list(range(7))])
def test_solidity_accepts_the_packages_proofs_of_several_votes(indices: list[int]) -> None:
    deployment = new_deployment()
    made = counted(deployment, 7)
    values = [
        [
            text(made.domain),
            str(vote.index),
            str(len(made.votes)),
            vote.voter,
            vote.support,
            str(vote.weight),
            str(vote.counted_weight),
            vote.counted,
            vote.reason,
            str(vote.block_number),
            str(vote.log_index),
        ]
        for vote in made.votes
    ]
    answer = package(MULTI_SCRIPT, {"values": values, "types": VOTE_TYPES, "indices": indices})
    ours = made.tree.multi_proof(indices)
    proof = [bytes.fromhex(each[2:]) for each in answer["proof"]]
    assert (answer["root"], proof, answer["proofFlags"]) == (text(made.tree.root), ours.proof, ours.flags)
    votes = [made.leaf(index) for index in answer["order"]]
    arguments = (made.proposal, made.verdict, proof, answer["proofFlags"], votes)
    assert deployment.chain.call(deployment.scores, proposal_scores.VERIFY_VOTERS, *arguments)
