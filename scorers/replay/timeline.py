"""The recorded time line as a list of actions: who does what, and when.

Pure: the order and the weights are decided here, the sending elsewhere. Reputation at a proposal's snapshot
is set just before the proposal is made, in one batch for all of its voters whose weight differs from what
they have by then; the contract checkpoints it, so later batches change nothing for earlier proposals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge

from scorers.replay.dataset import PASS, Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReputations:
    """The admin sets what these voters weigh from now on."""

    at: int
    voters: tuple[str, ...]
    amounts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Propose:
    """The proposer makes the `number`-th proposal (counted from 1, as the contract counts)."""

    at: int
    proposer: str
    content_hash: bytes
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CastVote:
    """The voter votes, for itself, on the `number`-th proposal."""

    at: int
    voter: str
    number: int
    in_favour: bool


Action = SetReputations | Propose | CastVote


def timeline(proposals: Sequence[Proposal]) -> list[Action]:
    """Return all actions in order of recorded time (Unix seconds); give proposals in order of creation."""
    votes = sorted(_votes(proposals), key=lambda action: action.at)
    return list(merge(_creations(proposals), votes, key=lambda action: action.at))


def voting_period(proposals: Sequence[Proposal]) -> int:
    """Return the shortest whole number of days, in seconds, in which every recorded vote falls."""
    day = 86_400
    spans = [vote.cast_at - proposal.created_at for proposal in proposals for vote in proposal.votes]
    return (max(spans, default=0) // day + 2) * day


def _creations(proposals: Sequence[Proposal]) -> Iterator[Action]:
    weights: dict[str, int] = {}
    for number, proposal in enumerate(proposals, 1):
        changed = {
            vote.voter: vote.weight for vote in proposal.votes if weights.get(vote.voter) != vote.weight
        }
        if changed:
            weights.update(changed)
            yield SetReputations(
                at=proposal.created_at, voters=tuple(changed), amounts=tuple(changed.values())
            )
        yield Propose(
            at=proposal.created_at,
            proposer=proposal.proposer,
            content_hash=proposal.content_hash,
            number=number,
        )


def _votes(proposals: Sequence[Proposal]) -> Iterator[CastVote]:
    for number, proposal in enumerate(proposals, 1):
        for vote in proposal.votes:
            yield CastVote(at=vote.cast_at, voter=vote.voter, number=number, in_favour=vote.outcome == PASS)
