"""A policy of your own: a template to copy, rename and change (`dao-scorer policy template`).

Keep to one file. Import only `scorers.policies` and what computes exactly; the digest of this file is part
of the policy's hash, so any change of it is another policy. Hold it against the test kit before you use it:

    from scorers.testing import assert_policy

    def test_policy():
        assert_policy(CappedWeight(cap=1_000), rules=[NoAbstention()])
"""

from __future__ import annotations

from dataclasses import dataclass

from scorers.policies import Rule, VoteFacts, Weighting, share_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CappedWeight(Weighting):
    """Votes weigh what they weigh in the DAO, up to a cap for each voter.

    counted = floor(min(entitled, cap) x weight / entitled)
    """

    VERSION = 1
    cap: int = 1_000

    def __post_init__(self) -> None:
        if self.cap < 1:
            raise ValueError(f"cap is a number from 1 on, not {self.cap}")

    def weigh(self, vote: VoteFacts) -> int:
        """Return the voter's capped weight, or the part of it that goes with this vote."""
        return share_of(min(vote.entitled, self.cap), vote)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAbstention(Rule):
    """Abstentions are left out instead of being reported."""

    VERSION = 1

    def objection(self, vote: VoteFacts) -> str | None:
        """Refuse who abstains."""
        return "abstained" if vote.support == 2 else None
