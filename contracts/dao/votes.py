"""What the voters said, from a DAO's logs: exact, whichever way it counts.

A split vote becomes one `Vote` for each side that has weight; a holder's override is marked, and the
`Reduction` that it causes names the delegate's side. Sums of the votes less the reductions are what the DAO
itself counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.bindings import Log, governor
from contracts.bindings.governor import Support, VoteCastWithParams
from contracts.dao.face import Counting, Dao

_FRACTION_BYTES = 16
_SIDES = (Support.AGAINST, Support.FOR, Support.ABSTAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """Weight that a voter gave to one side. `overriding`: the own balance, taken back from a delegate."""

    voter: str
    support: int
    weight: int
    overriding: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """Weight that a delegate's vote, cast before, lost to a holder who voted for itself."""

    voter: str
    support: int
    weight: int


VoteEvent = Vote | Reduction


def votes_in(dao: Dao, proposal_id: int, logs: Iterable[Log]) -> list[tuple[Log, VoteEvent]]:
    """Return what the logs say of one proposal, in the order of the chain; each log counts once.

    Logs of other proposals and of other events are passed over. Raises DecodeError for a malformed one.
    """
    # Every vote event indexes its voter only, and has the proposal's id as the first word of its data.
    word, topics = proposal_id.to_bytes(32, "big"), set(dao.vote_topics)
    ours = {
        (log.block_number, log.log_index): log
        for log in logs
        if log.data[:32] == word and log.topics and log.topics[0] in topics
    }
    return [(ours[place], event) for place in sorted(ours) for event in decode_vote(dao, ours[place])]


def decode_vote(dao: Dao, log: Log) -> list[VoteEvent]:
    """Return what one log of a vote says: one event, or one for each side of a split vote.

    Raises DecodeError if the log is of no vote or malformed.
    """
    if governor.VOTE_CAST_WITH_PARAMS.matches(log):
        return _with_parameters(dao, governor.VOTE_CAST_WITH_PARAMS.decode(log))
    if governor.VOTE_REDUCED.matches(log):
        reduced = governor.VOTE_REDUCED.decode(log)
        return [Reduction(voter=reduced.delegate.lower(), support=reduced.support, weight=reduced.weight)]
    overriding = governor.OVERRIDE_VOTE_CAST.matches(log)
    cast = governor.OVERRIDE_VOTE_CAST.decode(log) if overriding else governor.VOTE_CAST.decode(log)
    return [Vote(voter=cast.voter.lower(), support=cast.support, weight=cast.weight, overriding=overriding)]


def _with_parameters(dao: Dao, cast: VoteCastWithParams) -> list[VoteEvent]:
    """Read the split from the parameters where the DAO does; elsewhere they mean nothing.

    OpenZeppelin's module packs three 128-bit numbers, against, for and abstain, beside a support of 255; the
    older flexible voting does the same beside any support.
    """
    voter = cast.voter.lower()
    if dao.form.counting is not Counting.FRACTIONAL or len(cast.params) != _FRACTION_BYTES * len(_SIDES):
        return [Vote(voter=voter, support=cast.support, weight=cast.weight)]
    parts = [
        int.from_bytes(cast.params[start : start + _FRACTION_BYTES], "big")
        for start in range(0, len(cast.params), _FRACTION_BYTES)
    ]
    return [
        Vote(voter=voter, support=int(side), weight=part)
        for side, part in zip(_SIDES, parts, strict=True)
        if part > 0
    ]
