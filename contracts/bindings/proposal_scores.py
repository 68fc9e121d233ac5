"""Typed calls, events and refusals of `ProposalScores`, the registry of one DAO's scores."""

from dataclasses import dataclass
from enum import IntEnum

from eth_utils.crypto import keccak

from contracts.bindings.codec import Event, Function, Parameter, encode_values
from contracts.bindings.errors import ErrorType

NAME = "ProposalScores"
"""The artifact's name. Its constructor takes DAO, admin, admin delay (s), quorum, challenge window (s)."""

SCORER_ROLE = keccak(text="SCORER_ROLE")
DEFAULT_ADMIN_ROLE = bytes(32)
MAX_SCORE = 10_000
FIRST_ROUND = 1


class Status(IntEnum):
    """What a verdict says; NONE marks what was never submitted."""

    NONE = 0
    SCORED = 1
    NO_VOTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One verdict of `submitScores`: score in signed basis points (0 with NO_VOTES), root of 32 bytes."""

    proposal_id: int
    status: Status
    score: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One leaf of the tree of steps, in the order in which its fields are hashed."""

    domain: bytes
    index: int
    count: int
    function_name: str
    version: int
    input_hash: bytes
    output_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A final verdict; `finalized_at` is a block timestamp in seconds."""

    status: Status
    score: int
    root: bytes
    round: int
    finalized_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionRecord:
    """What a scorer submitted in a round; status NONE if nothing. `submitted_at` is a block timestamp."""

    status: Status
    score: int
    root: bytes
    submitted_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSubmitted:
    """A scorer submitted its verdict in a round."""

    proposal_id: int
    scorer: str
    round: int
    status: Status
    score: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFinalized:
    """The quorum agreed: emitted once a proposal (invariant S1)."""

    proposal_id: int
    round: int
    status: Status
    score: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRegistered:
    """A policy binds the proposals whose snapshot lies after this timepoint of the DAO's clock."""

    policy_hash: bytes
    timepoint: int


def domain_of(*, chain_id: int, registry: str, dao: str, proposal_id: int, policy_hash: bytes) -> bytes:
    """Return the domain of a proposal's leaves, as the registry's `domainOf` computes it.

    `policy_hash` is what `policyOf` answers for the proposal: 32 zero bytes where no policy binds it.

    Raises:
        EncodeError: a value does not fit its type.

    """
    types = ("uint256", "address", "address", "uint256", "bytes32")
    values = (chain_id, registry, dao, proposal_id, policy_hash)
    return keccak(encode_values("the domain of a proposal", types, values))


def _nothing() -> None:
    return None


def _score(status: int, score: int, root: bytes, round_: int, finalized_at: int) -> Score:
    return Score(status=Status(status), score=score, root=root, round=round_, finalized_at=finalized_at)


def _submission(status: int, score: int, root: bytes, submitted_at: int) -> SubmissionRecord:
    return SubmissionRecord(status=Status(status), score=score, root=root, submitted_at=submitted_at)


_ID = ("uint256",)
_ROLE = ("bytes32", "address")
_VERDICT = ("uint8", "int32", "bytes32")
_SUBMISSION = "(uint256,uint8,int32,bytes32)"
_STEP = "(bytes32,uint256,uint256,string,uint256,bytes32,bytes32)"

# Writing
SUBMIT_SCORE = Function(name="submitScore", inputs=("uint256", *_VERDICT), result=_nothing)
SUBMIT_SCORES = Function(name="submitScores", inputs=(f"{_SUBMISSION}[]",), result=_nothing)
REGISTER_POLICY = Function(name="registerPolicy", inputs=("bytes32",), result=_nothing)
PAUSE = Function(name="pause", result=_nothing)
UNPAUSE = Function(name="unpause", result=_nothing)
GRANT_ROLE = Function(name="grantRole", inputs=_ROLE, result=_nothing)
REVOKE_ROLE = Function(name="revokeRole", inputs=_ROLE, result=_nothing)
RENOUNCE_ROLE = Function(name="renounceRole", inputs=_ROLE, result=_nothing)
BEGIN_DEFAULT_ADMIN_TRANSFER = Function(
    name="beginDefaultAdminTransfer", inputs=("address",), result=_nothing
)
ACCEPT_DEFAULT_ADMIN_TRANSFER = Function(name="acceptDefaultAdminTransfer", result=_nothing)

