"""The Merkle tree of OpenZeppelin's JavaScript package (`StandardMerkleTree`) over leaf hashes.

Layout: a complete binary tree in one array, root first, the sorted leaf hashes filling it from its end.
Pairs are sorted before they are hashed, so a proof needs no directions; Solidity's `MerkleProof` accepts it.
The tree forgets the order of its leaves: what depends on order must stand inside the leaf (see `leaf`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

from orchestrator.commitments.errors import ProofError
from orchestrator.commitments.keccak import keccak

HASH_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiProof:
    """Several leaves proven together, as OpenZeppelin's `multiProofVerify` takes it.

    `leaves` are in the order in which they are consumed; a flag is true where a pair is made of two known
    hashes, false where the next hash of `proof` is its other half.
    """

    leaves: list[bytes]
    proof: list[bytes]
    flags: list[bool]


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

    def multi_proof(self, indices: Iterable[int]) -> MultiProof:
        """Return one proof of the leaves at `indices`, as the caller counted them, in any order.

        Raises ProofError for a leaf that does not exist and for one named twice.
        """
        chosen = list(indices)
        for index in chosen:
            if not 0 <= index < len(self._positions):
                raise ProofError(f"leaf {index} does not exist, the tree has {len(self._positions)} leaves")
        if len(set(chosen)) != len(chosen):
            raise ProofError("a leaf is named twice")
        positions = sorted((self._positions[index] for index in chosen), reverse=True)
        waiting = deque(positions)
        proof: list[bytes] = []
        flags: list[bool] = []
        while waiting and waiting[0] > 0:
            node = waiting.popleft()
            sibling = node + 1 if node % 2 else node - 1
            known = bool(waiting) and waiting[0] == sibling
            flags.append(known)
            if known:
                waiting.popleft()
            else:
                proof.append(self._nodes[sibling])
            waiting.append((node - 1) // 2)
        if not chosen:
            proof.append(self.root)
        return MultiProof(leaves=[self._nodes[position] for position in positions], proof=proof, flags=flags)


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


def verify_multi(root: bytes, proven: MultiProof) -> bool:
    """Tell whether all leaves of a multi-proof stand below `root`; the caller has hashed the leaves itself.

    As `MerkleProof.processMultiProof` of OpenZeppelin: every hash of the proof must be used up.
    """
    if any(len(one) != HASH_BYTES for one in (*proven.leaves, *proven.proof)):
        return False
    if len(proven.leaves) + len(proven.proof) != len(proven.flags) + 1:
        return False
    known, others = deque(proven.leaves), deque(proven.proof)
    for flag in proven.flags:
        second = known if flag else others
        if len(known) < (2 if flag else 1) or not second:
            return False
        first = known.popleft()
        known.append(hash_pair(first, second.popleft()))
    return [*known, *others] == [root]


def _check_leaves(leaf_hashes: Sequence[bytes]) -> None:
    if not leaf_hashes:
        raise ProofError("a tree needs at least one leaf: no committed step was found")
    for index, leaf_hash in enumerate(leaf_hashes):
        if len(leaf_hash) != HASH_BYTES:
            raise ProofError(f"the hash of leaf {index} has {len(leaf_hash)} bytes instead of {HASH_BYTES}")
    if len(set(leaf_hashes)) != len(leaf_hashes):
        raise ProofError("two leaves are equal: each leaf carries its own index")
