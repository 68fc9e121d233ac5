"""The tree of votes: one typed leaf a voter, so that each can prove how their vote was treated.

Where a DAO lets a voter split a vote or vote again, each part that the DAO logged has a leaf.

The root of this tree stands in the verdict, and the verdict is a leaf of the workflow's tree: two short paths
lead from a vote to the root on the chain. The leaf of a voter whose vote was left out says why. Leaves are
complete and numbered: a vote in the DAO's log that has no leaf was omitted, and everybody can see that.

Pure. Invariants: M1 equal votes give equal roots. M2 the domain binds chain, registry, DAO, proposal, policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.bindings import proposal_scores
from orchestrator.commitments import MerkleTree, RowType, Uint8, Uint32, Uint64, Uint256
from scorers.values import Ballot, Eligibility, Proposal, Weighing

VOTE_TYPES = (
    "bytes32",
    "uint256",
    "uint256",
    "address",
    "uint8",
    "uint256",
    "uint256",
    "bool",
    "string",
    "uint256",
    "uint256",
)
VOTE_ROW = RowType(VOTE_TYPES)
NO_VOTES_ROOT = "0x" + "00" * 32
"""What stands for the root where nobody has voted: a tree needs a leaf."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteLeaf:
    """One vote: what was cast, and whether it counted.

    Fields besides `domain` and `count`, which all leaves of a tree share, in the order in which they are
    hashed. `weight` is what was cast, in the DAO's units, `counted_weight` what the vote adds to its side: 0
    where it was left out, and then `reason` says why, which is empty otherwise. Block and log are those in
    which the DAO logged the vote.
    """

    index: Uint32
    voter: str
    support: Uint8
    weight: Uint256
    counted_weight: Uint256
    counted: bool
    reason: str
    block_number: Uint64
    log_index: Uint32


def domain_of(proposal: Proposal) -> bytes:
    """Return what every leaf of this proposal carries, as the registry's `domainOf` computes it (M2)."""
    return proposal_scores.domain_of(
        chain_id=proposal.chain_id,
        registry=proposal.registry,
        dao=proposal.scored_dao,
        proposal_id=proposal.proposal_id,
        policy_hash=bytes.fromhex(proposal.policy_hash[2:]),
    )


def counted_in(eligibility: Eligibility | Weighing) -> list[tuple[Ballot, int]]:
    """Return the votes that count, each with what it adds to its side."""
    if isinstance(eligibility, Weighing):
        return [(each.ballot, each.weight) for each in eligibility.counted]
    return [(ballot, ballot.weight) for ballot in eligibility.counted]


def vote_leaves(eligibility: Eligibility | Weighing) -> list[VoteLeaf]:
    """Return the leaves of all votes, in the order of the chain."""
    marked = [(ballot, weight, "") for ballot, weight in counted_in(eligibility)]
    marked += [(each.ballot, 0, str(each.reason)) for each in eligibility.excluded]
    marked.sort(key=lambda each: (each[0].block_number, each[0].log_index, each[0].support))
    return [
        VoteLeaf(
            index=index,
            voter=ballot.voter,
            support=ballot.support,
            weight=ballot.weight,
            counted_weight=weight,
            counted=not reason,
            reason=reason,
            block_number=ballot.block_number,
            log_index=ballot.log_index,
        )
        for index, (ballot, weight, reason) in enumerate(marked)
    ]


def vote_hash(domain: bytes, count: int, vote: VoteLeaf) -> bytes:
    """Return the leaf of a vote in a tree of `count`. Raises ProofError for a value out of range."""
    return VOTE_ROW.leaf_hash(
        (
            domain,
            vote.index,
            count,
            vote.voter,
            vote.support,
            vote.weight,
            vote.counted_weight,
            vote.counted,
            vote.reason,
            vote.block_number,
            vote.log_index,
        )
    )


def vote_tree(domain: bytes, votes: Sequence[VoteLeaf]) -> MerkleTree:
    """Return the tree over all votes. Raises ProofError where there are none."""
    return MerkleTree([vote_hash(domain, len(votes), vote) for vote in votes])


def votes_root(domain: bytes, votes: Sequence[VoteLeaf]) -> str:
    """Return the root as 0x text, `NO_VOTES_ROOT` where nobody has voted."""
    return "0x" + vote_tree(domain, votes).root.hex() if votes else NO_VOTES_ROOT
