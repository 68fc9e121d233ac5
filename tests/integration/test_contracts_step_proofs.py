"""ProposalScores on py-evm: domains and the proofs of steps (invariant M2)."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from contracts.bindings import proposal_scores
from contracts.bindings.proposal_scores import Step
from orchestrator.commitments import Commitment
from orchestrator.commitments import tree_of as tree_of_steps
from tests.contracts_chain import refusal
from tests.contracts_merkle import leaf_of, proof_of, tree_of
from tests.contracts_registry import OTHER_POLICY, POLICY, Deployment, new_deployment


@pytest.fixture(scope="module")
def shared() -> Deployment:
    return new_deployment()


@pytest.fixture
def deployment(shared: Deployment) -> Iterator[Deployment]:
    with shared.chain.undone():
        yield shared


def steps_of(domain: bytes, count: int) -> list[Step]:
    return [
        Step(
            domain=domain,
            index=index,
            count=count,
            function_name=f"step_{index}",
            version=1 + index,
            input_hash=bytes([index]) * 32,
            output_hash=bytes([200 - index]) * 32,
        )
        for index in range(count)
    ]


def scored_with_steps(deployment: Deployment, count: int) -> tuple[int, list[Step], list[bytes]]:
    chain = deployment.chain
    chain.send(deployment.admin, deployment.scores, proposal_scores.REGISTER_POLICY, POLICY)
    proposal = deployment.ended()
    steps = steps_of(chain.call(deployment.scores, proposal_scores.DOMAIN_OF, proposal), count)
    nodes = tree_of([leaf_of(step) for step in steps])
    deployment.submit(proposal, root=nodes[0], policy=POLICY)
    return proposal, steps, nodes


def verify(deployment: Deployment, proposal: int, proof: list[bytes], step: Step) -> bool:
    return deployment.chain.call(deployment.scores, proposal_scores.VERIFY_STEP, proposal, proof, step)


def test_the_domain_is_that_of_the_bindings(deployment: Deployment) -> None:
    chain, scores = deployment.chain, deployment.scores
    chain.send(deployment.admin, scores, proposal_scores.REGISTER_POLICY, POLICY)
    proposal = deployment.propose()
    place = {"chain_id": chain.chain_id, "registry": scores, "dao": deployment.dao}
    expected = proposal_scores.domain_of(proposal_id=proposal, policy_hash=POLICY, **place)
    assert chain.call(scores, proposal_scores.DOMAIN_OF, proposal) == expected


@pytest.mark.parametrize("count", [1_000, 10_001])
def test_steps_of_large_trees_are_accepted(deployment: Deployment, count: int) -> None:
    """Our own tree and proofs, in the contract's hands; 10,001 leaves fill no level of a tree."""
    domain = deployment.chain.call(
        deployment.scores, proposal_scores.DOMAIN_OF, proposal := deployment.ended()
    )
    commitments = [
        Commitment(function="step", version=1, input_hash=bytes(32), output_hash=index.to_bytes(32, "big"))
        for index in range(count)
    ]
    tree = tree_of_steps(domain, commitments)
    deployment.submit(proposal, root=tree.root)
    for index in (0, 1, count // 2, count - 2, count - 1):
        step = Step(
            domain=domain,
            index=index,
            count=count,
            function_name="step",
            version=1,
            input_hash=bytes(32),
            output_hash=index.to_bytes(32, "big"),
        )
        assert verify(deployment, proposal, tree.proof(index), step)
        assert not verify(deployment, proposal, tree.proof(index), replace(step, index=(index + 1) % count))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_every_step_is_accepted(deployment: Deployment, count: int) -> None:
    proposal, steps, nodes = scored_with_steps(deployment, count)
    for step in steps:
        assert verify(deployment, proposal, proof_of(nodes, leaf_of(step)), step)


def test_a_changed_step_is_refused(deployment: Deployment) -> None:
    proposal, steps, nodes = scored_with_steps(deployment, 4)
    step = steps[2]
    proof = proof_of(nodes, leaf_of(step))
    changes: list[dict[str, object]] = [
        {"domain": bytes(32)},
        {"index": 3},
        {"index": 4},
        {"count": 5},
        {"count": 2},
        {"function_name": "step_3"},
        {"version": 9},
        {"input_hash": bytes(32)},
        {"output_hash": bytes(32)},
    ]
    for change in changes:
        assert not verify(deployment, proposal, proof, replace(step, **change)), change  # type: ignore[arg-type]
    assert not verify(deployment, proposal, proof[:-1], step)
    assert not verify(deployment, proposal, [*proof, bytes(32)], step)
    assert not verify(deployment, proposal, [proof[0], bytes(32)], step)
    assert verify(deployment, proposal, proof, step)


def test_a_step_out_of_its_count_is_refused_even_if_it_is_in_the_tree(deployment: Deployment) -> None:
    chain, proposal = deployment.chain, deployment.ended()
    domain = chain.call(deployment.scores, proposal_scores.DOMAIN_OF, proposal)
    step = replace(steps_of(domain, 1)[0], index=1)
    deployment.submit(proposal, root=leaf_of(step))
    assert not verify(deployment, proposal, [], step)


def test_a_step_of_another_proposal_or_policy_is_refused(deployment: Deployment) -> None:
    """A root made under another rule has no step that the registry accepts (invariant M2)."""
    chain, scores = deployment.chain, deployment.scores
    chain.send(deployment.admin, scores, proposal_scores.REGISTER_POLICY, POLICY)
    proposal = deployment.ended()
    place = {"registry": scores, "dao": deployment.dao, "proposal_id": proposal, "policy_hash": POLICY}
    right = {"chain_id": chain.chain_id, **place}
    others = [
        {**right, "chain_id": 1},
        {**right, "registry": deployment.dao},
        {**right, "dao": scores},
        {**right, "proposal_id": proposal + 1},
        {**right, "policy_hash": OTHER_POLICY},
    ]
    steps = [
        steps_of(proposal_scores.domain_of(**each), 1)[0]  # type: ignore[arg-type]
        for each in (right, *others)
    ]
    nodes = tree_of([leaf_of(step) for step in steps])
    deployment.submit(proposal, root=nodes[0], policy=POLICY)
    accepted = [verify(deployment, proposal, proof_of(nodes, leaf_of(step)), step) for step in steps]
    assert accepted == [True, False, False, False, False, False]


def test_a_step_is_verified_only_against_a_final_root(deployment: Deployment) -> None:
    proposal = deployment.ended()
    arguments = (proposal, [], steps_of(bytes(32), 1)[0])
    found = deployment.chain.call_refused(deployment.scores, proposal_scores.VERIFY_STEP, *arguments)
    assert found == refusal("NotFinal", proposalId=proposal)
