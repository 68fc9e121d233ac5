"""What is due in a round, and when: pure decisions of the following and of the sealing of verdicts."""

from __future__ import annotations

from dataclasses import replace
from typing import cast
from unittest.mock import AsyncMock

import pytest

from contracts.bindings.proposal_scores import Course, Stage, Status, commitment_for
from contracts.bindings.score_values import NOBODY
from contracts.transactions import Sent, SentStatus
from orchestrator import Context
from orchestrator.commitments import ProofError
from scorers import submission
from scorers.batches.values import Item, Place
from scorers.onchain_proof import verdict_proof
from scorers.rounds import following
from scorers.rounds.course import STAGGER_S, STAGGERS, CourseOf, stagger_s
from scorers.rounds.following import end_of, wait_s
from scorers.rounds.sealing import Phase, Sealing, sealed_intent
from scorers.rounds.values import Look, Said, Voice
from scorers.submission import Standing, SubmissionStatus, judge_sent
from scorers.workflow import shadow_of

SCORER, REGISTRY = "0x" + "12" * 20, "0x" + "34" * 20
SALT, OTHER_SALT = "0x" + "51" * 32, "0x" + "52" * 32
OURS, THEIRS = (Said(status=1, score=score, root="0x" + "01" * 32) for score in (5, 6))


def course(stage: Stage, *, round_: int = 1, started: int = 100, until: int = 200) -> CourseOf:
    found = Course(
        stage=stage,
        round=round_,
        started_at=started,
        until=until,
        scorer=NOBODY,
        status=Status.NONE,
        score=0,
        root=bytes(32),
    )
    return CourseOf(course=found, rounds_max=2, round_window=100, commit_window=30, admitted=True)


@pytest.mark.parametrize(
    ("found", "now", "expected"),
    [
        (course(Stage.OPEN), 199, None),
        (course(Stage.OPEN), 200, "openRound"),
        (course(Stage.OPEN, round_=2), 900, None),
        (course(Stage.OPEN, started=0, until=0), 900, None),
        (course(Stage.AGREED), 199, None),
        (course(Stage.AGREED, round_=2), 200, "finalize"),
        (course(Stage.DISPUTED, round_=2), 200, "finalize"),
        (course(Stage.FINAL), 900, None),
    ],
)
def test_what_anybody_may_do(found: CourseOf, now: int, expected: str | None) -> None:
    due = found.due(now)
    assert (due.name if due else None) == expected
    assert found.due(now, late_s=1_000) is None


def test_scorers_go_one_after_the_other() -> None:
    waits = {stagger_s(f"0x{number:040x}") for number in range(50)}
    assert waits == {turn * STAGGER_S for turn in range(STAGGERS)}


def look(stage: Stage = Stage.OPEN, *, until: int = 0, verdict: Said | None = None) -> Look:
    return Look(
        block_number=9,
        now=1_000,
        stage=stage,
        round=1,
        until=until,
        cancelled=verdict is None,
        voices=(),
        verdict=verdict,
    )


def test_looks_come_seldom_while_nothing_happens_and_in_time_for_what_is_due() -> None:
    waits = [wait_s(look(), quiet) for quiet in range(12)]
    assert waits[0] == following.LOOK_S
    assert waits[-1] == following.LOOK_S_MAX
    assert waits == sorted(waits)
    assert wait_s(look(until=1_100), 12) == 100
    assert wait_s(look(until=1_001), 12) == following.LOOK_S


