"""Proofs of a score as they are read from a file: the whole bundle, one step, one voter.

What is refused here is no proof at all; what a proof says is judged by its checks (`scorers.arithmetic`).
"""

from __future__ import annotations

from orchestrator.commitments import Bundle, ProofError, StepProof
from orchestrator.commitments.bundle import bundle_of, content_of
from orchestrator.commitments.partial import STEP_KIND, step_proof_of
from scorers.claim import EvidenceError
from scorers.sections import VOTES_SECTION
from scorers.vote_list import check_voters, read_votes
from scorers.voter_proof import VOTER_KIND, VoterProof, voter_proof_of

Proof = Bundle | StepProof | VoterProof


def proof_from_json(data: bytes) -> Proof:
    """Read a proof of whatever kind. Raises ProofError, in one line, for anything that is not exactly one.

    A voter who stands twice for one vote is named: such a vote would be counted twice.
    """
    content = content_of(data)
    kind = content.get("kind")
    try:
        if kind == VOTER_KIND:
            voter = voter_proof_of(content)
            check_voters(each.vote for each in voter.votes)
            return voter
        proof = step_proof_of(content) if kind == STEP_KIND else bundle_of(content)
        if VOTES_SECTION in proof.sections:
            read_votes(proof.sections[VOTES_SECTION])
    except EvidenceError as error:
        raise ProofError(str(error)) from error
    return proof
