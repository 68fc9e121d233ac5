"""ProposalScores on py-evm: proofs of how votes were treated, one by one and several with one proof."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

import pytest

from contracts.bindings import proposal_scores
from contracts.bindings.proposal_scores import Step, VerdictProof, Vote
from orchestrator.commitments import Commitment, MerkleTree, MultiProof, canonical_result
from orchestrator.commitments import tree_of as tree_of_steps
from scorers.onchain_proof import onchain_vote, verdict_proof
from scorers.steps.score import calculate_score
from scorers.values import ScoreStatus, Verdict
from scorers.vote_leaves import VoteLeaf, vote_tree, votes_root
from tests.contracts_chain import refusal
from tests.contracts_registry import Deployment, new_deployment

VERDICT_INDEX, STEPS = 4, 5


@dataclass(frozen=True)
class Counted:
    """A proposal whose votes were counted and whose score is final."""

    proposal: int
    domain: bytes
    votes: list[VoteLeaf]
    tree: MerkleTree
    verdict: VerdictProof

    def leaf(self, index: int) -> Vote:
        return onchain_vote(self.domain, len(self.votes), self.votes[index])


@pytest.fixture(scope="module")
def shared() -> Deployment:
    return new_deployment()


@pytest.fixture
def deployment(shared: Deployment) -> Iterator[Deployment]:
    with shared.chain.undone():
        yield shared


def vote(index: int) -> VoteLeaf:
    counted = index % 3 != 2
    return VoteLeaf(
        index=index,
        voter="0x" + index.to_bytes(20, "big").hex(),
        support=index % 3,
        weight=2**200 + index,
        counted_weight=2**200 + index if counted else 0,
        counted=counted,
        reason="" if counted else "below the minimum weight",
        block_number=10 + index,
        log_index=index,
    )


def counted(deployment: Deployment, count: int, function: str = "calculate_score") -> Counted:
    proposal = deployment.ended()
    domain = deployment.chain.call(deployment.scores, proposal_scores.DOMAIN_OF, proposal)
    votes = [vote(index) for index in range(count)]
    verdict = Verdict(
        status=ScoreStatus.SCORED,
        score=5,
        for_votes=2**200,
        against_votes=1,
        abstain_votes=0,
        counted=count,
        excluded=0,
        votes=count,
        votes_root=votes_root(domain, votes),
        findings=['a "votes_root":"0x00" in words'],
    )
    output = canonical_result(calculate_score, verdict)
    hashes = [bytes([index]) * 32 for index in range(STEPS)]
    outputs = [*hashes[:VERDICT_INDEX], sha256(output).digest()]
    commitments = [
        Commitment(function=function, version=2, input_hash=given, output_hash=made)
        for given, made in zip(hashes, outputs, strict=True)
    ]
    steps = tree_of_steps(domain, commitments)
    deployment.submit(proposal, root=steps.root)
    step = Step(
        domain=domain,
        index=VERDICT_INDEX,
        count=STEPS,
        function_name=function,
        version=2,
        input_hash=hashes[VERDICT_INDEX],
        output_hash=outputs[VERDICT_INDEX],
    )
    proof = verdict_proof(step, steps.proof(VERDICT_INDEX), output.decode())
    return Counted(proposal, domain, votes, vote_tree(domain, votes), proof)


def accepted(
    deployment: Deployment, made: Counted, index: int, leaf: Vote, verdict: VerdictProof | None = None
) -> bool:
    arguments = (made.proposal, verdict or made.verdict, made.tree.proof(index), leaf)
    return deployment.chain.call(deployment.scores, proposal_scores.VERIFY_VOTER, *arguments)


def several(made: Counted, indices: list[int]) -> tuple[MultiProof, list[Vote]]:
    """Return one proof of several votes, and these in the order in which it takes them."""
    proof = made.tree.multi_proof(indices)
    hashes = {made.tree.multi_proof([index]).leaves[0]: index for index in indices}
    return proof, [made.leaf(hashes[leaf]) for leaf in proof.leaves]


def together(deployment: Deployment, made: Counted, proof: MultiProof, votes: list[Vote]) -> bool:
    arguments = (made.proposal, made.verdict, proof.proof, proof.flags, votes)
    return deployment.chain.call(deployment.scores, proposal_scores.VERIFY_VOTERS, *arguments)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 1_000, 10_001])
def test_every_vote_is_accepted_with_its_treatment(deployment: Deployment, count: int) -> None:
    """One by one, and several with one proof: some of all places, and a dozen neighbours."""
    made = counted(deployment, count)
    shown = sorted({0, 1, 2, count // 2, count - 1} & set(range(count)))
    for index in shown:
        assert accepted(deployment, made, index, made.leaf(index)), index
    for indices in (shown, list(range(min(count, 12)))):
        proof, votes = several(made, indices)
        assert together(deployment, made, proof, votes), indices
        assert not together(deployment, made, proof, [replace(votes[0], weight=1), *votes[1:]]), indices


def test_a_vote_said_to_be_treated_otherwise_is_refused(deployment: Deployment) -> None:
    made = counted(deployment, 5)
    leaf = made.leaf(2)
    changes: list[dict[str, object]] = [
        {"domain": bytes(32)},
        {"index": 3},
        {"count": 6},
        {"count": 2},
        {"voter": "0x" + "77" * 20},
        {"support": 1},
        {"weight": 1},
        {"counted_weight": leaf.weight},
        {"counted": True},
        {"reason": ""},
        {"block_number": 1},
        {"log_index": 9},
    ]
    for change in changes:
        assert not accepted(deployment, made, 2, replace(leaf, **change)), change  # type: ignore[arg-type]
    assert not accepted(deployment, made, 1, leaf)
    assert accepted(deployment, made, 2, leaf)


def test_a_verdict_that_is_not_the_final_one_proves_nothing(deployment: Deployment) -> None:
    made, other = counted(deployment, 3), counted(deployment, 4)
    right, leaf = made.verdict, made.leaf(0)
    wrong = [
        replace(right, votes_root=bytes(32)),
        replace(right, before_root=right.before_root + " "),
        replace(right, after_root=right.after_root + "}"),
        replace(right, proof=right.proof[:-1]),
        replace(right, step=replace(right.step, output_hash=bytes(32))),
        replace(right, step=replace(right.step, index=3)),
        replace(right, step=replace(right.step, function_name="fetch_votes")),
        other.verdict,
    ]
    for verdict in wrong:
        assert not accepted(deployment, made, 0, leaf, verdict)


def test_the_output_of_another_step_is_no_verdict(deployment: Deployment) -> None:
    """A committed step of any name may hold a member of this name: only the verdict's counts."""
    made = counted(deployment, 3, function="read_proposal")
    assert not accepted(deployment, made, 0, made.leaf(0))


