"""Random courses of proposals through rounds, each move compared with a naive model and its refusals."""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import fields
from typing import Any

import pytest

from contracts.bindings import Function, proposal_scores, reputation_dao
from contracts.bindings.proposal_scores import NO_POLICY, Rules, Stage, Status, Submission
from contracts.bindings.score_values import NOBODY
from tests.contracts_registry import (
    OTHER_POLICY,
    OTHER_ROOT,
    PERIOD,
    POLICY,
    ROOT,
    Deployment,
    new_deployment,
    told,
)
from tests.contracts_rounds_model import Model, Named, Scored, Verdict

RECORDS = os.environ.get("DAO_SCORER_RECORDS") == "1"
MOVES = 1_000 if RECORDS else 260
GIVEN_SEED = os.environ.get("DAO_SCORER_SEED")
FIRST_SEED = int(GIVEN_SEED or "5")
ROUND_S, COMMIT_S, WINDOW_S, BOND = 120, 40, 30, 10**12
SALT = b"\x51" * 32
FOREMOST = 0.85
POLICIES = (NO_POLICY, POLICY, OTHER_POLICY)
VERDICTS: tuple[Verdict, ...] = (*[(1, 7, ROOT)] * 3, (1, -7, ROOT), (2, 0, OTHER_ROOT))
RULES = (
    (2, WINDOW_S, Rules(rounds_max=2, round_window=ROUND_S, bond=BOND)),
    (2, 0, Rules(rounds_max=3, round_window=ROUND_S, commit_window=COMMIT_S)),
    (1, WINDOW_S, Rules(rounds_max=1, round_window=ROUND_S, bond=BOND)),
    (2, WINDOW_S, Rules(rounds_max=2, round_window=ROUND_S, bond=BOND, commit_window=COMMIT_S)),
)


