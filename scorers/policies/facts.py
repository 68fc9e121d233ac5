"""What a policy sees of one vote: facts of the chain, and nothing else.

An input that the policy does not name cannot be looked at, so that no result depends on what was not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from scorers.policies.errors import UnnamedInput

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedInputs:
    """The inputs of one vote; None where the policy names no such input."""

    reputation: int | None = None
    closed: int | None = None
    taken_part: int | None = None
    voted_before: bool | None = None
    age_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteFacts:
    """One vote. `weight` is what was cast, `entitled` all that the voter could cast, in the DAO's units.

    They differ only where a DAO lets votes be split. `support` is 0 against, 1 for, 2 abstain; `voter` is
    lower-case text. `overriding` marks the vote of a holder who took the own balance back from a delegate.
    """

    voter: str
    support: int
    weight: int
    entitled: int
    overriding: bool = False
    named: NamedInputs = NamedInputs()

    @property
    def reputation(self) -> int:
        """What the named contract says of the voter at the snapshot (`ReputationAt`)."""
        return _named(self.named.reputation, "ReputationAt")

    @property
    def standing(self) -> int:
        """The reputation where the policy names a contract, and what the DAO entitles to otherwise."""
        return self.entitled if self.named.reputation is None else self.named.reputation

    @property
    def closed(self) -> int:
        """How many closed proposals were looked at, at most as many as were asked for (`Participations`)."""
        return _named(self.named.closed, "Participations")

    @property
    def taken_part(self) -> int:
        """In how many of them the voter has voted (`Participations`)."""
        return _named(self.named.taken_part, "Participations")

    @property
    def voted_before(self) -> bool:
        """Whether the voter had voted in this DAO before the proposal was made (`FirstVotes`)."""
        return _named(self.named.voted_before, "FirstVotes")

    @property
    def age_s(self) -> int:
        """Seconds between the blocks of the proposal's creation and of this vote (`VoteTimes`)."""
        return _named(self.named.age_s, "VoteTimes")


def _named(value: T | None, name: str) -> T:
    if value is None:
        raise UnnamedInput(name)
    return value
