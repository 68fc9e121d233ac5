"""A DAO and its registry of scores on an in-process chain, with the moves that the registry's tests share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from contracts.bindings import ContractError, Log, decode_error, proposal_scores, reputation_dao
from contracts.bindings.proposal_scores import NO_POLICY, Rules, Status, Submission
from contracts.bindings.reputation_dao import ClockUnit
from tests.contracts_chain import Chain, Receipt, only, refusal

PERIOD = 1000
ROOT, OTHER_ROOT, POLICY, OTHER_POLICY = (bytes([byte]) * 32 for byte in (1, 2, 3, 4))


@dataclass(frozen=True)
class Deployment:
    chain: Chain
    dao: str
    scores: str

    @property
    def admin(self) -> str:
        return self.chain.accounts[0]

    @property
    def scorer(self) -> str:
        return self.chain.accounts[1]

    @property
    def stranger(self) -> str:
        return self.chain.accounts[9]

    def registry(
        self, quorum: int, *scorers: str, window: int = 0, rules: Rules | None = None
    ) -> "Deployment":
        rules = rules or (Rules() if quorum == 1 and window == 0 else Rules(round_window=10 * PERIOD))
        scores = self.chain.deploy("ProposalScores", self.dao, self.admin, 0, quorum, window, rules)
        deployment = replace(self, scores=scores)
        for scorer in scorers:
            deployment.grant(scorer)
        return deployment

    def grant(self, scorer: str) -> None:
        role = proposal_scores.SCORER_ROLE
        self.chain.send(self.admin, self.scores, proposal_scores.GRANT_ROLE, role, scorer)

    def propose(self) -> int:
        receipt = self.chain.send(self.admin, self.dao, reputation_dao.PROPOSE, ROOT)
        return reputation_dao.PROPOSAL_CREATED.decode(only(receipt.logs)).proposal_id

    def ended(self) -> int:
        proposal = self.propose()
        self.chain.pass_time(PERIOD + 1)
        return proposal

    def submit(
        self,
        proposal: int,
        score: int = 5,
        *,
        root: bytes = ROOT,
        policy: bytes | None = None,
        scorer: str | None = None,
    ) -> Receipt:
        arguments: tuple[object, ...] = (proposal, Status.SCORED, score, root)
        function = proposal_scores.SUBMIT_SCORE
        if policy is not None:
            function, arguments = proposal_scores.SUBMIT_SCORE_UNDER_POLICY, (*arguments, policy)
        return self.chain.send(scorer or self.scorer, self.scores, function, *arguments)

    def submit_together(self, *batch: Submission, scorer: str | None = None) -> Receipt:
        sender = scorer or self.scorer
        return self.chain.send(sender, self.scores, proposal_scores.SUBMIT_SCORES, list(batch))

    def refused_together(self, *batch: Submission, scorer: str | None = None) -> ContractError:
        sender = scorer or self.scorer
        return self.chain.refused(sender, self.scores, proposal_scores.SUBMIT_SCORES, list(batch))

    def refused(self, *arguments: object, scorer: str | None = None) -> ContractError:
        sender = scorer or self.scorer
        return self.chain.refused(sender, self.scores, proposal_scores.SUBMIT_SCORE, *arguments)

    def is_final(self, proposal: int) -> bool:
        return self.chain.call(self.scores, proposal_scores.IS_FINAL, proposal)


def new_deployment() -> Deployment:
    """A DAO with a registry of quorum 1, whose scorers are the second and third account."""
    chain = Chain()
    dao = chain.deploy("ReputationDao", chain.accounts[0], PERIOD, ClockUnit.TIMESTAMP)
    deployment = Deployment(chain=chain, dao=dao, scores="")
    return deployment.registry(1, chain.accounts[1], chain.accounts[2])


def scored(proposal: int, score: int = 5, *, root: bytes = ROOT, policy: bytes = NO_POLICY) -> Submission:
    return Submission(proposal_id=proposal, status=Status.SCORED, score=score, root=root, policy=policy)


def told(logs: Sequence[Log]) -> list[tuple[int, str | None]]:
    """Return what the events of a batch say of each item: its proposal, and the name of its refusal."""
    found: list[tuple[int, str | None]] = []
    for log in logs:
        if proposal_scores.SCORE_SUBMITTED.matches(log):
            found.append((proposal_scores.SCORE_SUBMITTED.decode(log).proposal_id, None))
        elif proposal_scores.SUBMISSION_SKIPPED.matches(log):
            skipped = proposal_scores.SUBMISSION_SKIPPED.decode(log)
            refusal = decode_error(skipped.refusal)
            found.append((skipped.proposal_id, refusal.name if refusal else "unknown"))
    return found


def unauthorized(account: str, role: bytes) -> ContractError:
    return refusal("AccessControlUnauthorizedAccount", account=account, neededRole=role)
