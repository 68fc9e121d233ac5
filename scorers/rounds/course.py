"""Where a registry's rounds stand for one proposal and one key, as one batch of calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.bindings import proposal_scores
from contracts.bindings.proposal_scores import Stage

COURSE_CALLS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseOf:
    """The round that takes submissions. `started_at` is 0 before any; `admitted` tells of the key."""

    round: int
    started_at: int
    final: bool
    has_rounds: bool
    commit_window: int
    admitted: bool


def course_calls(place: tuple[str, int], scorer: str) -> list[tuple[str, bytes]]:
    """Return the calls at a registry for a proposal: `COURSE_CALLS` of them."""
    registry, number = place
    return [
        (registry, proposal_scores.COURSE_OF.encode(number)),
        (registry, proposal_scores.ROUND_WINDOW.encode()),
        (registry, proposal_scores.COMMIT_WINDOW.encode()),
        (registry, proposal_scores.MAY_SCORE.encode(number, scorer)),
    ]


def read_course(answers: Sequence[bytes]) -> CourseOf:
    """Return what the answers to `course_calls` say."""
    course = proposal_scores.COURSE_OF.decode(answers[0])
    return CourseOf(
        round=course.round,
        started_at=course.started_at,
        final=course.stage is Stage.FINAL,
        has_rounds=proposal_scores.ROUND_WINDOW.decode(answers[1]) > 0,
        commit_window=proposal_scores.COMMIT_WINDOW.decode(answers[2]),
        admitted=proposal_scores.MAY_SCORE.decode(answers[3]),
    )