def voice(said: Said, scorer: str = SCORER) -> Voice:
    where = {"transaction_hash": "0x07", "block_number": 8, "block_hash": "0x08"}
    return Voice(scorer=scorer, round=1, said=said, **where)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("final", "status", "told"),
    [
        (OURS, SubmissionStatus.SUBMITTED, "is the same; 1 submissions differ"),
        (THEIRS, SubmissionStatus.OUTVOTED, "is another: status 1, score 6"),
        (None, SubmissionStatus.CANCELLED, "cancelled before a verdict was final"),
    ],
)
def test_the_shadow_tells_how_it_compares(final: Said | None, status: SubmissionStatus, told: str) -> None:
    seen = look(Stage.FINAL if final else Stage.OPEN, verdict=final)
    end = end_of(OURS, seen, [voice(THEIRS, NOBODY), voice(OURS)])
    submission = shadow_of(end)
    assert submission.status is status
    assert submission.detail is not None
    assert told in submission.detail
    stands = submission.transaction_hash is not None
    assert stands == (final == OURS)
    assert submission.scorer == (SCORER if stands else None)


def sealed(sealing: Sealing, salt: str = SALT) -> Phase:
    item = Item(logical_id="submitScore-1", proposal_id=7, status=1, score=5, root="0x" + "01" * 32)
    place = Place(chain_id=1, registry=REGISTRY, scorer=SCORER)
    phase, intent = sealed_intent(place, item, 1, sealing, salt)
    assert (intent is None) == (phase is Phase.WAIT)
    if intent is not None:
        assert intent.logical_id == f"{phase}-submitScore-1"
        assert (OTHER_SALT[2:] in intent.data_hex, SALT[2:] in intent.data_hex) == (
            False,
            phase is Phase.REVEAL,
        )
    return phase


def test_a_verdict_is_committed_in_time_and_revealed_after_it() -> None:
    item = Item(logical_id="x", proposal_id=7, status=1, score=5, root="0x" + "01" * 32)
    commitment = commitment_for(
        chain_id=1,
        registry=REGISTRY,
        submission=item.submission,
        round_=1,
        scorer=SCORER,
        salt=bytes.fromhex(SALT[2:]),
    )
    fresh = Sealing(commitment=None, reveal_at=0, now=500)
    made = Sealing(commitment="0x" + commitment.hex(), reveal_at=600, now=599)
    assert sealed(fresh) is Phase.COMMIT
    assert sealed(replace(fresh, reveal_at=600)) is Phase.COMMIT
    assert sealed(replace(fresh, reveal_at=500)) is Phase.WAIT
    assert sealed(made) is Phase.WAIT
    assert sealed(replace(made, now=600)) is Phase.REVEAL
    # What another salt sealed cannot be shown with this one.
    assert sealed(replace(made, now=600), OTHER_SALT) is Phase.WAIT


@pytest.mark.parametrize(
    ("status", "heard"),
    [(SentStatus.CONFIRMED, False), (SentStatus.REVERTED, False), (SentStatus.CANCELLED, True)],
)
async def test_a_commitment_that_an_operator_gives_up_is_not_made_again(
    monkeypatch: pytest.MonkeyPatch, status: SentStatus, heard: bool
) -> None:
    item = Item(logical_id="submitScore-1", proposal_id=7, status=1, score=5, root="0x" + "01" * 32)
    sent = Sent(status=status, logical_id=item.logical_id, reason="an operator cancelled it")
    monkeypatch.setattr(submission, "send_detached", AsyncMock(return_value=sent))
    sealing = Sealing(commitment=None, reveal_at=0, now=500)
    standing = Standing(scorer=SCORER, cancelled=False, entry=None, sealing=sealing)
    place = Place(chain_id=1, registry=REGISTRY, scorer=SCORER)
    found = await submission._sealed(cast("Context", None), place, item, standing, {1: SALT})
    assert found == (sent if heard else None)
    if found is not None:
        ended = judge_sent(standing, found, 0)
        assert ended is not None
        assert ended.status is SubmissionStatus.FAILED


@pytest.mark.parametrize("output", ["{}", '{"votes_root":"0x12"}', '{"votes_root":"0x' + "g" * 64 + '"}'])
def test_an_output_without_a_root_of_votes_is_no_verdict(output: str) -> None:
    with pytest.raises(ProofError, match="votes"):
        verdict_proof(None, [], output)  # type: ignore[arg-type]
