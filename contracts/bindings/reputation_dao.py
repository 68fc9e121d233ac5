"""Typed calls, events and refusals of `ReputationDao`; all but its own are OpenZeppelin Governor's too."""

from dataclasses import dataclass
from enum import IntEnum

from contracts.bindings.codec import Event, Function, Parameter
from contracts.bindings.errors import ErrorType

NAME = "ReputationDao"
"""The artifact's name; its constructor takes (admin address, voting period, `ClockUnit`)."""


class ClockUnit(IntEnum):
    """What the DAO's clock counts."""

    BLOCK_NUMBER = 0
    TIMESTAMP = 1


class Support(IntEnum):
    """A vote, in the order of Governor's simple counting."""

    AGAINST = 0
    FOR = 1
    ABSTAIN = 2


class ProposalState(IntEnum):
    """OpenZeppelin's IGovernor.ProposalState; `ReputationDao` uses the first five."""

    PENDING = 0
    ACTIVE = 1
    CANCELED = 2
    DEFEATED = 3
    SUCCEEDED = 4
    QUEUED = 5
    EXPIRED = 6
    EXECUTED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalVotes:
    """The DAO's own tally, in units of reputation."""

    against: int
    for_: int
    abstain: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalCreated:
    """A proposal was made; its snapshot is the timepoint of this log's block."""

    proposal_id: int
    content_hash: bytes
    proposer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalCanceled:
    """A proposal was withdrawn."""

    proposal_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteCast:
    """A vote. `support` stays a number, because other Governors count in other ways."""

    voter: str
    proposal_id: int
    support: int
    weight: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReputationSet:
    """A voter's reputation was changed."""

    voter: str
    previous_reputation: int
    reputation: int


def _nothing() -> None:
    return None


def _proposal_votes(against: int, for_: int, abstain: int) -> ProposalVotes:
    return ProposalVotes(against=against, for_=for_, abstain=abstain)


_ID = ("uint256",)
_NUMBER = ("uint256",)
_ROLE = ("bytes32", "address")

DEFAULT_ADMIN_ROLE = bytes(32)

# Writing
SET_REPUTATIONS = Function(name="setReputations", inputs=("address[]", "uint208[]"), result=_nothing)
PROPOSE = Function(name="propose", inputs=("bytes32",), outputs=_NUMBER, result=int)
CAST_VOTE = Function(name="castVote", inputs=("uint256", "uint8"), outputs=_NUMBER, result=int)
CANCEL = Function(name="cancel", inputs=_ID, result=_nothing)
GRANT_ROLE = Function(name="grantRole", inputs=_ROLE, result=_nothing)
REVOKE_ROLE = Function(name="revokeRole", inputs=_ROLE, result=_nothing)
RENOUNCE_ROLE = Function(name="renounceRole", inputs=_ROLE, result=_nothing)

# Reading
CLOCK = Function(name="clock", outputs=("uint48",), result=int)
CLOCK_MODE = Function(name="CLOCK_MODE", outputs=("string",), result=str)
COUNTING_MODE = Function(name="COUNTING_MODE", outputs=("string",), result=str)
VOTING_PERIOD = Function(name="votingPeriod", outputs=("uint48",), result=int)
PROPOSAL_COUNT = Function(name="proposalCount", outputs=_NUMBER, result=int)
GET_VOTES = Function(name="getVotes", inputs=("address",), outputs=_NUMBER, result=int)
GET_PAST_VOTES = Function(name="getPastVotes", inputs=("address", "uint256"), outputs=_NUMBER, result=int)
GET_PAST_TOTAL_SUPPLY = Function(name="getPastTotalSupply", inputs=_NUMBER, outputs=_NUMBER, result=int)
STATE = Function(name="state", inputs=_ID, outputs=("uint8",), result=ProposalState)
PROPOSAL_SNAPSHOT = Function(name="proposalSnapshot", inputs=_ID, outputs=_NUMBER, result=int)
PROPOSAL_DEADLINE = Function(name="proposalDeadline", inputs=_ID, outputs=_NUMBER, result=int)
PROPOSAL_PROPOSER = Function(name="proposalProposer", inputs=_ID, outputs=("address",), result=str)
PROPOSAL_CONTENT_HASH = Function(name="proposalContentHash", inputs=_ID, outputs=("bytes32",), result=bytes)
PROPOSAL_VOTES = Function(name="proposalVotes", inputs=_ID, outputs=_NUMBER * 3, result=_proposal_votes)
HAS_VOTED = Function(name="hasVoted", inputs=("uint256", "address"), outputs=("bool",), result=bool)
HAS_ROLE = Function(name="hasRole", inputs=_ROLE, outputs=("bool",), result=bool)

PROPOSAL_CREATED = Event(
    name="ProposalCreated",
    parameters=(
        Parameter(name="proposalId", type="uint256", indexed=True),
        Parameter(name="contentHash", type="bytes32"),
        Parameter(name="proposer", type="address"),
    ),
    record=ProposalCreated,
)
PROPOSAL_CANCELED = Event(
    name="ProposalCanceled",
    parameters=(Parameter(name="proposalId", type="uint256"),),
    record=ProposalCanceled,
)
VOTE_CAST = Event(
    name="VoteCast",
    parameters=(
        Parameter(name="voter", type="address", indexed=True),
        Parameter(name="proposalId", type="uint256"),
        Parameter(name="support", type="uint8"),
        Parameter(name="weight", type="uint256"),
        Parameter(name="reason", type="string"),
    ),
    record=VoteCast,
)
REPUTATION_SET = Event(
    name="ReputationSet",
    parameters=(
        Parameter(name="voter", type="address", indexed=True),
        Parameter(name="previousReputation", type="uint256"),
        Parameter(name="reputation", type="uint256"),
    ),
    record=ReputationSet,
)

ERRORS = (
    ErrorType("AccessControlBadConfirmation()"),
    ErrorType("AccessControlUnauthorizedAccount(address account, bytes32 neededRole)"),
    ErrorType("AlreadyVoted(uint256 proposalId, address voter)"),
    ErrorType("BatchLengthMismatch(uint256 voters, uint256 amounts)"),
    ErrorType("CancelRefused(uint256 proposalId, address account, uint8 state)"),
    ErrorType("CheckpointUnorderedInsertion()"),
    ErrorType("ERC5805FutureLookup(uint256 timepoint, uint48 clock)"),
    ErrorType("ERC6372InconsistentClock()"),
    ErrorType("InvalidAdmin(address admin)"),
    ErrorType("InvalidContentHash()"),
    ErrorType("InvalidSupport(uint8 support)"),
    ErrorType("InvalidVoter(address voter)"),
    ErrorType("InvalidVotingPeriod(uint48 votingPeriod)"),
    ErrorType("NoReputation(address voter, uint256 snapshot)"),
    ErrorType("NonexistentProposal(uint256 proposalId)"),
    ErrorType("SafeCastOverflowedUintDowncast(uint8 bits, uint256 value)"),
    ErrorType("VotingClosed(uint256 proposalId, uint8 state)"),
)
