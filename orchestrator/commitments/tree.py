"""The Merkle tree of OpenZeppelin's JavaScript package (`StandardMerkleTree`) over leaf hashes.

Layout: a complete binary tree in one array, root first, the sorted leaf hashes filling it from its end.
Pairs are sorted before they are hashed, so a proof needs no directions; Solidity's `MerkleProof` accepts it.
The tree forgets the order of its leaves: what depends on order must stand inside the leaf (see `leaf`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

from eth_hash.auto import keccak

from orchestrator.commitments.errors import ProofError

HASH_BYTES = 32


class MerkleTree:
    """A tree over leaf hashes of 32 bytes each, in the order in which the caller counts them.

    Raises ProofError for an empty tree, a hash of another length, and for two equal leaves.
    """

    __slots__ = ("_nodes", "_positions")

    def __init__(self, leaf_hashes: Sequence[bytes]) -> None:
        _check_leaves(leaf_hashes)
        order = sorted(range(len(leaf_hashes)), key=leaf_hashes.__getitem__)
        last = 2 * len(leaf_hashes) - 2
        self._nodes = [b""] * (last + 1)
        self._positions = [0] * len(leaf_hashes)
        for rank, index in enumerate(order):
            self._nodes[last - rank] = leaf_hashes[index]
            self._positions[index] = last - rank
        for node in range(len(leaf_hashes) - 2, -1, -1):
            self._nodes[node] = hash_pair(self._nodes[2 * node + 1], self._nodes[2 * node + 2])

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def root(self) -> bytes:
        """The root, 32 bytes; of a single leaf it is that leaf's hash."""
        return self._nodes[0]

    def proof(self, index: int) -> list[bytes]:
        """Return the sibling hashes from the `index`-th leaf, as the caller counted it, up to the root."""
        if not 0 <= index < len(self._positions):
            raise ProofError(f"leaf {index} does not exist, the tree has {len(self._positions)} leaves")
        siblings = []
        node = self._positions[index]
        while node > 0:
            siblings.append(self._nodes[node + 1 if node % 2 else node - 1])
            node = (node - 1) // 2
        return siblings


def hash_pair(first: bytes, second: bytes) -> bytes:
    """Return keccak256 of the two hashes, the smaller first."""
    return keccak(first + second if first < second else second + first)


def verify(root: bytes, leaf_hash: bytes, proof: Iterable[bytes]) -> bool:
    """Tell whether `proof` leads from `leaf_hash` to `root`.

    The caller must have computed `leaf_hash` itself, from the values: a hash that somebody else hands over
    may be an inner node. `leaf.verify_leaf` is the door for outsiders.
    """
    hashes = [leaf_hash, *proof]
    if any(len(one) != HASH_BYTES for one in hashes):
        return False
    return reduce(hash_pair, hashes) == root


def _check_leaves(leaf_hashes: Sequence[bytes]) -> None:
    if not leaf_hashes:
        raise ProofError("a tree needs at least one leaf: no committed step was found")
    for index, leaf_hash in enumerate(leaf_hashes):
        if len(leaf_hash) != HASH_BYTES:
            raise ProofError(f"the hash of leaf {index} has {len(leaf_hash)} bytes instead of {HASH_BYTES}")
    if len(set(leaf_hashes)) != len(leaf_hashes):
        raise ProofError("two leaves are equal: each leaf carries its own index")
