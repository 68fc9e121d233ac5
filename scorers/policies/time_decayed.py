"""Time-decayed: a vote weighs less, the later it was cast; half as much for each `half_life_s`.

    counted = floor(weight x (2h - r) / (2h x 2^k)),    age = k x h + r,  0 <= r < h

h is `half_life_s`, the age the seconds between the blocks of the proposal's creation and of the vote. This
is weight x 2^(-age/h) at every multiple of h and the straight line between two of them, which unlike the
power is exact in integers. After the half-life of reputation in Colony's white paper, applied to votes: one
that comes when nobody can answer it any more counts for less.
"""

from __future__ import annotations

from dataclasses import dataclass

from scorers.policies.base import Weighting
from scorers.policies.facts import VoteFacts
from scorers.policies.inputs import Input, VoteTimes

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeDecayed(Weighting):
    """`half_life_s` is in seconds of the chain's own timestamps, whatever the DAO's clock counts."""

    NAME = "time-decayed"
    half_life_s: int = 7 * DAY_S

    def __post_init__(self) -> None:
        if self.half_life_s < 1:
            raise ValueError(f"half_life_s is a number of seconds from 1 on, not {self.half_life_s}")

    def inputs(self) -> tuple[Input, ...]:
        """Name the times of the votes."""
        return (VoteTimes(),)

    def weigh(self, vote: VoteFacts) -> int:
        """Return what is left of what was cast."""
        halvings, rest = divmod(vote.age_s, self.half_life_s)
        if halvings >= 256:  # nothing of 256 bits is left
            return 0
        return vote.weight * (2 * self.half_life_s - rest) // (2 * self.half_life_s << halvings)
