"""A second, naive OpenZeppelin StandardMerkleTree, written from its description for the contracts' tests."""

from collections.abc import Sequence

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from contracts.bindings.proposal_scores import Step

TYPES = ["bytes32", "uint256", "uint256", "string", "uint256", "bytes32", "bytes32"]


def leaf_of(step: Step) -> bytes:
    values = [step.domain, step.index, step.count, step.function_name, step.version]
    return keccak(keccak(encode(TYPES, [*values, step.input_hash, step.output_hash])))


def tree_of(leaves: Sequence[bytes]) -> list[bytes]:
    """All nodes: the root first, the leaves last in falling order; node i has children 2i+1 and 2i+2."""
    nodes = [b""] * (len(leaves) - 1) + sorted(leaves, reverse=True)
    for index in range(len(leaves) - 2, -1, -1):
        nodes[index] = keccak(b"".join(sorted(nodes[2 * index + 1 : 2 * index + 3])))
    return nodes


def proof_of(nodes: Sequence[bytes], leaf: bytes) -> list[bytes]:
    index, proof = nodes.index(leaf, len(nodes) // 2), []
    while index > 0:
        proof.append(nodes[index + 1 if index % 2 else index - 1])
        index = (index - 1) // 2
    return proof
