"""Random lives of a DAO and its registry, compared after every transaction with a naive model of both."""

import random
from dataclasses import dataclass, field

import pytest

from contracts.bindings import ContractError, proposal_scores, reputation_dao
from contracts.bindings.proposal_scores import Status
from tests.contracts_chain import Chain
from tests.contracts_registry import PERIOD, ROOT, Deployment, new_deployment, scored, told

MOVES = 250


@dataclass
class Vote:
    created_at: int
    proposer: str
    weights: dict[str, int]
    tally: list[int] = field(default_factory=lambda: [0, 0, 0])
    voters: set[str] = field(default_factory=set)
    canceled: bool = False
    verdicts: dict[str, int] = field(default_factory=dict)
    final: int | None = None


class Walk:
    """Plays one random life; each move predicts whether the chain accepts it, and by what name it refuses."""

    def __init__(self, deployment: Deployment, seed: int, quorum: int) -> None:
        self.quorum = quorum
        self.deployment, self.chance = deployment, random.Random(seed)  # noqa: S311 - chance, not secrecy
        self.chain: Chain = deployment.chain
        self.reputations: dict[str, int] = {}
        self.votes: list[Vote] = []

    def move(self) -> None:
        moves = [self.set_reputations, self.propose, self.cancel, self.pass_time]
        moves += [self.cast_vote] * 6 + [self.submit] * 4 + [self.submit_together]
        self.chance.choice(moves)()

    def set_reputations(self) -> None:
        voters = self.chance.sample(self.chain.accounts, 3)
        amounts = [self.chance.choice([0, 1, 2**128, self.chance.randrange(2**200)]) for _ in voters]
        admin = self.deployment.admin
        self.chain.send(admin, self.deployment.dao, reputation_dao.SET_REPUTATIONS, voters, amounts)
        self.reputations.update(zip(voters, amounts, strict=True))

    def propose(self) -> None:
        proposer = self.chance.choice(self.chain.accounts)
        self.chain.send(proposer, self.deployment.dao, reputation_dao.PROPOSE, ROOT)
        weights = dict(self.reputations)
        self.votes.append(Vote(created_at=self.chain.timestamp, proposer=proposer, weights=weights))

    def pass_time(self) -> None:
        self.chain.pass_time(self.chance.choice([1, PERIOD // 3, PERIOD]))

    def cancel(self) -> None:
        proposal, vote = self.pick()
        sender = self.chance.choice(
            [self.deployment.admin, vote.proposer if vote else "", *self.chain.accounts]
        )
        if vote is None or not sender:
            return
        ended = self.chain.timestamp + 1 > vote.created_at + PERIOD
        permitted = sender == self.deployment.admin or (sender == vote.proposer and not ended)
        expected = None if permitted and not vote.canceled else "CancelRefused"
        self.check(expected, sender, self.deployment.dao, reputation_dao.CANCEL, proposal)
        vote.canceled = vote.canceled or expected is None

    def cast_vote(self) -> None:
        proposal, vote = self.pick()
        voter, support = self.chance.choice(self.chain.accounts), self.chance.choice([0, 1, 2, 2, 3])
        expected = self.refusal_of_vote(vote, voter, support)
        arguments = (proposal, support)
        self.check(expected, voter, self.deployment.dao, reputation_dao.CAST_VOTE, *arguments)
        if expected is None and vote is not None:
            vote.voters.add(voter)
            vote.tally[support] += vote.weights[voter]

    def refusal_of_vote(self, vote: Vote | None, voter: str, support: int) -> str | None:
        if vote is None:
            return "NonexistentProposal"
        if vote.canceled or self.chain.timestamp + 1 > vote.created_at + PERIOD:
            return "VotingClosed"
        if voter in vote.voters:
            return "AlreadyVoted"
        if not vote.weights.get(voter):
            return "NoReputation"
        return "InvalidSupport" if support > 2 else None

    def submit(self) -> None:
        proposal, vote = self.pick()
        scorer, score = (
            self.chance.choice(self.chain.accounts[1:4]),
            self.chance.choice([-10_000, 0, 7, 7, 7, 7, 10_001]),
        )
        expected = self.refusal_of_score(vote, scorer, score)
        arguments = (proposal, Status.SCORED, score, ROOT)
        self.check(expected, scorer, self.deployment.scores, proposal_scores.SUBMIT_SCORE, *arguments)
        if expected is None and vote is not None:
            self.take(vote, scorer, score)

    def take(self, vote: Vote, scorer: str, score: int) -> None:
        vote.verdicts[scorer] = score
        if vote.final is None and list(vote.verdicts.values()).count(score) == self.quorum:
            vote.final = score

    def submit_together(self) -> None:
        """The model takes them one after the other, as the registry does."""
        scorer = self.chance.choice(self.chain.accounts[1:4])
        batch, expected = [], []
        for _ in range(self.chance.randrange(1, 6)):
            (proposal, vote), score = self.pick(), self.chance.choice([7, 7, 7, 10_001])
            refused = self.refusal_of_score(vote, scorer, score)
            if refused is None and vote is not None:
                self.take(vote, scorer, score)
            batch.append(scored(proposal, score))
            expected.append((proposal, refused))
        if all(refused for _, refused in expected):
            self.check("NothingTaken", scorer, self.deployment.scores, proposal_scores.SUBMIT_SCORES, batch)
            return
        sent = self.chain.send(scorer, self.deployment.scores, proposal_scores.SUBMIT_SCORES, batch)
        assert told(sent.logs) == expected

    def refusal_of_score(self, vote: Vote | None, scorer: str, score: int) -> str | None:
        if score > 10_000:
            return "InvalidScore"
        if vote is None:
            return "NonexistentProposal"
        if scorer in vote.verdicts:
            return "AlreadySubmitted"
        if vote.canceled:
            return "ProposalWasCanceled"
        return None if self.chain.timestamp + 1 > vote.created_at + PERIOD else "VotingNotEnded"

    def pick(self) -> tuple[int, Vote | None]:
        """A proposal, most often a late one, or now and then one that does not exist."""
        if not self.votes or self.chance.random() < 0.05:
            return len(self.votes) + 1, None
        proposal = max(self.chance.randint(1, len(self.votes)), self.chance.randint(1, len(self.votes)))
        return proposal, self.votes[proposal - 1]

    def check(self, expected: str | None, sender: str, to: str, function: object, *arguments: object) -> None:
        if expected is None:
            self.chain.send(sender, to, function, *arguments)  # type: ignore[arg-type]
        else:
            found: ContractError = self.chain.refused(sender, to, function, *arguments)  # type: ignore[arg-type]
            assert found.name == expected

    def compare(self) -> None:
        dao, scores = self.deployment.dao, self.deployment.scores
        for proposal, vote in enumerate(self.votes, start=1):
            against, for_, abstain = vote.tally
            expected = reputation_dao.ProposalVotes(against=against, for_=for_, abstain=abstain)
            assert self.chain.call(dao, reputation_dao.PROPOSAL_VOTES, proposal) == expected
            final = self.chain.call(scores, proposal_scores.IS_FINAL, proposal)
            assert final == (vote.final is not None)
            if final:
                assert self.chain.call(scores, proposal_scores.SCORE_OF, proposal).score == vote.final


@pytest.mark.parametrize(("seed", "quorum"), [(1, 2), (2, 2), (3, 1)])
def test_a_random_life_is_that_of_the_model(seed: int, quorum: int) -> None:
    """With a quorum of one there are no rounds, and a first submission is final at once."""
    deployment = new_deployment()
    registry = deployment.registry(quorum, *deployment.chain.accounts[1:4])
    walk = Walk(registry, seed, quorum)
    walk.set_reputations()
    walk.propose()
    for number in range(MOVES):
        try:
            walk.move()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, move {number}: {error}") from error
    walk.compare()
    finals = [vote.final for vote in walk.votes if vote.final is not None]
    voted = [vote for vote in walk.votes if vote.voters]
    assert finals, f"seed {seed} reached no finality: the walk shows too little"
    assert voted, f"seed {seed} reached no vote: the walk shows too little"
