"""Proofs of steps and votes in the form in which the registry's own views take them.

Pure. The registry reads the root of the tree of votes out of the verdict's canonical JSON: it is given what
stands before and after that member, and hashes the whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.bindings.proposal_scores import Step, VerdictProof, Vote
from orchestrator.commitments import ProofError
from orchestrator.commitments.leaf import hash_from_text
from scorers.vote_leaves import VoteLeaf

_MEMBER = '"votes_root":"0x'
_DIGITS = 64


def verdict_proof(step: Step, proof: Sequence[bytes], output: str) -> VerdictProof:
    """Return the proof of the verdict's step; `output` is its canonical JSON, as leaves show it.

    Raises ProofError where the output is no verdict.
    """
    before, member, rest = output.partition(_MEMBER)
    root, quote, after = rest[:_DIGITS], rest[_DIGITS : _DIGITS + 1], rest[_DIGITS + 1 :]
    if not member or quote != '"':
        raise ProofError("the output of the step is no verdict: it has no root of votes")
    votes_root = hash_from_text("the root of votes in the verdict", f"0x{root}")
    return VerdictProof(
        step=step, proof=tuple(proof), before_root=before, votes_root=votes_root, after_root=after
    )


def onchain_vote(domain: bytes, count: int, vote: VoteLeaf) -> Vote:
    """Return a leaf of a tree of `count` votes as the registry hashes it."""
    return Vote(
        domain=domain,
        index=vote.index,
        count=count,
        voter=vote.voter,
        support=vote.support,
        weight=vote.weight,
        counted_weight=vote.counted_weight,
        counted=vote.counted,
        reason=vote.reason,
        block_number=vote.block_number,
        log_index=vote.log_index,
    )
