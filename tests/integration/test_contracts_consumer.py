"""ScoreConsumer on py-evm: a contract that acts on final scores and on nothing else."""

from contracts.artifacts import load
from contracts.bindings import proposal_scores, score_consumer
from contracts.bindings.proposal_scores import Rules, Status
from tests.contracts_chain import only, refusal
from tests.contracts_registry import ROOT, Deployment, new_deployment

WINDOW, THRESHOLD = 100, 500


def deployed() -> tuple[Deployment, str]:
    made = new_deployment()
    rules = Rules(round_window=1000, bond=1, bond_receiver=made.admin)
    made = made.registry(1, made.scorer, window=WINDOW, rules=rules)
    return made, made.chain.deploy(score_consumer.NAME, made.scores, THRESHOLD)


def test_it_acts_once_and_only_on_what_is_final() -> None:
    deployment, consumer = deployed()
    chain, proposal = deployment.chain, deployment.ended()

    def refused() -> object:
        return chain.refused(deployment.stranger, consumer, score_consumer.ACCEPT, proposal)

    assert refused() == refusal("ScoreNotFinal", proposalId=proposal)
    deployment.submit(proposal, THRESHOLD)
    # Agreed, and open to challenges.
    assert refused() == refusal("ScoreNotFinal", proposalId=proposal)
    chain.pass_time(WINDOW)
    chain.send(deployment.stranger, deployment.scores, proposal_scores.FINALIZE, proposal)
    logs = chain.send(deployment.stranger, consumer, score_consumer.ACCEPT, proposal).logs
    expected = score_consumer.ProposalAccepted(proposal_id=proposal, score=THRESHOLD, root=ROOT)
    assert score_consumer.PROPOSAL_ACCEPTED.decode(only(logs)) == expected
    assert chain.call(consumer, score_consumer.ACCEPTED, proposal)
    assert refused() == refusal("AlreadyAccepted", proposalId=proposal)


def test_a_score_below_the_threshold_and_one_without_votes_are_refused() -> None:
    deployment, consumer = deployed()
    chain, low, empty = deployment.chain, deployment.propose(), deployment.ended()
    deployment.submit(low, THRESHOLD - 1)
    arguments = (empty, Status.NO_VOTES, 0, ROOT)
    chain.send(deployment.scorer, deployment.scores, proposal_scores.SUBMIT_SCORE, *arguments)
    chain.pass_time(WINDOW)
    for proposal, status, score in ((low, Status.SCORED, THRESHOLD - 1), (empty, Status.NO_VOTES, 0)):
        chain.send(deployment.stranger, deployment.scores, proposal_scores.FINALIZE, proposal)
        found = chain.refused(deployment.stranger, consumer, score_consumer.ACCEPT, proposal)
        assert found == refusal("ScoreTooLow", proposalId=proposal, status=status, score=score)


def test_it_keeps_what_it_was_given_and_refuses_what_is_no_contract() -> None:
    deployment, consumer = deployed()
    assert deployment.chain.call(consumer, score_consumer.REGISTRY) == deployment.scores
    assert deployment.chain.call(consumer, score_consumer.THRESHOLD) == THRESHOLD
    found = deployment.chain.deploy_refused(score_consumer.NAME, deployment.admin, THRESHOLD)
    assert found == refusal("InvalidRegistry", registry=deployment.admin)


def test_the_binding_is_that_of_the_abi() -> None:
    functions = {each["name"] for each in load(score_consumer.NAME).abi if each["type"] == "function"}
    assert functions == {"accept", "accepted", "registry", "threshold"}
    errors = {each["name"] for each in load(score_consumer.NAME).abi if each["type"] == "error"}
    assert errors == {each.name for each in score_consumer.ERRORS}
