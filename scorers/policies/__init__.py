"""Scoring policies: what each vote weighs, and which votes count, as small pure frozen classes.

One file a policy; `rules` are the predicates of eligibility, `own` finds a user's classes. Nothing here
reads a chain: a policy names the inputs that it needs (`inputs`), a committed step reads them, pinned to the
proposal's blocks, and the policy sees them as `VoteFacts`. All numbers are integers.

A released file never changes: its SHA-256 is part of the hash that a DAO's admin registers. A better formula
is a new version in a new file.
"""

from scorers.policies.base import Rule, Weighting, share_of
from scorers.policies.errors import PolicyError, UnnamedInput
from scorers.policies.facts import VoteFacts
from scorers.policies.inputs import FirstVotes, Input, Participations, ReputationAt, VoteTimes
from scorers.policies.participation_adjusted import ParticipationAdjusted
from scorers.policies.quadratic import Quadratic
from scorers.policies.reputation_weighted import ReputationWeighted
from scorers.policies.rules import AllowList, DenyList, FirstVoteBefore, MinimumWeight
from scorers.policies.time_decayed import TimeDecayed
from scorers.policies.token_weighted import TokenWeighted

__all__ = [
    "AllowList",
    "DenyList",
    "FirstVoteBefore",
    "FirstVotes",
    "Input",
    "MinimumWeight",
    "ParticipationAdjusted",
    "Participations",
    "PolicyError",
    "Quadratic",
    "ReputationAt",
    "ReputationWeighted",
    "Rule",
    "TimeDecayed",
    "TokenWeighted",
    "UnnamedInput",
    "VoteFacts",
    "VoteTimes",
    "Weighting",
    "share_of",
]