# Reading
DAO = Function(name="dao", outputs=("address",), result=str)
QUORUM = Function(name="quorum", outputs=("uint32",), result=int)
CHALLENGE_WINDOW = Function(name="challengeWindow", outputs=("uint48",), result=int)
PAUSED = Function(name="paused", outputs=("bool",), result=bool)
HAS_ROLE = Function(name="hasRole", inputs=_ROLE, outputs=("bool",), result=bool)
DEFAULT_ADMIN = Function(name="defaultAdmin", outputs=("address",), result=str)
IS_FINAL = Function(name="isFinal", inputs=_ID, outputs=("bool",), result=bool)
SCORE_OF = Function(name="scoreOf", inputs=_ID, outputs=(*_VERDICT, "uint32", "uint48"), result=_score)
SUBMISSION_OF = Function(
    name="submissionOf",
    inputs=("uint256", "uint32", "address"),
    outputs=(*_VERDICT, "uint48"),
    result=_submission,
)
ROUND_OF = Function(name="roundOf", inputs=_ID, outputs=("uint32",), result=int)
VERIFY_STEP = Function(
    name="verifyStep", inputs=("uint256", "bytes32[]", _STEP), outputs=("bool",), result=bool
)
DOMAIN_OF = Function(name="domainOf", inputs=_ID, outputs=("bytes32",), result=bytes)
POLICY_HASH = Function(name="policyHash", outputs=("bytes32",), result=bytes)
POLICY_OF = Function(name="policyOf", inputs=_ID, outputs=("bytes32",), result=bytes)

_ROUND_AND_VERDICT = (
    Parameter(name="round", type="uint32"),
    Parameter(name="status", type="uint8", parse=Status),
    Parameter(name="score", type="int32"),
    Parameter(name="root", type="bytes32"),
)
SCORE_SUBMITTED = Event(
    name="ScoreSubmitted",
    parameters=(
        Parameter(name="proposalId", type="uint256", indexed=True),
        Parameter(name="scorer", type="address", indexed=True),
        *_ROUND_AND_VERDICT,
    ),
    record=ScoreSubmitted,
)
SCORE_FINALIZED = Event(
    name="ScoreFinalized",
    parameters=(Parameter(name="proposalId", type="uint256", indexed=True), *_ROUND_AND_VERDICT),
    record=ScoreFinalized,
)
POLICY_REGISTERED = Event(
    name="PolicyRegistered",
    parameters=(
        Parameter(name="policyHash", type="bytes32", indexed=True),
        Parameter(name="timepoint", type="uint256"),
    ),
    record=PolicyRegistered,
)

ERRORS = (
    ErrorType("AccessControlBadConfirmation()"),
    ErrorType("AccessControlEnforcedDefaultAdminDelay(uint48 schedule)"),
    ErrorType("AccessControlEnforcedDefaultAdminRules()"),
    ErrorType("AccessControlInvalidDefaultAdmin(address defaultAdmin)"),
    ErrorType("AccessControlUnauthorizedAccount(address account, bytes32 neededRole)"),
    ErrorType(
        "AlreadySubmitted(uint256 proposalId, address scorer, uint32 round,"
        " uint8 status, int32 score, bytes32 root)"
    ),
    ErrorType("CheckpointUnorderedInsertion()"),
    ErrorType("EmptyBatch()"),
    ErrorType("EnforcedPause()"),
    ErrorType("ExpectedPause()"),
    ErrorType("InvalidDao(address dao)"),
    ErrorType("InvalidRoot()"),
    ErrorType("InvalidScore(uint8 status, int32 score)"),
    ErrorType("InvalidStatus(uint8 status)"),
    ErrorType("NotFinal(uint256 proposalId)"),
    ErrorType("PolicyUnchanged(bytes32 policyHash)"),
    ErrorType("ProposalWasCanceled(uint256 proposalId)"),
    ErrorType("SafeCastOverflowedUintDowncast(uint8 bits, uint256 value)"),
    ErrorType("UnsupportedChallengeWindow(uint48 challengeWindow)"),
    ErrorType("UnsupportedQuorum(uint32 quorum)"),
    ErrorType("VotingNotEnded(uint256 proposalId, uint8 state)"),
)
