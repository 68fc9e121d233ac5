"""Typed calls and events of OpenZeppelin's Governor, 4.x and 5.x, with all counting modules.

Governor Bravo shares the topics of the events that both have. Those that `ReputationDao` has too are its
bindings' and only named again here.
"""

from dataclasses import dataclass

from contracts.bindings.codec import Event, Function, Parameter
from contracts.bindings.errors import ErrorType
from contracts.bindings.reputation_dao import (
    CAST_VOTE,
    CLOCK,
    CLOCK_MODE,
    COUNTING_MODE,
    PROPOSAL_CANCELED,
    PROPOSAL_DEADLINE,
    PROPOSAL_SNAPSHOT,
    PROPOSAL_VOTES,
    STATE,
    VOTE_CAST,
    ProposalCanceled,
    ProposalState,
    ProposalVotes,
    Support,
    VoteCast,
)

__all__ = [
    "CAST_VOTE",
    "CLOCK",
    "CLOCK_MODE",
    "COUNTING_MODE",
    "FRACTIONAL_SUPPORT",
    "PROPOSAL_CANCELED",
    "PROPOSAL_DEADLINE",
    "PROPOSAL_SNAPSHOT",
    "PROPOSAL_VOTES",
    "STATE",
    "VOTE_CAST",
    "OverrideVoteCast",
    "ProposalCanceled",
    "ProposalCreated",
    "ProposalExecuted",
    "ProposalExtended",
    "ProposalQueued",
    "ProposalState",
    "ProposalVotes",
    "Support",
    "VoteCast",
    "VoteCastWithParams",
    "VoteReduced",
]

FRACTIONAL_SUPPORT = 255
"""The support of a vote whose split stands in its parameters (GovernorCountingFractional)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalCreated:
    """A proposal was made. `vote_start` is its snapshot, `vote_end` its deadline unless that is extended."""

    proposal_id: int
    proposer: str
    targets: tuple[str, ...]
    values: tuple[int, ...]
    signatures: tuple[str, ...]
    calldatas: tuple[bytes, ...]
    vote_start: int
    vote_end: int
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalQueued:
    """A proposal that succeeded waits in its timelock until `eta_seconds`, a Unix time."""

    proposal_id: int
    eta_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalExecuted:
    """A proposal was carried out."""

    proposal_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalExtended:
    """A late quorum moved a deadline (GovernorPreventLateQuorum)."""

    proposal_id: int
    extended_deadline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteCastWithParams:
    """A vote with parameters, whose meaning is the counting module's."""

    voter: str
    proposal_id: int
    support: int
    weight: int
    reason: str
    params: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideVoteCast:
    """A holder voted with the own balance, whoever it is delegated to (GovernorCountingOverridable)."""

    voter: str
    proposal_id: int
    support: int
    weight: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteReduced:
    """A delegate's vote lost the weight of a holder who overrode it after it was cast."""

    delegate: str
    proposal_id: int
    support: int
    weight: int


def _nothing() -> None:
    return None


_ID = ("uint256",)
_NUMBER = ("uint256",)
_ACTIONS = ("address[]", "uint256[]", "bytes[]")

# Writing
PROPOSE = Function(name="propose", inputs=(*_ACTIONS, "string"), outputs=_NUMBER, result=int)
CAST_VOTE_WITH_REASON = Function(
    name="castVoteWithReason", inputs=("uint256", "uint8", "string"), outputs=_NUMBER, result=int
)
CAST_VOTE_WITH_PARAMS = Function(
    name="castVoteWithReasonAndParams",
    inputs=("uint256", "uint8", "string", "bytes"),
    outputs=_NUMBER,
    result=int,
)
CAST_OVERRIDE_VOTE = Function(
    name="castOverrideVote", inputs=("uint256", "uint8", "string"), outputs=_NUMBER, result=int
)
CANCEL = Function(name="cancel", inputs=(*_ACTIONS, "bytes32"), outputs=_NUMBER, result=int)
EXECUTE = Function(name="execute", inputs=(*_ACTIONS, "bytes32"), outputs=_NUMBER, result=int)

