"""Quadratic: a vote weighs the square root of what its voter could cast.

    counted = floor(floor(sqrt(entitled)) x weight / entitled)

The root is the exact integer square root. `weight / entitled` is 1 unless the DAO lets votes be split: it
is the voter's whole power that grows with the root, and splitting a vote never adds to it. After Lalley and
Weyl, "Quadratic Voting: How Mechanism Design Can Radicalize Democracy" (2018), with votes in the place of
credits. It cannot tell one holder with many addresses from many holders.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from scorers.policies.base import Weighting, share_of
from scorers.policies.facts import VoteFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Quadratic(Weighting):
    """Four times the tokens, twice the weight."""

    NAME = "quadratic"

    def weigh(self, vote: VoteFacts) -> int:
        """Return the voter's power, or the part of it that goes with this vote."""
        return share_of(isqrt(vote.entitled), vote)
