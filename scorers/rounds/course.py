"""Where a registry's rounds stand for one proposal and one key, as one batch of calls, and what is due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.bindings import Function, proposal_scores
from contracts.bindings.proposal_scores import Course, Stage
from contracts.transactions import Intent
from scorers.values import Proposal

COURSE_CALLS = 5
STAGGER_S = 15
STAGGERS = 8
"""By its address each scorer waits so many times so many seconds before it does what any of them could."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseOf:
    """What a registry says of a proposal: the rules of its rounds, and whether the key is `admitted` now."""

    course: Course
    rounds_max: int
    round_window: int
    commit_window: int
    admitted: bool

    @property
    def round(self) -> int:
        """The round that takes submissions."""
        return self.course.round

    @property
    def has_rounds(self) -> bool:
        """Whether more than the first submission may count."""
        return self.round_window > 0

    @property
    def final(self) -> bool:
        """Whether the verdict never changes."""
        return self.course.stage is Stage.FINAL

    @property
    def reveal_at(self) -> int:
        """When commitments end, 0 before the round has begun."""
        return self.course.started_at + self.commit_window if self.course.started_at else 0

    def due(self, now: int, late_s: int = 0) -> Function[None] | None:
        """Return what anybody may do `late_s` seconds ago, None if nothing: finality, or the next round."""
        course = self.course
        if course.stage is Stage.FINAL or course.until == 0 or now < course.until + late_s:
            return None
        if course.stage is not Stage.OPEN:
            return proposal_scores.FINALIZE
        # After the last round the admin resolves.
        return proposal_scores.OPEN_ROUND if course.round < self.rounds_max else None


def course_calls(place: tuple[str, int], scorer: str) -> list[tuple[str, bytes]]:
    """Return the calls at a registry for a proposal: `COURSE_CALLS` of them."""
    registry, number = place
    return [
        (registry, proposal_scores.COURSE_OF.encode(number)),
        (registry, proposal_scores.ROUNDS_MAX.encode()),
        (registry, proposal_scores.ROUND_WINDOW.encode()),
        (registry, proposal_scores.COMMIT_WINDOW.encode()),
        (registry, proposal_scores.MAY_SCORE.encode(number, scorer)),
    ]


def read_course(answers: Sequence[bytes]) -> CourseOf:
    """Return what the answers to `course_calls` say."""
    return CourseOf(
        course=proposal_scores.COURSE_OF.decode(answers[0]),
        rounds_max=proposal_scores.ROUNDS_MAX.decode(answers[1]),
        round_window=proposal_scores.ROUND_WINDOW.decode(answers[2]),
        commit_window=proposal_scores.COMMIT_WINDOW.decode(answers[3]),
        admitted=proposal_scores.MAY_SCORE.decode(answers[4]),
    )


def stagger_s(sender: str) -> int:
    """Return how long this key lets others go first."""
    return int(sender, 16) % STAGGERS * STAGGER_S


def push_intent(function: str, proposal: Proposal, sender: str, name: str) -> Intent:
    """Return the transaction that does what is due; `function` is its name, `name` tells repeats apart."""
    call = {each.name: each for each in (proposal_scores.FINALIZE, proposal_scores.OPEN_ROUND)}[function]
    place = f"{proposal.chain_id}-{proposal.registry}-{proposal.proposal_id}"
    return Intent(
        chain_id=proposal.chain_id,
        sender=sender,
        to=proposal.registry,
        data_hex="0x" + call.encode(proposal.proposal_id).hex(),
        logical_id=f"{function}-{place}-{sender}-{name}",
    )