# Reading
VOTING_DELAY = Function(name="votingDelay", outputs=_NUMBER, result=int)
VOTING_PERIOD = Function(name="votingPeriod", outputs=_NUMBER, result=int)
QUORUM = Function(name="quorum", inputs=_NUMBER, outputs=_NUMBER, result=int)
SUPER_QUORUM = Function(name="superQuorum", inputs=_NUMBER, outputs=_NUMBER, result=int)
TOKEN = Function(name="token", outputs=("address",), result=str)
GET_VOTES_AT = Function(name="getVotes", inputs=("address", "uint256"), outputs=_NUMBER, result=int)
HAS_VOTED_OVERRIDE = Function(
    name="hasVotedOverride", inputs=("uint256", "address"), outputs=("bool",), result=bool
)
HAS_VOTED = Function(name="hasVoted", inputs=("uint256", "address"), outputs=("bool",), result=bool)

_VOTER = Parameter(name="voter", type="address", indexed=True)
_VOTE = (
    Parameter(name="proposalId", type="uint256"),
    Parameter(name="support", type="uint8"),
    Parameter(name="weight", type="uint256"),
)
_REASON = Parameter(name="reason", type="string")

PROPOSAL_CREATED = Event(
    name="ProposalCreated",
    parameters=(
        Parameter(name="proposalId", type="uint256"),
        Parameter(name="proposer", type="address"),
        Parameter(name="targets", type="address[]"),
        Parameter(name="values", type="uint256[]"),
        Parameter(name="signatures", type="string[]"),
        Parameter(name="calldatas", type="bytes[]"),
        Parameter(name="voteStart", type="uint256"),
        Parameter(name="voteEnd", type="uint256"),
        Parameter(name="description", type="string"),
    ),
    record=ProposalCreated,
)
PROPOSAL_QUEUED = Event(
    name="ProposalQueued",
    parameters=(
        Parameter(name="proposalId", type="uint256"),
        Parameter(name="etaSeconds", type="uint256"),
    ),
    record=ProposalQueued,
)
PROPOSAL_EXECUTED = Event(
    name="ProposalExecuted",
    parameters=(Parameter(name="proposalId", type="uint256"),),
    record=ProposalExecuted,
)
PROPOSAL_EXTENDED = Event(
    name="ProposalExtended",
    parameters=(
        Parameter(name="proposalId", type="uint256", indexed=True),
        Parameter(name="extendedDeadline", type="uint64"),
    ),
    record=ProposalExtended,
)
VOTE_CAST_WITH_PARAMS = Event(
    name="VoteCastWithParams",
    parameters=(_VOTER, *_VOTE, _REASON, Parameter(name="params", type="bytes")),
    record=VoteCastWithParams,
)
OVERRIDE_VOTE_CAST = Event(
    name="OverrideVoteCast", parameters=(_VOTER, *_VOTE, _REASON), record=OverrideVoteCast
)
VOTE_REDUCED = Event(
    name="VoteReduced",
    parameters=(Parameter(name="delegate", type="address", indexed=True), *_VOTE),
    record=VoteReduced,
)

ERRORS = (
    ErrorType("ERC5805FutureLookup(uint256 timepoint, uint48 clock)"),
    ErrorType("GovernorAlreadyCastVote(address voter)"),
    ErrorType("GovernorAlreadyOverriddenVote(address account)"),
    ErrorType("GovernorExceedRemainingWeight(address voter, uint256 usedVotes, uint256 remainingWeight)"),
    ErrorType("GovernorInvalidVoteParams()"),
    ErrorType("GovernorInvalidVoteType()"),
    ErrorType("GovernorNonexistentProposal(uint256 proposalId)"),
    ErrorType("GovernorUnableToCancel(uint256 proposalId, address account)"),
    ErrorType("GovernorUnexpectedProposalState(uint256 proposalId, uint8 current, bytes32 expectedStates)"),
)
