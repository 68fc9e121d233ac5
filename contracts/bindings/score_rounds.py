"""Rounds, challenges, bonds and commitments of `ProposalScores`: its calls, events and refusals."""

from contracts.bindings.codec import Event, Function, Parameter
from contracts.bindings.errors import ErrorType
from contracts.bindings.score_values import (
    BondForfeited,
    BondReturned,
    Challenged,
    Course,
    RoundOpened,
    ScoreAgreed,
    ScoreChallenged,
    ScoreCommitted,
    ScoreResolved,
    Stage,
    Status,
    Withdrawn,
)

_ID = ("uint256",)
_VERDICT = ("uint8", "int32", "bytes32")
_WHOSE = ("uint256", "uint32", "address")
SUBMISSION = "(uint256,uint8,int32,bytes32,bytes32)"


def _nothing() -> None:
    return None


def _course(fields: tuple[int, int, int, int, str, int, int, bytes]) -> Course:
    stage, round_, started_at, until, scorer, status, score, root = fields
    return Course(
        stage=Stage(stage),
        round=round_,
        started_at=started_at,
        until=until,
        scorer=scorer,
        status=Status(status),
        score=score,
        root=root,
    )


def _challenged(challenger: str, verdict: bytes) -> Challenged:
    return Challenged(challenger=challenger, verdict=verdict)


# Writing
OPEN_ROUND = Function(name="openRound", inputs=_ID, result=_nothing)
CHALLENGE = Function(name="challenge", inputs=_ID, result=_nothing)
FINALIZE = Function(name="finalize", inputs=_ID, result=_nothing)
RESOLVE = Function(name="resolve", inputs=("uint256", *_VERDICT), result=_nothing)
RETURN_BONDS = Function(name="returnBonds", inputs=_ID, result=_nothing)
WITHDRAW = Function(name="withdraw", inputs=("address",), result=_nothing)
COMMIT_SCORE = Function(name="commitScore", inputs=("uint256", "bytes32"), result=_nothing)
REVEAL_SCORE = Function(name="revealScore", inputs=(SUBMISSION, "bytes32"), result=_nothing)

# Reading
ROUNDS_MAX = Function(name="roundsMax", outputs=("uint32",), result=int)
ROUND_WINDOW = Function(name="roundWindow", outputs=("uint48",), result=int)
COMMIT_WINDOW = Function(name="commitWindow", outputs=("uint48",), result=int)
BOND = Function(name="bond", outputs=("uint256",), result=int)
BOND_RECEIVER = Function(name="bondReceiver", outputs=("address",), result=str)
CREDITS = Function(name="credits", inputs=("address",), outputs=("uint256",), result=int)
COURSE_OF = Function(
    name="courseOf",
    inputs=_ID,
    outputs=("(uint8,uint32,uint48,uint48,address,uint8,int32,bytes32)",),
    result=_course,
)
MAY_SCORE = Function(name="mayScore", inputs=("uint256", "address"), outputs=("bool",), result=bool)
WAS_SCORER = Function(name="wasScorer", inputs=("address", "uint48"), outputs=("bool",), result=bool)
SCORERS_AT = Function(name="scorersAt", inputs=("uint48",), outputs=("uint256",), result=int)
CHALLENGE_OF = Function(
    name="challengeOf", inputs=("uint256", "uint32"), outputs=("address", "bytes32"), result=_challenged
)
COMMITMENT_OF = Function(name="commitmentOf", inputs=_WHOSE, outputs=("bytes32",), result=bytes)
COMMITMENT_FOR = Function(
    name="commitmentFor",
    inputs=(SUBMISSION, "uint32", "address", "bytes32"),
    outputs=("bytes32",),
    result=bytes,
)

_PROPOSAL = Parameter(name="proposalId", type="uint256", indexed=True)
_ROUND = Parameter(name="round", type="uint32")
_WHAT = (
    Parameter(name="status", type="uint8", parse=Status),
    Parameter(name="score", type="int32"),
    Parameter(name="root", type="bytes32"),
)
_BOND = (_PROPOSAL, _ROUND, Parameter(name="challenger", type="address", indexed=True))
_AMOUNT = Parameter(name="bond", type="uint256")
SCORE_AGREED = Event(
    name="ScoreAgreed",
    parameters=(_PROPOSAL, _ROUND, *_WHAT, Parameter(name="challengeableUntil", type="uint48")),
    record=ScoreAgreed,
)
ROUND_OPENED = Event(
    name="RoundOpened",
    parameters=(_PROPOSAL, _ROUND, Parameter(name="scorers", type="uint256")),
    record=RoundOpened,
)
SCORE_CHALLENGED = Event(name="ScoreChallenged", parameters=(*_BOND, _AMOUNT), record=ScoreChallenged)
SCORE_RESOLVED = Event(
    name="ScoreResolved",
    parameters=(_PROPOSAL, Parameter(name="admin", type="address"), *_WHAT),
    record=ScoreResolved,
)
SCORE_COMMITTED = Event(
    name="ScoreCommitted",
    parameters=(
        _PROPOSAL,
        Parameter(name="scorer", type="address", indexed=True),
        _ROUND,
        Parameter(name="commitment", type="bytes32"),
    ),
    record=ScoreCommitted,
)
BOND_RETURNED = Event(name="BondReturned", parameters=(*_BOND, _AMOUNT), record=BondReturned)
BOND_FORFEITED = Event(name="BondForfeited", parameters=(*_BOND, _AMOUNT), record=BondForfeited)
WITHDRAWN = Event(
    name="Withdrawn",
    parameters=(
        Parameter(name="account", type="address", indexed=True),
        Parameter(name="amount", type="uint256"),
    ),
    record=Withdrawn,
)

ERRORS = (
    ErrorType("AlreadyCommitted(uint256 proposalId, address scorer, uint32 round, bytes32 commitment)"),
    ErrorType("ChallengeWindowOpen(uint256 proposalId, uint48 until)"),
    ErrorType("ChallengeWindowOver(uint256 proposalId, uint48 until)"),
    ErrorType("CommitWindowOpen(uint256 proposalId, uint32 round, uint48 until)"),
    ErrorType("CommitWindowOver(uint256 proposalId, uint32 round, uint48 until)"),
    ErrorType("CommitmentRequired()"),
    ErrorType("CommitmentsUnused()"),
    ErrorType("EmptyCommitment()"),
    ErrorType("FailedCall()"),
    ErrorType("InsufficientBalance(uint256 balance, uint256 needed)"),
    ErrorType("NoRounds()"),
    ErrorType("NotAgreed(uint256 proposalId)"),
    ErrorType("NotCanceled(uint256 proposalId)"),
    ErrorType("NotInRound(uint256 proposalId, uint32 round, address account)"),
    ErrorType("NotResolvable(uint256 proposalId)"),
    ErrorType("NothingToWithdraw(address account)"),
    ErrorType("RoundDecided(uint256 proposalId, uint32 round)"),
    ErrorType("RoundStillOpen(uint256 proposalId, uint32 round, uint48 until)"),
    ErrorType("RoundsExhausted(uint256 proposalId)"),
    ErrorType("UnsupportedChallengeWindow(uint48 challengeWindow, uint256 bond, address bondReceiver)"),
    ErrorType("UnsupportedCommitWindow(uint48 commitWindow, uint48 roundWindow)"),
    ErrorType("UnsupportedRounds(uint32 roundsMax, uint48 roundWindow)"),
    ErrorType("WrongBond(uint256 given, uint256 bond)"),
    ErrorType("WrongReveal(uint256 proposalId, address scorer, uint32 round)"),
)
