"""What the steps of a scoring hand to each other: facts of the chain, never of the run.

Every field of a committed step is a fact that anyone reads again from the chain, or follows from such facts
(M1). The height at which something happened to be read, a clock, a worker, an attempt, a nonce and a
transaction are none, and stand only in `ScoreOutcome`, which is no leaf. Amounts are in the DAO's units of
reputation; addresses are lower-case text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from contracts.dao import DaoForm
from orchestrator.commitments import Int32, Uint8, Uint32, Uint64, Uint256
from scorers.policy import AnyPolicy, PolicyStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Three sums of votes."""

    for_votes: Uint256
    against_votes: Uint256
    abstain_votes: Uint256


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A proposal after its vote.

    `form` is how the DAO counts votes and time; `scored_dao` what the registry calls its DAO: the DAO itself,
    or the contract by which it reads one. `snapshot` and `deadline` are timepoints of the DAO's own clock;
    `first_block` and `last_block` the blocks of the chain between which a vote could be cast; `tally` is what
    the DAO itself counted; `policy_hash` is the policy that the registry binds, 32 zero bytes if any will do.
    """

    chain_id: Uint64
    dao: str
    form: DaoForm
    registry: str
    scored_dao: str
    proposal_id: Uint256
    snapshot: Uint64
    deadline: Uint64
    first_block: Uint64
    last_block: Uint64
    tally: Tally
    policy_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """One vote as the DAO counts it; `support` is 0 against, 1 for, 2 abstain.

    A split vote is one ballot for each side. `weight` is what is left of it at the end of the vote, where
    others may take back what they had delegated; `overriding` marks a ballot of one who did.
    """

    voter: str
    support: Uint8
    weight: Uint256
    block_number: Uint64
    log_index: Uint32
    overriding: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """All votes on a proposal in the order of the chain, and their raw sums."""

    ballots: list[Ballot]
    tally: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Reputation:
    """A voter's reputation at the proposal's snapshot, delegations included.

    Where votes can be overridden, `own` is the balance with which this voter overrode its delegate, and
    `overridden` what others took back from this voter in the same way.
    """

    voter: str
    weight: Uint256
    own: Uint256 = 0
    overridden: Uint256 = 0


class Reason(StrEnum):
    """Why a vote does not count."""

    ALREADY_VOTED = "already voted"
    BELOW_MINIMUM = "below the minimum weight"
    UNKNOWN_SUPPORT = "neither for, against nor abstain"
    WEIGHT_DIFFERS = "weight differs from the reputation at the snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A vote left out, and why."""

    ballot: Ballot
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """Every vote, either counted or excluded with its reason, each list in the order of the chain."""

    counted: list[Ballot]
    excluded: list[Exclusion]


@dataclass(frozen=True, slots=True, kw_only=True)
class VoterReputation:
    """What a policy's reputation contract says of a voter at the proposal's snapshot."""

    voter: str
    weight: Uint256


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedProposal:
    """A proposal whose deadline, a timepoint of the DAO's clock, lies before the snapshot."""

    proposal_id: Uint256
    deadline: Uint64


@dataclass(frozen=True, slots=True, kw_only=True)
class Participation:
    """In which closed proposals a voter took part: their places in the list, from 0."""

    voter: str
    proposals: list[Uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstVote:
    """The block of a voter's first vote in this DAO, before that of the proposal's creation."""

    voter: str
    block_number: Uint64


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTime:
    """When a block was made, in seconds of Unix time."""

    block_number: Uint64
    timestamp: Uint64


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyInputs:
    """The inputs that a policy names, each pinned to the proposal; those that it does not name are empty.

    Voters stand in the order of their first votes on the proposal; one without anything to tell is left out
    of `participations` and `first_votes`. `closed_proposals` are in the order of deadline and id, the last
    ones of those that there are. `block_times` begins with the block of the proposal's creation.
    """

    reputations: list[VoterReputation]
    closed_proposals: list[ClosedProposal]
    participations: list[Participation]
    first_votes: list[FirstVote]
    block_times: list[BlockTime]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedPolicy:
    """A policy with the inputs that it names."""

    statement: PolicyStatement
    inputs: PolicyInputs


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedVote:
    """A vote that counts; `weight` is what it adds to its side by the policy."""

    ballot: Ballot
    weight: Uint256


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A vote that does not count, and why: a `Reason`, or what a rule of the policy objects."""

    ballot: Ballot
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighing:
    """Every vote, either counted with its weight or set aside, each list in the order of the chain."""

    counted: list[CountedVote]
    excluded: list[SetAside]


class ScoreStatus(StrEnum):
    """How a scoring ended. Only `Scored` and `NoVotes` are submitted."""

    SCORED = "Scored"
    NO_VOTES = "NoVotes"
    TALLY_MISMATCH = "TallyMismatch"
    CANCELLED = "Cancelled"
    CONFLICT = "Conflict"
    FAILED = "Failed"
    OUTVOTED = "Outvoted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The score in signed basis points with what it was made of; `findings` tell why there is none.

    `votes_root` is the root of the tree of votes (`scorers.vote_leaves`), `votes` how many leaves it has.
    """

    status: ScoreStatus
    score: Int32
    for_votes: Uint256
    against_votes: Uint256
    abstain_votes: Uint256
    counted: Uint32
    excluded: Uint32
    votes: Uint32
    votes_root: str
    findings: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """What the DAO requires of its own tally, and what of it counts toward that; no part of the score."""

    required: Uint256
    counted: Uint256
    reached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOutcome:
    """The result of `score_proposal`.

    `policy_hash` is the policy that the registry binds, `policy` the one that counted. `quorum` is None
    where the DAO has none. `root` is 0x text, `leaf_count` the number of committed steps below it;
    `votes_root` that of the `votes` leaves of the tree of votes. `snapshot` and `deadline` are timepoints
    of the DAO's clock, `code` is the release that scored. The transaction's fields are None where nothing
    of ours is on the chain; `detail` says why in one line.
    """

    status: ScoreStatus
    chain_id: Uint64
    dao: str
    registry: str
    proposal_id: Uint256
    score: Int32
    for_votes: Uint256
    against_votes: Uint256
    abstain_votes: Uint256
    counted: Uint32
    excluded: Uint32
    policy_hash: str
    policy: AnyPolicy | None = None
    quorum: Quorum | None = None
    root: str | None = None
    leaf_count: Uint32 | None = None
    snapshot: Uint64 | None = None
    deadline: Uint64 | None = None
    votes_root: str | None = None
    votes: Uint32 | None = None
    code: str | None = None
    scorer: str | None = None
    transaction_hash: str | None = None
    block_number: Uint64 | None = None
    block_hash: str | None = None
    detail: str | None = None
