"""Token-weighted: a vote weighs what the DAO itself counts.

    counted = weight

The weight is the DAO's own, taken at the proposal's snapshot: the votes of its token, delegations included,
as OpenZeppelin's GovernorVotes and Compound's Governor Bravo count them.
"""

from __future__ import annotations

from dataclasses import dataclass

from scorers.policies.base import Weighting
from scorers.policies.facts import VoteFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWeighted(Weighting):
    """One unit of the DAO's votes, one unit of the score's."""

    NAME = "token-weighted"

    def weigh(self, vote: VoteFacts) -> int:
        """Return what was cast."""
        return vote.weight
