"""The rules of eligibility: predicates that are asked in their order, the first objection decides.

They see what weightings see, and lists that stand in the policy itself, and so in every bundle and in the
hash that the DAO's admin registers.
"""

from __future__ import annotations

from dataclasses import dataclass

from scorers.policies.base import Rule
from scorers.policies.facts import VoteFacts
from scorers.policies.inputs import FirstVotes, Input
from scorers.policies.parameters import addresses, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimumWeight(Rule):
    """The voter's standing is at least `weight`.

    The standing is the reputation where the policy reads a contract's, and what the DAO entitles to
    otherwise.
    """

    NAME = "minimum-weight"
    weight: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.weight < 2**256:
            raise ValueError(f"weight is a number from 0 to 2^256 - 1, not {self.weight}")

    def objection(self, vote: VoteFacts) -> str | None:
        """Refuse a voter who is too light."""
        return "below the minimum weight" if vote.standing < self.weight else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstVoteBefore(Rule):
    """The voter had voted in this DAO in a block before that of the proposal's creation.

    Votes before block `since_block` are not looked at.
    """

    NAME = "first-vote-before"
    since_block: int = 0

    def __post_init__(self) -> None:
        if self.since_block < 0:
            raise ValueError(f"since_block is a block's number, not {self.since_block}")

    def inputs(self) -> tuple[Input, ...]:
        """Name the first votes."""
        return (FirstVotes(since_block=self.since_block),)

    def objection(self, vote: VoteFacts) -> str | None:
        """Refuse a voter without a vote before this proposal."""
        return None if vote.voted_before else "no vote in this DAO before the proposal"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowList(Rule):
    """The voter is one of `voters`, addresses."""

    NAME = "allow-list"
    voters: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "voters", addresses("voters", self.voters))

    def objection(self, vote: VoteFacts) -> str | None:
        """Refuse whoever is not listed."""
        return None if listed(self.voters, vote.voter) else "not on the allow list"


@dataclass(frozen=True, slots=True, kw_only=True)
class DenyList(Rule):
    """The voter is none of `voters`, addresses."""

    NAME = "deny-list"
    voters: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "voters", addresses("voters", self.voters))

    def objection(self, vote: VoteFacts) -> str | None:
        """Refuse whoever is listed."""
        return "on the deny list" if listed(self.voters, vote.voter) else None
