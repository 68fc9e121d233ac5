"""Participation-adjusted: a vote weighs more, the more of the last closed proposals its voter took part in.

    counted = floor(weight x (base_bps x n + (10,000 - base_bps) x t) / (10,000 x n))

n is the number of the last `last` closed proposals: those whose deadline lies before this proposal's
snapshot, ordered by deadline and id; t in how many of them the voter cast a vote, of whatever support.
While no proposal has closed yet, n = 0, a vote weighs what was cast. `base_bps` is the part of the weight
that everybody keeps, in basis points: with 0 the share alone decides, and who has never voted weighs
nothing. The share of recent votes is how delegates' participation is commonly reported, by Tally and Karma
among others.
"""

from __future__ import annotations

from dataclasses import dataclass

from scorers.policies.base import Weighting
from scorers.policies.facts import VoteFacts
from scorers.policies.inputs import Input, Participations

WHOLE_BPS = 10_000
LAST_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipationAdjusted(Weighting):
    """`last` proposals are looked at, made in block `since_block` or later."""

    NAME = "participation-adjusted"
    last: int = 10
    base_bps: int = 5_000
    since_block: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.last <= LAST_MAX:
            raise ValueError(f"last is a number from 1 to {LAST_MAX}, not {self.last}")
        if not 0 <= self.base_bps <= WHOLE_BPS:
            raise ValueError(f"base_bps is a number from 0 to {WHOLE_BPS}, not {self.base_bps}")
        if self.since_block < 0:
            raise ValueError(f"since_block is a block's number, not {self.since_block}")

    def inputs(self) -> tuple[Input, ...]:
        """Name the closed proposals."""
        return (Participations(last=self.last, since_block=self.since_block),)

    def weigh(self, vote: VoteFacts) -> int:
        """Return what was cast, less the part that participation did not earn."""
        if vote.closed == 0:
            return vote.weight
        earned = self.base_bps * vote.closed + (WHOLE_BPS - self.base_bps) * vote.taken_part
        return vote.weight * earned // (WHOLE_BPS * vote.closed)