class Walk:
    """Plays one life; what the model expects of a move is what the registry has to do."""

    def __init__(self, deployment: Deployment, model: Model, seed: int) -> None:
        self.deployment, self.model, self.chance = deployment, model, random.Random(seed)  # noqa: S311
        self.chain = deployment.chain
        self.seen: Counter[str] = Counter()
        self.finals: dict[int, object] = {}

    @property
    def now(self) -> int:
        """When the next transaction is mined."""
        return self.chain.timestamp + 1

    def play(self, moves: int) -> None:
        kinds = [self.propose] * 2 + [
            self.cancel,
            self.pause,
            self.change_role,
            self.return_bonds,
            self.resolve,
        ]
        kinds += [self.pass_time, self.withdraw] + [self.open_round, self.finalize] * 2
        kinds += [self.challenge] * 3 + [self.register_policy]
        kinds += [self.submit, self.submit_together] * (1 if self.model.rules.commit_window else 6)
        if self.model.rules.commit_window:
            kinds += [self.commit] * 8 + [self.reveal] * 10
        for number in range(moves):
            move = self.chance.choice(kinds)
            try:
                if self.model.paused and self.chance.random() < 0.4:
                    self.pause()
                move()
                self.compare()
            except AssertionError as error:
                raise AssertionError(f"move {number}, {move.__name__}: {error}") from error

    def propose(self) -> None:
        under_way = any(map(self.is_under_way, range(1, len(self.model.proposals) + 1)))
        if under_way and self.chance.random() < 0.7:
            return
        self.deployment.propose()
        scored = Scored(ends_at=self.chain.timestamp + PERIOD, policy=self.model.policy)
        self.model.proposals.append(scored)
        if self.chance.random() < 0.7:
            self.chain.pass_time(PERIOD + 1)

    def pass_time(self) -> None:
        self.chain.pass_time(self.chance.choice([1, WINDOW_S, COMMIT_S, ROUND_S // 2, ROUND_S]))

    def cancel(self) -> None:
        if self.chance.random() < 0.35:
            _, scored = self.pick()
            if not scored.canceled:
                number = self.model.proposals.index(scored) + 1
                self.chain.send(self.deployment.admin, self.deployment.dao, reputation_dao.CANCEL, number)
                scored.canceled = True

    def pause(self) -> None:
        function = proposal_scores.UNPAUSE if self.model.paused else proposal_scores.PAUSE
        if self.model.paused or self.chance.random() < 0.5:
            self.chain.send(self.deployment.admin, self.deployment.scores, function)
            self.model.paused = not self.model.paused

    def change_role(self) -> None:
        account, now = self.chance.choice(self.chain.accounts[1:6]), self.now
        held = self.model.member(account, now)
        function = proposal_scores.REVOKE_ROLE if held else proposal_scores.GRANT_ROLE
        arguments = (proposal_scores.SCORER_ROLE, account)
        self.chain.send(self.deployment.admin, self.deployment.scores, function, *arguments)
        self.model.mark(account, not held, now)

    def register_policy(self) -> None:
        """What is registered binds the proposals that come; each is of one rule for ever."""
        policy = self.chance.choice([known for known in POLICIES if known != self.model.policy])
        self.chain.send(
            self.deployment.admin, self.deployment.scores, proposal_scores.REGISTER_POLICY, policy
        )
        self.model.policy = policy

    def submit(self) -> None:
        scorer, (number, named) = self.scorer(), self.verdict()
        expected = self.model.submit(named, scorer, self.now)
        _, verdict, policy = named
        if policy == NO_POLICY and self.chance.random() < 0.5:
            self.check(expected, scorer, proposal_scores.SUBMIT_SCORE, number, *verdict)
        else:
            function = proposal_scores.SUBMIT_SCORE_UNDER_POLICY
            self.check(expected, scorer, function, number, *verdict, policy)

    def submit_together(self) -> None:
        scorer, drawn = self.scorer(), [self.verdict(0.4) for _ in range(self.chance.randrange(6))]
        expected = self.model.submit_together([named for _, named in drawn], scorer, self.now)
        batch = [submission(number, named) for number, named in drawn]
        if isinstance(expected, str):
            self.check(expected, scorer, proposal_scores.SUBMIT_SCORES, batch)
            return
        logs = self.chain.send(scorer, self.deployment.scores, proposal_scores.SUBMIT_SCORES, batch).logs
        assert told(logs) == [
            (each.proposal_id, refusal) for each, refusal in zip(batch, expected, strict=True)
        ]
        self.seen["submitScores"] += 1
        self.seen.update(f"skipped for {refusal}" for refusal in expected if refusal)

    def commit(self) -> None:
        scorer, (number, named) = self.scorer(), self.verdict()
        arguments = (submission(number, named), max(named[0].round, 1), scorer, SALT)
        sealed = self.chain.call(self.deployment.scores, proposal_scores.COMMITMENT_FOR, *arguments)
        expected = self.model.commit(named, scorer, self.now)
        self.check(expected, scorer, proposal_scores.COMMIT_SCORE, number, sealed)

    def reveal(self) -> None:
        scorer, (number, named) = self.scorer(), self.verdict()
        scored = named[0]
        known = scored.sealed.get((max(scored.round, 1), scorer))
        if known is not None and self.chance.random() < 0.9:
            named = (scored, *known)
        expected = self.model.reveal(named, scorer, self.now)
        self.check(expected, scorer, proposal_scores.REVEAL_SCORE, submission(number, named), SALT)

    def verdict(self, foremost: float = FOREMOST) -> tuple[int, Named]:
        """Draw a proposal and what is said of it, under the policy that binds it or now and then another."""
        number, scored = self.pick(foremost)
        policy = scored.policy if self.chance.random() < 0.9 else self.chance.choice(POLICIES)
        return number, (scored, self.chance.choice(VERDICTS), policy)

    def open_round(self) -> None:
        number, scored = self.pick()
        expected = self.model.open_round(scored, self.now)
        self.check(expected, self.anybody(), proposal_scores.OPEN_ROUND, number)

    def challenge(self) -> None:
        number, scored = self.pick()
        bond = self.model.rules.bond
        account, value = self.anybody(), bond if self.chance.random() < 0.7 else bond + 1
        expected = self.model.challenge(scored, account, value, self.now)
        self.check(expected, account, proposal_scores.CHALLENGE, number, value=value)

    def finalize(self) -> None:
        number, scored = self.pick()
        expected = self.model.finalize(scored, self.now)
        self.check(expected, self.anybody(), proposal_scores.FINALIZE, number)

    def resolve(self) -> None:
        number, scored = self.pick()
        verdict = self.chance.choice(VERDICTS)
        expected = self.model.resolve(scored, verdict, self.now)
        self.check(expected, self.deployment.admin, proposal_scores.RESOLVE, number, *verdict)

    def return_bonds(self) -> None:
        number, scored = self.pick()
        self.check(self.model.return_bonds(scored), self.anybody(), proposal_scores.RETURN_BONDS, number)

    def withdraw(self) -> None:
        account, caller = self.chance.choice(self.chain.accounts[5:9]), self.chain.accounts[9]
        self.check(self.model.withdraw(account), caller, proposal_scores.WITHDRAW, account)

    def pick(self, foremost: float = FOREMOST) -> tuple[int, Scored]:
        """Take a proposal, most often the first whose course has not ended: so courses get far."""
        count = len(self.model.proposals)
        unended = [number for number in range(1, count + 1) if self.is_under_way(number)]
        chosen = unended[0] if unended and self.chance.random() < foremost else self.chance.randint(1, count)
        return chosen, self.model.proposals[chosen - 1]

    def is_under_way(self, number: int) -> bool:
        scored = self.model.proposals[number - 1]
        return scored.stage != "FINAL" and not scored.canceled

    def scorer(self) -> str:
        return self.chance.choice(self.chain.accounts[1:6])

    def anybody(self) -> str:
        return self.chance.choice(self.chain.accounts[5:8])

    def check(
        self, expected: str | None, sender: str, function: Function[Any], *arguments: object, value: int = 0
    ) -> None:
        to = self.deployment.scores
        if expected is None:
            self.chain.send(sender, to, function, *arguments, value=value)
        else:
            found = self.chain.refused(sender, to, function, *arguments, value=value)
            assert found.name == expected, f"{found} instead of {expected}"
        self.seen[expected or function.name] += 1

    def compare(self) -> None:
        scores = self.deployment.scores
        assert self.chain.balance(scores) == self.model.held
        number, scored = self.pick()
        found = self.chain.call(scores, proposal_scores.COURSE_OF, number)
        shown = (found.stage.name, found.round, found.started_at, found.until)
        assert shown == (scored.stage, max(scored.round, 1), scored.started, self.model.until(scored))
        verdict = scored.verdict or (0, 0, bytes(32))
        assert (found.status, found.score, found.root) == (Status(verdict[0]), *verdict[1:])
        assert (found.scorer == NOBODY) == (scored.verdict is None)
        if found.stage is Stage.FINAL:
            final = self.chain.call(scores, proposal_scores.SCORE_OF, number)
            assert (final.status, final.score, final.root) == verdict
            assert final.round == scored.verdict_round
            assert self.finals.setdefault(number, final) == final, "a final verdict changed"


def submission(number: int, named: Named) -> Submission:
    _, (status, score, root), policy = named
    return Submission(proposal_id=number, status=Status(status), score=score, root=root, policy=policy)


def walk(seed: int) -> Walk:
    quorum, window, rules = RULES[seed % len(RULES)]
    deployment = new_deployment()
    accounts = deployment.chain.accounts
    rules = Rules(**{**_fields(rules), "bond_receiver": accounts[8] if window else NOBODY})  # type: ignore[arg-type]
    model = Model(quorum=quorum, window=window, rules=rules)
    deployment = deployment.registry(quorum, window=window, rules=rules)
    for account in accounts[1:5]:
        deployment.grant(account)
        model.mark(account, True, deployment.chain.timestamp)
    made = Walk(deployment, model, seed)
    made.propose()
    deployment.chain.pass_time(PERIOD + 1)
    return made


def _fields(rules: Rules) -> dict[str, object]:
    return {each.name: getattr(rules, each.name) for each in fields(rules)}


OUTCOMES = frozenset(
    {
        *("openRound", "submitScore", "commitScore", "revealScore", "challenge", "finalize", "resolve"),
        *("returnBonds", "withdraw", "AlreadyCommitted", "AlreadySubmitted", "ChallengeWindowOpen"),
        *("ChallengeWindowOver", "CommitWindowOpen", "CommitWindowOver", "CommitmentRequired"),
        *("EnforcedPause", "NotAgreed", "NotCanceled", "NotInRound", "NotResolvable", "NothingToWithdraw"),
        *("ProposalWasCanceled", "RoundDecided", "RoundStillOpen", "RoundsExhausted", "VotingNotEnded"),
        *("WrongBond", "WrongReveal", "WrongPolicy", "submitScores", "EmptyBatch", "NothingTaken"),
        *("skipped for AlreadySubmitted", "skipped for NotInRound", "skipped for WrongPolicy"),
        *("skipped for ProposalWasCanceled", "skipped for VotingNotEnded"),
    }
)
"""What moves can come to, all of which the walks of one run must have seen."""


@pytest.mark.timeout(3_600 if RECORDS else 180)
def test_random_courses_are_those_of_the_model() -> None:
    seen: Counter[str] = Counter()
    finals = 0
    for seed in range(FIRST_SEED, FIRST_SEED + (20 if RECORDS else len(RULES))):
        made = walk(seed)
        try:
            made.play(MOVES)
        except AssertionError as error:
            raise AssertionError(f"DAO_SCORER_SEED={seed}: {error}") from error
        seen += made.seen
        finals += len(made.finals)
    assert finals > len(RULES), f"DAO_SCORER_SEED={FIRST_SEED} reached {finals} finals: the walks show little"
    missed = OUTCOMES - set(seen)
    assert GIVEN_SEED or not missed, f"DAO_SCORER_SEED={FIRST_SEED}: the walks came never to {sorted(missed)}"
