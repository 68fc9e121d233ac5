"""Typed calls, events and refusals of `ProposalScores`, the registry of one DAO's scores."""

from eth_utils.crypto import keccak

from contracts.bindings import score_rounds
from contracts.bindings.codec import Event, Function, Parameter, encode_values
from contracts.bindings.errors import ErrorType
from contracts.bindings.score_rounds import (
    BOND,
    BOND_FORFEITED,
    BOND_RECEIVER,
    BOND_RETURNED,
    CHALLENGE,
    CHALLENGE_OF,
    COMMIT_SCORE,
    COMMIT_WINDOW,
    COMMITMENT_FOR,
    COMMITMENT_OF,
    COURSE_OF,
    CREDITS,
    FINALIZE,
    MAY_SCORE,
    OPEN_ROUND,
    RESOLVE,
    RETURN_BONDS,
    REVEAL_SCORE,
    ROUND_OPENED,
    ROUND_WINDOW,
    ROUNDS_MAX,
    SCORE_AGREED,
    SCORE_CHALLENGED,
    SCORE_COMMITTED,
    SCORE_RESOLVED,
    SCORERS_AT,
    SUBMISSION,
    WAS_SCORER,
    WITHDRAW,
    WITHDRAWN,
)
from contracts.bindings.score_values import (
    NO_POLICY,
    Challenged,
    Course,
    PolicyRegistered,
    Rules,
    Score,
    ScoreFinalized,
    ScoreSubmitted,
    Stage,
    Status,
    Step,
    Submission,
    SubmissionRecord,
    SubmissionSkipped,
    VerdictProof,
    Vote,
)

NAME = "ProposalScores"
"""The artifact's name. Constructor: DAO, admin, delay (s), quorum, challenge window (s), rules."""

SCORER_ROLE = keccak(text="SCORER_ROLE")
DEFAULT_ADMIN_ROLE = bytes(32)
MAX_SCORE = 10_000
FIRST_ROUND = 1


def domain_of(*, chain_id: int, registry: str, dao: str, proposal_id: int, policy_hash: bytes) -> bytes:
    """Return the domain of a proposal's leaves, as the registry's `domainOf` computes it.

    `policy_hash` is what `policyOf` answers for the proposal: 32 zero bytes where no policy binds it.

    Raises:
        EncodeError: a value does not fit its type.

    """
    types = ("uint256", "address", "address", "uint256", "bytes32")
    values = (chain_id, registry, dao, proposal_id, policy_hash)
    return keccak(encode_values("the domain of a proposal", types, values))


def commitment_for(
    *, chain_id: int, registry: str, submission: Submission, round_: int, scorer: str, salt: bytes
) -> bytes:
    """Return what a scorer commits to in a round, as the registry's `commitmentFor` computes it.

    `salt` is 32 bytes that nobody else may know before the verdict is revealed.

    Raises:
        EncodeError: a value does not fit its type.

    """
    types = ("uint256", "address", SUBMISSION, "uint32", "address", "bytes32")
    values = (chain_id, registry, submission, round_, scorer, salt)
    return keccak(encode_values("the commitment to a verdict", types, values))


def _nothing() -> None:
    return None


def _score(status: int, score: int, root: bytes, round_: int, finalized_at: int) -> Score:
    return Score(status=Status(status), score=score, root=root, round=round_, finalized_at=finalized_at)


def _submission(status: int, score: int, root: bytes, submitted_at: int) -> SubmissionRecord:
    return SubmissionRecord(status=Status(status), score=score, root=root, submitted_at=submitted_at)


