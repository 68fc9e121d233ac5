"""What the registry of scores takes, holds and tells, as values: verdicts, rounds, proofs and events.

Pure. Times are block timestamps in seconds, windows seconds, bonds wei; addresses are lower-case text, roots
and hashes bytes.
"""

from dataclasses import dataclass
from enum import IntEnum

NOBODY = "0x" + "00" * 20
"""The address that stands for none."""
NO_POLICY = bytes(32)
"""What stands for no policy: any will do."""


class Status(IntEnum):
    """What a verdict says; NONE marks what was never submitted."""

    NONE = 0
    SCORED = 1
    NO_VOTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A verdict: score in signed basis points (0 with NO_VOTES), root of 32 bytes.

    `policy` is the hash of the policy under which it was made, zeros where none binds the proposal.
    """

    proposal_id: int
    status: Status
    score: int
    root: bytes
    policy: bytes = NO_POLICY


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
class SubmissionSkipped:
    """A verdict of a batch was not taken; `refusal` is what it would have reverted with by itself."""

    proposal_id: int
    scorer: str
    refusal: bytes


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


class Stage(IntEnum):
    """Where a proposal stands: AGREED may be challenged, DISPUTED waits for the admin, FINAL stays."""

    OPEN = 0
    AGREED = 1
    DISPUTED = 2
    FINAL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of rounds, as the constructor takes them; without arguments there is one round without end.

    `round_window` is the time after which a round without an agreement is over, and that the admin has for a
    dispute; `commit_window` the first part of it, in which scorers commit, 0 where they submit openly. `bond`
    is what a challenge costs; `bond_receiver` is credited with those that changed nothing.
    """

    rounds_max: int = 1
    round_window: int = 0
    commit_window: int = 0
    bond: int = 0
    bond_receiver: str = NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Where a proposal stands between its vote and its final verdict.

    `started_at` is 0 while no round has begun. `until` is when the round times out, when an agreement or a
    dispute may become final, or when the verdict became final. Its fields are those of the agreement.
    """

    stage: Stage
    round: int
    started_at: int
    until: int
    scorer: str
    status: Status
    score: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenged:
    """Who challenged the verdict of a round, and that verdict's hash; NOBODY and zeros if nobody did."""

    challenger: str
    verdict: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictProof:
    """The step that made a verdict, its path, and its output around the member `"votes_root":"0x…"`."""

    step: Step
    proof: tuple[bytes, ...]
    before_root: str
    votes_root: bytes
    after_root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One leaf of the tree of votes, in the order in which its fields are hashed."""

    domain: bytes
    index: int
    count: int
    voter: str
    support: int
    weight: int
    counted_weight: int
    counted: bool
    reason: str
    block_number: int
    log_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreAgreed:
    """The quorum agreed in a round; the verdict may be challenged before `challengeable_until`."""

    proposal_id: int
    round: int
    status: Status
    score: int
    root: bytes
    challengeable_until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundOpened:
    """A round began; `scorers` is the size of its set."""

    proposal_id: int
    round: int
    scorers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreChallenged:
    """Somebody put a bond against the verdict of a round."""

    proposal_id: int
    round: int
    challenger: str
    bond: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreResolved:
    """The admin gave the verdict after the last round."""

    proposal_id: int
    admin: str
    status: Status
    score: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCommitted:
    """A scorer committed to a verdict in a round."""

    proposal_id: int
    scorer: str
    round: int
    commitment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BondReturned:
    """The final verdict is another than the challenged one: its challenger is credited with the bond."""

    proposal_id: int
    round: int
    challenger: str
    bond: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BondForfeited:
    """The challenged verdict became final: the receiver of bonds is credited."""

    proposal_id: int
    round: int
    challenger: str
    bond: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """An account was paid what it was credited with."""

    account: str
    amount: int
