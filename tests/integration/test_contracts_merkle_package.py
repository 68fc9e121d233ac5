"""Solidity accepts the roots and proofs of the npm package @openzeppelin/merkle-tree."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from contracts.bindings import proposal_scores
from contracts.bindings.proposal_scores import Step
from tests.contracts_merkle import TYPES, leaf_of, proof_of, tree_of
from tests.contracts_registry import new_deployment

CONTRACTS = Path(__file__).parents[2] / "contracts"
SCRIPT = """
import { StandardMerkleTree } from "@openzeppelin/merkle-tree";
import { readFileSync } from "node:fs";
const { values, types } = JSON.parse(readFileSync(0, "utf8"));
const tree = StandardMerkleTree.of(values, types);
console.log(JSON.stringify({ root: tree.root, proofs: values.map((_, index) => tree.getProof(index)) }));
"""


def text(data: bytes) -> str:
    return "0x" + data.hex()


def row(step: Step) -> list[str]:
    numbers = [str(step.index), str(step.count), step.function_name, str(step.version)]
    return [text(step.domain), *numbers, text(step.input_hash), text(step.output_hash)]


def tree_by_the_package(steps: list[Step]) -> tuple[bytes, list[list[bytes]]]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    if not (CONTRACTS / "node_modules" / "@openzeppelin" / "merkle-tree").is_dir():
        pytest.skip("contracts/node_modules is missing: npm ci --prefix contracts enables this test")
    given = json.dumps({"values": [row(step) for step in steps], "types": TYPES})
    command = [node, "--input-type=module", "--eval", SCRIPT]
    run = subprocess.run(
        command, cwd=CONTRACTS, input=given, capture_output=True, text=True, check=True, timeout=60
    )
    answer = json.loads(run.stdout)
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