def _refusals(refusals: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return refusals


_ID = ("uint256",)
_ROLE = ("bytes32", "address")
_VERDICT = ("uint8", "int32", "bytes32")
_STEP = "(bytes32,uint256,uint256,string,uint256,bytes32,bytes32)"
_VERDICT_PROOF = f"({_STEP},bytes32[],string,bytes32,string)"
_VOTE = "(bytes32,uint256,uint256,address,uint8,uint256,uint256,bool,string,uint256,uint256)"

# Writing
SUBMIT_SCORE = Function(name="submitScore", inputs=("uint256", *_VERDICT), result=_nothing)
SUBMIT_SCORE_UNDER_POLICY = Function(
    name="submitScore", inputs=("uint256", *_VERDICT, "bytes32"), result=_nothing
)
SUBMIT_SCORES = Function(
    name="submitScores", inputs=(f"{SUBMISSION}[]",), outputs=("bytes[]",), result=_refusals
)
"""Answers what each verdict was refused with, no bytes where it was taken."""
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
VERIFY_SUBMITTED_STEP = Function(
    name="verifySubmittedStep",
    inputs=("uint256", "uint32", "address", "bytes32[]", _STEP),
    outputs=("bool",),
    result=bool,
)
VERIFY_VOTER = Function(
    name="verifyVoter", inputs=("uint256", _VERDICT_PROOF, "bytes32[]", _VOTE), outputs=("bool",), result=bool
)
VERIFY_VOTERS = Function(
    name="verifyVoters",
    inputs=("uint256", _VERDICT_PROOF, "bytes32[]", "bool[]", f"{_VOTE}[]"),
    outputs=("bool",),
    result=bool,
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
SUBMISSION_SKIPPED = Event(
    name="SubmissionSkipped",
    parameters=(
        Parameter(name="proposalId", type="uint256", indexed=True),
        Parameter(name="scorer", type="address", indexed=True),
        Parameter(name="refusal", type="bytes"),
    ),
    record=SubmissionSkipped,
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

NOTHING_TAKEN = ErrorType("NothingTaken(bytes[] refusals)")
ERRORS = (
    *score_rounds.ERRORS,
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
    ErrorType("DaoIsSilent(uint256 proposalId)"),
    ErrorType("EmptyBatch()"),
    ErrorType("EnforcedPause()"),
    ErrorType("ExpectedPause()"),
    ErrorType("InvalidDao(address dao)"),
    ErrorType("InvalidRoot()"),
    ErrorType("InvalidScore(uint8 status, int32 score)"),
    ErrorType("InvalidStatus(uint8 status)"),
    ErrorType("MerkleProofInvalidMultiproof()"),
    ErrorType("NotFinal(uint256 proposalId)"),
    NOTHING_TAKEN,
    ErrorType("PolicyUnchanged(bytes32 policyHash)"),
    ErrorType("ProposalWasCanceled(uint256 proposalId)"),
    ErrorType("SafeCastOverflowedUintDowncast(uint8 bits, uint256 value)"),
    ErrorType("UnsupportedQuorum(uint32 quorum)"),
    ErrorType("StringsInsufficientHexLength(uint256 value, uint256 length)"),
    ErrorType("VotingNotEnded(uint256 proposalId, uint8 state)"),
    ErrorType("WrongPolicy(uint256 proposalId, bytes32 policy, bytes32 binding)"),
)

__all__ = [
    "ACCEPT_DEFAULT_ADMIN_TRANSFER",
    "BEGIN_DEFAULT_ADMIN_TRANSFER",
    "BOND",
    "BOND_FORFEITED",
    "BOND_RECEIVER",
    "BOND_RETURNED",
    "CHALLENGE",
    "CHALLENGE_OF",
    "CHALLENGE_WINDOW",
    "COMMITMENT_FOR",
    "COMMITMENT_OF",
    "COMMIT_SCORE",
    "COMMIT_WINDOW",
    "COURSE_OF",
    "CREDITS",
    "DAO",
    "DEFAULT_ADMIN",
    "DEFAULT_ADMIN_ROLE",
    "DOMAIN_OF",
    "ERRORS",
    "FINALIZE",
    "FIRST_ROUND",
    "GRANT_ROLE",
    "HAS_ROLE",
    "IS_FINAL",
    "MAX_SCORE",
    "MAY_SCORE",
    "NAME",
    "NOTHING_TAKEN",
    "NO_POLICY",
    "OPEN_ROUND",
    "PAUSE",
    "PAUSED",
    "POLICY_HASH",
    "POLICY_OF",
    "POLICY_REGISTERED",
    "QUORUM",
    "REGISTER_POLICY",
    "RENOUNCE_ROLE",
    "RESOLVE",
    "RETURN_BONDS",
    "REVEAL_SCORE",
    "REVOKE_ROLE",
    "ROUNDS_MAX",
    "ROUND_OF",
    "ROUND_OPENED",
    "ROUND_WINDOW",
    "SCORERS_AT",
    "SCORER_ROLE",
    "SCORE_AGREED",
    "SCORE_CHALLENGED",
    "SCORE_COMMITTED",
    "SCORE_FINALIZED",
    "SCORE_OF",
    "SCORE_RESOLVED",
    "SCORE_SUBMITTED",
    "SUBMISSION_OF",
    "SUBMISSION_SKIPPED",
    "SUBMIT_SCORE",
    "SUBMIT_SCORES",
    "SUBMIT_SCORE_UNDER_POLICY",
    "UNPAUSE",
    "VERIFY_STEP",
    "VERIFY_SUBMITTED_STEP",
    "VERIFY_VOTER",
    "VERIFY_VOTERS",
    "WAS_SCORER",
    "WITHDRAW",
    "WITHDRAWN",
    "Challenged",
    "Course",
    "PolicyRegistered",
    "Rules",
    "Score",
    "ScoreFinalized",
    "ScoreSubmitted",
    "Stage",
    "Status",
    "Step",
    "Submission",
    "SubmissionRecord",
    "SubmissionSkipped",
    "VerdictProof",
    "Vote",
    "commitment_for",
    "domain_of",
]
