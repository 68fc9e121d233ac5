"""The two kinds of parts that a policy is made of: a weighting, and rules of eligibility.

Both are frozen dataclasses whose fields are parameters of type int, str, bool or tuple[str, ...]; each
field is part of the policy's hash. Neither reads anything but its fields and the facts of a vote.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from scorers.policies.facts import VoteFacts
from scorers.policies.inputs import Input


class Part(ABC):  # noqa: B024 - abstract by its two kinds
    """What weightings and rules share. `NAME` is for those of this package; own ones go by their module."""

    __slots__ = ()
    NAME: ClassVar[str] = ""
    VERSION: ClassVar[int] = 1

    def inputs(self) -> tuple[Input, ...]:
        """Return the inputs beside the votes that have to be read."""
        return ()


class Weighting(Part):
    """Says what each vote that counts adds to its side."""

    __slots__ = ()

    @abstractmethod
    def weigh(self, vote: VoteFacts) -> int:
        """Return the weight of a vote, from 0 to 2^256 - 1, in a unit of the policy's own."""


class Rule(Part):
    """Says which votes count."""

    __slots__ = ()

    @abstractmethod
    def objection(self, vote: VoteFacts) -> str | None:
        """Return why a vote does not count, in a few words; None if this rule has nothing against it."""


def share_of(power: int, vote: VoteFacts) -> int:
    """Return the part of a voter's `power` that goes with this vote, rounded down.

    All of it, unless the DAO let the voter split the weight over several votes: then in proportion, so that
    splitting never adds to a vote.
    """
    return power if vote.weight == vote.entitled else power * vote.weight // vote.entitled
