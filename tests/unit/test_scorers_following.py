"""The workflows around rounds, step by step: what a lagging node or an operator does to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from contracts.bindings.proposal_scores import Stage
from contracts.transactions import Intent, Sent, SentStatus
from orchestrator import Context
from scorers import submission as submission_module
from scorers.policy import ANY_POLICY
from scorers.rounds import following
from scorers.rounds.following import follow_rounds
from scorers.rounds.sealing import Sealing
from scorers.rounds.values import Followed, Look, RoundsEnd, Said
from scorers.submission import Standing, Submission, SubmissionStatus, submit
from scorers.values import Proposal, ScoreStatus, Verdict
from tests.unit.test_scorers_score import proposal as proposal_of

POLICY = "0x" + "9a" * 32
SCORER, ROOT = "0x" + "12" * 20, "0x" + "01" * 32
OURS = Said(status=1, score=5, root=ROOT)
LAST_BLOCK = proposal_of().last_block
VERDICT = Verdict(
    status=ScoreStatus.SCORED,
    score=5,
    for_votes=1,
    against_votes=0,
    abstain_votes=0,
    counted=1,
    excluded=0,
    votes=1,
    votes_root=ANY_POLICY,
    findings=[],
)


@dataclass
class Course:
    """A workflow's context without an engine: sleeps are counted, steps answer with what is given."""

    answers: dict[str, Any] = field(default_factory=dict)
    sleeps_left: int = 10

    async def sleep(self, seconds: float) -> None:
        assert self.sleeps_left, "it would go on for ever"
        self.sleeps_left -= 1

    async def run(self, step: Callable[..., Any], *arguments: Any) -> Any:
        return self.answers[step.__name__]

    @property
    def context(self) -> Context:
        return cast("Context", self)


def look(block: int, *, round_: int = 1, stage: Stage = Stage.OPEN) -> Look:
    return Look(
        block_number=block,
        now=1_000,
        stage=stage,
        round=round_,
        until=0,
        cancelled=False,
        voices=(),
        sender=SCORER,
        admitted=True,
        verdict=OURS if stage is Stage.FINAL else None,
    )


async def followed(
    monkeypatch: pytest.MonkeyPatch, looks: list[Look], submitted_in: list[int]
) -> tuple[RoundsEnd, list[int]]:
    """Follow these looks; submissions are made in these rounds. Return the end, and the first blocks read."""
    first_blocks: list[int] = []
    left = iter(looks)

    async def looked(context: Context, step: object, about: Followed, since: int) -> Look:
        first_blocks.append(since)
        return next(left)

    async def submitted(
        context: Context, proposal: Proposal, verdict: Verdict, root: str, policy: str
    ) -> Submission:
        assert policy == POLICY
        return Submission(status=SubmissionStatus.SUBMITTED, scorer=SCORER, round=submitted_in.pop(0))

    monkeypatch.setattr(following, "patiently", looked)
    monkeypatch.setattr(following, "submit", submitted)
    about = Followed(proposal=proposal_of(), verdict=VERDICT, root=ROOT, round=1, policy=POLICY)
    return await follow_rounds(Course().context, about), first_blocks


async def test_a_node_that_lags_does_not_have_submissions_told_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [look(100), look(95), look(102, stage=Stage.FINAL)]
    end, first_blocks = await followed(monkeypatch, looks, [])
    assert end.agrees
    assert first_blocks == [LAST_BLOCK, 101, 101]


async def test_a_round_that_the_submission_did_not_see_yet_is_submitted_to_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = [look(100, round_=2), look(101, round_=2), look(102, round_=2), look(103, stage=Stage.FINAL)]
    submitted_in = [1, 2]
    await followed(monkeypatch, looks, submitted_in)
    assert submitted_in == []


async def test_a_commitment_that_was_given_up_ends_its_submission_to_the_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sealing = Sealing(commitment=None, reveal_at=0, now=500)
    sent: list[str] = []

    async def standing(context: Context, step: object, proposal: Proposal) -> Standing:
        return Standing(scorer=SCORER, cancelled=False, entry=None, watched=True, round=2, sealing=sealing)

    async def ended(context: Context, intent: Intent) -> Sent:
        sent.append(intent.logical_id)
        return Sent(status=SentStatus.CANCELLED, logical_id=intent.logical_id)

    monkeypatch.setattr(submission_module, "patiently", standing)
    monkeypatch.setattr(submission_module, "send_detached", ended)
    course = Course(answers={"draw_salt": "0x" + "51" * 32})
    submission = await submit(course.context, proposal_of(), VERDICT, ROOT, POLICY)
    assert (submission.status, submission.round) == (SubmissionStatus.FAILED, 2)
    assert [each.partition("-")[0] for each in sent] == ["commit"]
