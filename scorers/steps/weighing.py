"""A policy applied to votes: its rules are asked, and what is left is weighed.

Pure: the classes that a statement names are looked up among those that are known, never imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from orchestrator.commitments import Uint256
from scorers.policies.base import Part, Rule, Weighting
from scorers.policies.errors import PolicyError
from scorers.policies.facts import NamedInputs, VoteFacts
from scorers.policies.statement import Asked, PolicyParts, parts_of
from scorers.values import AppliedPolicy, Ballot, CountedVote, PolicyInputs, Reason, SetAside, Weighing

T = TypeVar("T")

WEIGHT_MAX = 2**256 - 1
Examined = tuple[Ballot, Uint256, Reason | None]
"""A ballot, what its voter is entitled to, and why it counts by no policy, if so."""


def weigh_votes(policy: AppliedPolicy, examined: Sequence[Examined]) -> Weighing:
    """Divide the ballots by the policy's rules, and weigh those that count. Raises PolicyError."""
    parts = parts_of(policy.statement)
    inputs = _Lookup(parts.asked, policy.inputs)
    counted: list[CountedVote] = []
    excluded: list[SetAside] = []
    for ballot, entitled, fault in examined:
        facts = inputs.facts_of(ballot, entitled)
        reason = str(fault) if fault is not None else _objection(parts, facts)
        if reason is None:
            counted.append(CountedVote(ballot=ballot, weight=weight_of(parts.weighting, facts)))
        else:
            excluded.append(SetAside(ballot=ballot, reason=reason))
    return Weighing(counted=counted, excluded=excluded)


def _objection(parts: PolicyParts, facts: VoteFacts) -> str | None:
    objections = (objection_of(rule, facts) for rule in parts.rules)
    return next((reason for reason in objections if reason is not None), None)


def objection_of(rule: Rule, facts: VoteFacts) -> str | None:
    """Return why a rule does not let a vote count. Raises PolicyError unless it is a text, or None."""
    reason = _answer(rule, rule.objection, facts)
    if reason is not None and (type(reason) is not str or not reason):
        raise PolicyError(type(rule).__qualname__, f"it objects {reason!r}: return a text, or None")
    return reason


def weight_of(weighting: Weighting, facts: VoteFacts) -> int:
    """Return what a vote weighs. Raises PolicyError unless it is a whole number of 256 bits."""
    weight = _answer(weighting, weighting.weigh, facts)
    if type(weight) is not int or not 0 <= weight <= WEIGHT_MAX:
        name = type(weighting).__qualname__
        raise PolicyError(name, f"the vote of {facts.voter} weighs {weight!r}: return an int of 256 bits")
    return weight


def _answer(part: Part, question: Callable[[VoteFacts], T], facts: VoteFacts) -> T:
    """Ask a part of a policy; what a class of one's own raises is a fault of the policy, by its name."""
    try:
        return question(facts)
    except Exception as error:
        reason = f"it raises {type(error).__name__} for the vote of {facts.voter}: {error}"
        raise PolicyError(type(part).__qualname__, reason) from error


class _Lookup:
    """The inputs by voter and block."""

    def __init__(self, asked: Asked, inputs: PolicyInputs) -> None:
        self._asked = asked
        self._reputations = {each.voter: each.weight for each in inputs.reputations}
        self._closed = len(inputs.closed_proposals)
        self._taken = {each.voter: len(each.proposals) for each in inputs.participations}
        self._first = {each.voter for each in inputs.first_votes}
        self._times = {each.block_number: each.timestamp for each in inputs.block_times}
        self._created = inputs.block_times[0].timestamp if inputs.block_times else 0

    def facts_of(self, ballot: Ballot, entitled: int) -> VoteFacts:
        """Return what the policy sees of a ballot. Raises PolicyError where an input lacks it."""
        return VoteFacts(
            voter=ballot.voter,
            support=ballot.support,
            weight=ballot.weight,
            entitled=entitled,
            overriding=ballot.overriding,
            named=self._named(ballot),
        )

    def _named(self, ballot: Ballot) -> NamedInputs:
        asked = self._asked
        try:
            return NamedInputs(
                reputation=self._reputations[ballot.voter] if asked.reputation else None,
                closed=self._closed if asked.participations else None,
                taken_part=self._taken.get(ballot.voter, 0) if asked.participations else None,
                voted_before=ballot.voter in self._first if asked.first_votes else None,
                age_s=self._times[ballot.block_number] - self._created if asked.times else None,
            )
        except KeyError as error:
            raise PolicyError("inputs", f"they tell nothing of {error}") from error
