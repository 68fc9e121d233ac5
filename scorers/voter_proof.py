"""The proof of one voter: how their votes were treated, in one short file.

Two paths lead from a vote to the chain: its leaf stands in the tree of votes, whose root is in the verdict,
and the verdict is a step in the workflow's tree, whose root is in the registry.
"""

from __future__ import annotations

import re

import msgspec

from orchestrator.commitments import Bundle, Check, LeafRecord, ProofError
from orchestrator.commitments import bundle as bundles
from orchestrator.commitments.leaf import hash_from_text, hash_text
from orchestrator.commitments.tree import verify
from orchestrator.commitments.verification import verify_shown
from scorers.arithmetic import ask, check_verdict, value_in
from scorers.claim import EvidenceError, section_in
from scorers.sections import SECTION, VoteRecord, leaf_of
from scorers.steps.score import calculate_score
from scorers.values import Verdict
from scorers.vote_leaves import vote_hash, vote_tree
from scorers.vote_list import votes_in

VOTER_KIND = "voter"
VOTERS = "voters"
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


class VoteProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One vote with its path in the tree of votes."""

    vote: VoteRecord
    hash: str
    proof: list[str]


class VoterProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All votes of one voter; `leaf` is the verdict's step, `votes_count` the number of all votes.

    Of the verdict's input only the hash is shown: it holds every vote.
    """

    version: int
    kind: str
    promise_id: str
    domain: str
    root: str
    count: int
    leaf: LeafRecord
    votes_root: str
    votes_count: int
    voter: str
    votes: list[VoteProof]
    sections: dict[str, object]


def voter_proof(bundle: Bundle, address: str) -> VoterProof:
    """Return the proof of a voter, from a whole bundle. Raises ProofError where there is no such voter."""
    if not _ADDRESS.fullmatch(address):
        raise ProofError(f"{address[:60]!r} is no address: 0x and 40 hexadecimal digits are needed")
    voter = address.lower()
    try:
        section, verdict = votes_in(bundle), value_in(bundle, calculate_score, Verdict)
    except EvidenceError as error:
        raise ProofError(str(error)) from error
    mine = [vote for vote in section.leaves if vote.voter == voter]
    if not mine:
        raise ProofError(
            f"{voter} is none of the voters of the {section.count} votes of {bundle.promise_id}; "
            "if the DAO's log has a vote of theirs, the whole bundle proves that it was left out"
        )
    domain = bytes.fromhex(bundle.domain[2:])
    tree = vote_tree(domain, [leaf_of(vote) for vote in section.leaves])
    return VoterProof(
        version=bundle.version,
        kind=VOTER_KIND,
        promise_id=bundle.promise_id,
        domain=bundle.domain,
        root=bundle.root,
        count=bundle.count,
        leaf=_verdict_alone(bundle),
        votes_root=verdict.votes_root,
        votes_count=section.count,
        voter=voter,
        votes=[
            VoteProof(
                vote=vote,
                hash=hash_text(vote_hash(domain, section.count, leaf_of(vote))),
                proof=[hash_text(sibling) for sibling in tree.proof(vote.index)],
            )
            for vote in mine
        ],
        sections={name: content for name, content in bundle.sections.items() if name == SECTION},
    )


def _verdict_alone(bundle: Bundle) -> LeafRecord:
    """Return the verdict's step without its input, with which the proof would be as large as the bundle."""
    leaf = next(leaf for leaf in bundle.leaves if leaf.function == calculate_score.__name__)
    return msgspec.structs.replace(leaf, input=None)


def voter_proof_of(content: dict[str, object]) -> VoterProof:
    """Read a proof of a voter from its JSON object. Raises ProofError for what is not exactly one."""
    proof = bundles.convert(content, VoterProof)
    bundles.check_shape(bundle_of(proof))
    for name, text in (("votes_root", proof.votes_root), *(("hash", each.hash) for each in proof.votes)):
        hash_from_text(name, text)
    for each in proof.votes:
        if len(each.proof) > bundles.PROOF_LENGTH_MAX:
            raise ProofError(f"the proof of vote {each.vote.index} is longer than any tree is high")
        for sibling in each.proof:
            hash_from_text(f"the proof of vote {each.vote.index}", sibling)
    return proof


def verify_voter_proof(proof: VoterProof) -> list[Check]:
    """Return the checks of the verdict's step, and of the votes: `verdict` and `vote`."""
    return [
        *verify_shown(bundle_of(proof), needed=("output",)),
        ask("verdict", lambda: _verdict(proof)),
        ask("vote", lambda: _votes(proof)),
    ]


def bundle_of(proof: VoterProof) -> Bundle:
    """Return the bundle that shows the verdict alone."""
    return Bundle(
        version=proof.version,
        promise_id=proof.promise_id,
        domain=proof.domain,
        root=proof.root,
        count=proof.count,
        leaves=[proof.leaf],
        sections=proof.sections,
    )


def _verdict(proof: VoterProof) -> str:
    verdict = value_in(bundle_of(proof), calculate_score, Verdict)
    if (verdict.votes_root, verdict.votes) != (proof.votes_root, proof.votes_count):
        raise EvidenceError(
            f"the verdict has {verdict.votes} votes under {verdict.votes_root}, "
            f"the proof is for {proof.votes_count} under {proof.votes_root}"
        )
    if SECTION in proof.sections:
        check_verdict(section_in(bundle_of(proof)), verdict)
    return f"the verdict holds the root of {verdict.votes} votes"


def _votes(proof: VoterProof) -> str:
    if not proof.votes:
        raise EvidenceError("no vote is shown")
    told = []
    for each in proof.votes:
        vote = each.vote
        if vote.voter != proof.voter:
            raise EvidenceError(f"vote {vote.index} is of {vote.voter}, not of {proof.voter}")
        try:
            hashed = vote_hash(bytes.fromhex(proof.domain[2:]), proof.votes_count, leaf_of(vote))
        except ValueError as error:
            raise EvidenceError(f"vote {vote.index}: {error}") from error
        siblings = [hash_from_text("proof", sibling) for sibling in each.proof]
        if hash_text(hashed) != each.hash or not verify(
            hash_from_text("votes_root", proof.votes_root), hashed, siblings
        ):
            raise EvidenceError(f"vote {vote.index} of {vote.voter} does not lead to the root of the votes")
        told.append(f"counted with {vote.counted_weight}" if vote.counted else f"left out: {vote.reason}")
    return f"{proof.voter}: {'; '.join(told)}"
