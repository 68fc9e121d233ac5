"""One face of every DAO that can be read: which events to watch, which calls to make, what they mean.

Pure: a `Dao` is a value, and its methods make and read bytes. A `DaoForm` holds what the chain said of the
contract and no height, time or node, so that it may stand in a committed step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar
from urllib.parse import parse_qsl

from eth_utils.crypto import keccak

from contracts.bindings import (
    DecodeError,
    Function,
    Log,
    governor,
    governor_bravo,
    reputation_dao,
    votes_token,
)
from contracts.bindings.governor import ProposalState, ProposalVotes
from contracts.dao.errors import UnknownCounting

BLOCK_CLOCK = "mode=blocknumber&from=default"
TIMESTAMP_CLOCK = "mode=timestamp"
R = TypeVar("R")


class DaoKind(StrEnum):
    """Which contract it is."""

    REPUTATION = "reputation-dao"
    GOVERNOR = "openzeppelin-governor"
    BRAVO = "governor-bravo"


class Counting(StrEnum):
    """How a voter's weight becomes votes.

    SIMPLE: all of it, once. FRACTIONAL: split, and in several votes. OVERRIDABLE: a delegate's vote loses
    what its delegators vote themselves.
    """

    SIMPLE = "simple"
    FRACTIONAL = "fractional"
    OVERRIDABLE = "overridable"


class WeightSource(StrEnum):
    """The function that tells a voter's weight at a snapshot."""

    PAST_VOTES = "getPastVotes"
    """Of the DAO itself if it is a ReputationDao, of the token otherwise."""
    VOTES_AT = "getVotes"
    """Of the Governor, which asks its token or whatever else it weighs by."""
    PRIOR_VOTES = "getPriorVotes"
    """Of a token like COMP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaoForm:
    """What a probe found. Addresses are lower-case text; `token` is empty where it is not needed.

    `counting_mode` and `clock_mode` are the contract's own words, empty where it has none: such a contract
    counts by Bravo's rules, and blocks. `early_end`: a super-quorum ends votes before their deadline.
    """

    kind: DaoKind
    counting: Counting = Counting.SIMPLE
    weights: WeightSource = WeightSource.PAST_VOTES
    counting_mode: str
    clock_mode: str
    early_end: bool = False
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Generic[R]):
    """A call to make and how its answer is read: `decode(await node.call(*read.call, block))`."""

    to: str
    data: bytes
    decode: Callable[[bytes], R]

    @property
    def call(self) -> tuple[str, bytes]:
        """Address and call data, as `Node.call_many` takes them."""
        return self.to, self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedProposal:
    """A proposal's creation, whichever DAO it is of.

    `content_hash` is the ReputationDao's own, and keccak256 of the description with the others.
    """

    proposal_id: int
    content_hash: bytes
    proposer: str


_SUPPORTS = {
    frozenset({"bravo"}): Counting.SIMPLE,
    frozenset({"bravo", "fractional"}): Counting.FRACTIONAL,
    frozenset({"bravo", "override"}): Counting.OVERRIDABLE,
}
_QUORUMS = frozenset({"against", "for", "abstain", "bravo"})


def counting_of(address: str, mode: str) -> Counting:
    """Return what a COUNTING_MODE means; what its quorum counts moves no ballot, but must be known.

    `params=fractional` beside `support=bravo` is the older flexible voting, which splits by the parameters.
    Raises UnknownCounting.
    """
    told: dict[str, set[str]] = {}
    for key, value in parse_qsl(mode, keep_blank_values=True):
        told.setdefault(key, set()).update(value.split(","))
    counting = _SUPPORTS.get(frozenset(told.pop("support", ())))
    quorum, params = told.pop("quorum", set()), told.pop("params", set())
    overridable = told.pop("overridable", set())
    if counting is Counting.SIMPLE and params == {"fractional"}:
        counting = Counting.FRACTIONAL
    expected = (
        {"fractional"} if counting is Counting.FRACTIONAL else set(),
        {"true"} if counting is Counting.OVERRIDABLE else set(),
    )
    if counting is None or told or not quorum <= _QUORUMS or (params, overridable) != expected:
        raise UnknownCounting(address, mode)
    return counting


@dataclass(frozen=True, slots=True, kw_only=True)
class Dao:
    """A DAO that can be read. `address` is lower-case text."""

    address: str
    form: DaoForm

    # -- events

    @property
    def creation_topic(self) -> bytes:
        """The first topic of the event that a proposal begins with."""
        own = self.form.kind is DaoKind.REPUTATION
        return reputation_dao.PROPOSAL_CREATED.topic0 if own else governor.PROPOSAL_CREATED.topic0

    def creation_topics(self, proposal_id: int) -> list[str | None]:
        """Return the filter for one proposal's creation; Governors index nothing, so theirs lets all pass."""
        if self.form.kind is DaoKind.REPUTATION:
            return reputation_dao.PROPOSAL_CREATED.topics(proposal_id=proposal_id)
        return governor.PROPOSAL_CREATED.topics()

    @property
    def lifecycle_topics(self) -> tuple[bytes, ...]:
        """The first topics of the events that begin, move or end a vote: creation first."""
        moves: tuple[bytes, ...] = (governor.PROPOSAL_CANCELED.topic0,)
        if self.form.kind is not DaoKind.REPUTATION:
            moves += (governor.PROPOSAL_QUEUED.topic0, governor.PROPOSAL_EXECUTED.topic0)
        if self.form.kind is DaoKind.GOVERNOR:
            moves += (governor.PROPOSAL_EXTENDED.topic0,)
        return self.creation_topic, *moves

    @property
    def vote_topics(self) -> tuple[bytes, ...]:
        """The first topics of all events by which votes are cast or lose weight."""
        topics: tuple[bytes, ...] = (governor.VOTE_CAST.topic0,)
        if self.form.kind is DaoKind.GOVERNOR:
            topics += (governor.VOTE_CAST_WITH_PARAMS.topic0,)
        if self.form.counting is Counting.OVERRIDABLE:
            topics += (governor.OVERRIDE_VOTE_CAST.topic0, governor.VOTE_REDUCED.topic0)
        return topics

    def created(self, log: Log) -> CreatedProposal:
        """Return the creation that a log tells. Raises DecodeError."""
        if self.form.kind is DaoKind.REPUTATION:
            own = reputation_dao.PROPOSAL_CREATED.decode(log)
            return CreatedProposal(
                proposal_id=own.proposal_id, content_hash=own.content_hash, proposer=own.proposer
            )
        made = governor.PROPOSAL_CREATED.decode(log)
        return CreatedProposal(
            proposal_id=made.proposal_id,
            content_hash=keccak(text=made.description),
            proposer=made.proposer,
        )

    def proposal_of(self, log: Log) -> int:
        """Return the id of the proposal that a lifecycle event is about. Raises DecodeError."""
        # Indexed or not, the id is the first word of what the event tells of the proposal.
        told = b"".join(log.topics[1:]) + log.data
        if log.topics[:1] and log.topics[0] in self.lifecycle_topics and len(told) >= 32:
            return int.from_bytes(told[:32], "big")
        place = f"log {log.log_index} of block {log.block_number}"
        raise DecodeError(place, f"no event of a proposal of {self.address}")

    # -- calls

    @property
    def clocked(self) -> bool:
        """Whether the contract has a `clock()`; without one, `clock_of` asks what its blocks are."""
        return bool(self.form.clock_mode)

    @property
    def mode(self) -> str:
        """How the clock counts, also where the contract does not say."""
        return self.form.clock_mode or BLOCK_CLOCK

    def clock(self) -> Read[int]:
        """Ask for the timepoint at a block; only where `clocked`."""
        return self._read(governor.CLOCK)

    def state(self, proposal_id: int) -> Read[ProposalState]:
        """Ask for the state; all of these DAOs share the ordinals."""
        return self._read(governor.STATE, proposal_id)

    def snapshot(self, proposal_id: int) -> Read[int]:
        """Ask for the timepoint at which weights are taken."""
        if self.form.kind is DaoKind.BRAVO:
            return self._bravo(proposal_id, lambda proposal: proposal.start_block)
        return self._read(governor.PROPOSAL_SNAPSHOT, proposal_id)

    def deadline(self, proposal_id: int) -> Read[int]:
        """Ask for the last timepoint of the vote; it may still be extended."""
        if self.form.kind is DaoKind.BRAVO:
            return self._bravo(proposal_id, lambda proposal: proposal.end_block)
        return self._read(governor.PROPOSAL_DEADLINE, proposal_id)

    def votes(self, proposal_id: int) -> Read[ProposalVotes]:
        """Ask for the DAO's own tally."""
        if self._keeps_bravo_tally:
            return self._bravo(proposal_id, _votes_of)
        return self._read(governor.PROPOSAL_VOTES, proposal_id)

    @property
    def quorum_sides(self) -> frozenset[str]:
        """The votes that count toward the quorum: `for`, `against`, `abstain`; none where nothing says so."""
        if self.form.kind is DaoKind.BRAVO:
            return frozenset({"for"})
        told = dict(parse_qsl(self.form.counting_mode)).get("quorum", "")
        sides = {"for" if side == "bravo" else side for side in told.split(",") if side}
        return frozenset(sides)

    def quorum(self, snapshot: int) -> Read[int]:
        """Ask for the quorum at a snapshot; only where there are `quorum_sides`."""
        if self.form.kind is DaoKind.BRAVO:
            return self._read(governor_bravo.QUORUM_VOTES)
        return self._read(governor.QUORUM, snapshot)

    def super_quorum(self, snapshot: int) -> Read[int]:
        """Ask for the votes in favour that end a vote early; only where the form says `early_end`."""
        return self._read(governor.SUPER_QUORUM, snapshot)

    def weight(self, voter: str, snapshot: int) -> Read[int]:
        """Ask for the weight that a voter may vote with, delegations included."""
        source = self.form.weights
        if source is WeightSource.VOTES_AT:
            return self._read(governor.GET_VOTES_AT, voter, snapshot)
        prior = source is WeightSource.PRIOR_VOTES
        function = votes_token.GET_PRIOR_VOTES if prior else votes_token.GET_PAST_VOTES
        return _read_of(self.form.token or self.address, function, voter, snapshot)

    def overrode(self, proposal_id: int, voter: str) -> Read[bool]:
        """Ask whether a voter took the own balance back from its delegate; only with overridable counting."""
        return self._read(governor.HAS_VOTED_OVERRIDE, proposal_id, voter)

    def own_balance(self, voter: str, snapshot: int) -> Read[int]:
        """Ask for what a voter holds, whoever it is delegated to; only with overridable counting."""
        return _read_of(self.form.token, votes_token.GET_PAST_BALANCE_OF, voter, snapshot)

    def delegate(self, voter: str, snapshot: int) -> Read[str]:
        """Ask for whom a voter's balance is delegated to; only with overridable counting."""
        return _read_of(self.form.token, votes_token.GET_PAST_DELEGATE, voter, snapshot)

    @property
    def _keeps_bravo_tally(self) -> bool:
        """OpenZeppelin's GovernorCompatibilityBravo has Bravo's `proposals(id)` in place of proposalVotes."""
        return self.form.kind is DaoKind.BRAVO or "quorum=bravo" in self.form.counting_mode

    def _read(self, function: Function[R], *arguments: object) -> Read[R]:
        return _read_of(self.address, function, *arguments)

    def _bravo(self, proposal_id: int, part: Callable[[governor_bravo.Proposal], R]) -> Read[R]:
        function = governor_bravo.PROPOSALS
        return Read(
            to=self.address,
            data=function.encode(proposal_id),
            decode=lambda answer: part(function.decode(answer)),
        )


def _read_of(address: str, function: Function[R], *arguments: object) -> Read[R]:
    return Read(to=address, data=function.encode(*arguments), decode=function.decode)


def _votes_of(proposal: governor_bravo.Proposal) -> ProposalVotes:
    return ProposalVotes(
        against=proposal.against_votes, for_=proposal.for_votes, abstain=proposal.abstain_votes
    )
