"""Reputation-weighted: a vote weighs its voter's reputation at the proposal's snapshot.

    counted = floor(reputation x weight / entitled)

`weight / entitled` is 1 unless the DAO lets votes be split. The reputation is what `contract` answers to
`function` for the voter: ERC-5805's getPastVotes, Compound's getPriorVotes, MiniMe's balanceOfAt (DAOstack's
Reputation), or balanceOf at the snapshot's block, which needs an archive node. Without a contract it is the
reputation that the DAO itself votes with.
"""

from __future__ import annotations

from dataclasses import dataclass

from scorers.policies.base import Weighting, share_of
from scorers.policies.facts import VoteFacts
from scorers.policies.inputs import PAST_VOTES, REPUTATION_FUNCTIONS, Input, ReputationAt
from scorers.policies.parameters import address


@dataclass(frozen=True, slots=True, kw_only=True)
class ReputationWeighted(Weighting):
    """`contract` is an address, empty for the DAO's own reputation; `function` how it is asked."""

    NAME = "reputation-weighted"
    VERSION = 2
    contract: str = ""
    function: str = PAST_VOTES

    def __post_init__(self) -> None:
        if self.contract:
            object.__setattr__(self, "contract", address("contract", self.contract))
        if self.function not in REPUTATION_FUNCTIONS:
            known = ", ".join(REPUTATION_FUNCTIONS)
            raise ValueError(f"function {self.function!r} is not known: choose one of {known}")

    def inputs(self) -> tuple[Input, ...]:
        """Name the contract, if there is one."""
        return (ReputationAt(contract=self.contract, function=self.function),) if self.contract else ()

    def weigh(self, vote: VoteFacts) -> int:
        """Return the voter's reputation, or the part of it that goes with this vote."""
        return share_of(vote.reputation, vote) if self.contract else vote.weight