def test_nothing_is_proved_before_the_score_is_final(deployment: Deployment) -> None:
    made, proposal = counted(deployment, 2), deployment.ended()
    arguments = (proposal, made.verdict, made.tree.proof(0), made.leaf(0))
    found = deployment.chain.call_refused(deployment.scores, proposal_scores.VERIFY_VOTER, *arguments)
    assert found == refusal("NotFinal", proposalId=proposal)


@pytest.mark.parametrize("indices", [[0], [0, 1], [4, 2, 0], [0, 1, 2, 3, 4]])
def test_several_votes_with_one_proof(deployment: Deployment, indices: list[int]) -> None:
    made = counted(deployment, 5)
    proof, votes = several(made, indices)
    assert together(deployment, made, proof, votes)
    assert not together(deployment, made, proof, [replace(votes[0], weight=1), *votes[1:]])
    assert not together(deployment, made, proof, [replace(votes[0], index=9), *votes[1:]])


def test_a_proof_of_no_votes_is_none(deployment: Deployment) -> None:
    """OpenZeppelin accepts no leaves against a root that is its own only sibling."""
    made = counted(deployment, 3)
    arguments = (made.proposal, made.verdict, [made.tree.root], [], [])
    assert not deployment.chain.call(deployment.scores, proposal_scores.VERIFY_VOTERS, *arguments)


def test_a_malformed_multi_proof_is_refused_by_name(deployment: Deployment) -> None:
    made = counted(deployment, 3)
    arguments = (made.proposal, made.verdict, [], [True, True, True], [made.leaf(0)])
    found = deployment.chain.call_refused(deployment.scores, proposal_scores.VERIFY_VOTERS, *arguments)
    assert found == refusal("MerkleProofInvalidMultiproof")


def test_a_step_is_verified_against_what_was_only_submitted(deployment: Deployment) -> None:
    """Who thinks of a challenge must be able to check a root before it is final."""
    chain = deployment.chain
    made = counted(deployment, 2)
    arguments = (list(made.verdict.proof), made.verdict.step)
    verify, where = proposal_scores.VERIFY_SUBMITTED_STEP, (made.proposal, 1, deployment.scorer)
    assert chain.call(deployment.scores, verify, *where, *arguments)
    assert not chain.call(deployment.scores, verify, made.proposal, 1, deployment.stranger, *arguments)
    assert not chain.call(deployment.scores, verify, made.proposal, 2, deployment.scorer, *arguments)
