"""The inputs that a policy may name: facts of the chain beside the votes, each pinned to the proposal.

Which blocks and timepoints they are read at, and how, stands in `scorers.steps.policy_inputs`.
`since_block` is the first block whose history counts: a parameter of the policy, so that everybody reads
the same.
"""

from __future__ import annotations

from dataclasses import dataclass

PAST_VOTES, PRIOR_VOTES, BALANCE_AT, BALANCE = "getPastVotes", "getPriorVotes", "balanceOfAt", "balanceOf"
REPUTATION_FUNCTIONS = (PAST_VOTES, PRIOR_VOTES, BALANCE_AT, BALANCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReputationAt:
    """What `contract` says of each voter at the proposal's snapshot, by one of `REPUTATION_FUNCTIONS`."""

    contract: str
    function: str = PAST_VOTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Participations:
    """In which of the `last` proposals that were closed before the snapshot each voter took part."""

    last: int
    since_block: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstVotes:
    """The block of each voter's first vote in this DAO before the block of the proposal's creation."""

    since_block: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteTimes:
    """The timestamps of the blocks in which the proposal was made and its votes were cast, in seconds."""


Input = ReputationAt | Participations | FirstVotes | VoteTimes
