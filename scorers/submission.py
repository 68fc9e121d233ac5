"""Brings a verdict onto the chain exactly once, whoever was killed on the way.

The registry itself is asked first, at a finalised block: a verdict of ours that stands there is a success, a
different one a conflict that sends nothing. Then one logical transaction after the other is tried, each under
an id of its own and the next one only after the one before has ended without effect.

Invariants: S1 at most one successful submission a proposal, scorer and round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count

from contracts.bindings import decode_error, proposal_scores
from contracts.bindings.governor import ProposalState
from contracts.bindings.score_values import NOBODY
from contracts.rpc import Node, answers_of, logs_between
from contracts.transactions import Sent, SentStatus, Signers, patiently, send_detached
from contracts.transactions.checks import check_version, version_call
from contracts.transactions.patience import park_s
from orchestrator import Context, Info
from scorers.batches.sorting import single_intent
from scorers.batches.values import Item, Place
from scorers.batches.workflow import send_in_batch
from scorers.rounds.course import COURSE_CALLS, course_calls, push_intent, read_course, stagger_s
from scorers.rounds.sealing import Phase, Sealing, draw_salt, sealed_intent, sealing_of
from scorers.steps.votes import dao_of
from scorers.values import Proposal, ScoreStatus, Verdict

FIRST_ROUND = proposal_scores.FIRST_ROUND
STATUS_CODES = {
    ScoreStatus.SCORED: proposal_scores.Status.SCORED,
    ScoreStatus.NO_VOTES: proposal_scores.Status.NO_VOTES,
}
# A retry cannot mend these; every other refusal may pass (a role granted, a pause lifted, a node caught up).
HOPELESS = frozenset({"InvalidStatus", "InvalidScore", "InvalidRoot", "WrongPolicy"})
REVERTS_MAX = 3
"""Mined and reverted that often although the trial before succeeded, it costs gas and leads nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A submission as the registry's log shows it, in a finalised block. Hashes are 0x text."""

    status: int
    score: int
    root: str
    transaction_hash: str
    block_number: int
    block_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the chain says of a proposal and our key before anything is sent."""

    scorer: str
    cancelled: bool
    entry: Entry | None
    batched: bool = False
    """Whether it goes with others; recorded, so that another configuration changes no recorded course."""
    round: int = proposal_scores.FIRST_ROUND
    watched: bool = False
    """Whether rounds may follow, or another verdict stands there already: then it has to be followed."""
    decided: bool = False
    """Rounds have come to a final verdict: who has not submitted by then may not be able to any more."""
    admitted: bool = True
    """Whether our key may submit in the current round."""
    overdue: str | None = None
    """The function that takes the rounds on and that nobody has called yet, long after anybody could."""
    shadow: bool = False
    sealing: Sealing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionMode:
    """How this worker submits: together with others, or in the `shadow` not at all."""

    batched: bool = False
    shadow: bool = False


class SubmissionStatus(StrEnum):
    """How a submission ended."""

    SUBMITTED = "submitted"
    CANCELLED = "cancelled"
    CONFLICT = "conflict"
    FAILED = "failed"
    SHADOW = "shadow"
    OUTVOTED = "outvoted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The end of a submission; the transaction's fields are None where it is not on the chain."""

    status: SubmissionStatus
    scorer: str | None
    transaction_hash: str | None = None
    block_number: int | None = None
    block_hash: str | None = None
    detail: str | None = None
    round: int = proposal_scores.FIRST_ROUND
    watched: bool = False


async def read_standing(info: Info, proposal: Proposal) -> Standing:
    """Read, at one finalised block, whether the proposal was cancelled and what our keys have submitted.

    What any key of this worker has submitted in the current round counts, a retiring one included; else the
    standing is that of the active key that has committed, or of the one to submit with. Raises
    OutdatedRegistry.
    """
    mode = info.dependency(SubmissionMode)
    if mode.shadow:
        return Standing(scorer=NOBODY, cancelled=False, entry=None, shadow=True, watched=True)
    node, signers = info.dependency(Node), info.dependency(Signers)
    finalized = await node.header("finalized")
    chosen = signers.chosen_for(str(proposal.proposal_id))
    place, state = (proposal.registry, proposal.proposal_id), dao_of(proposal).state(proposal.proposal_id)
    # One batch and not a multicall: whether Multicall3 is there is learnt by asking, and a step that another
    # process takes over has to ask the chain for the same.
    asked = [state.call, *course_calls(place, chosen), *_submissions(place, FIRST_ROUND, signers.addresses)]
    outcomes = await node.call_each([version_call(proposal.registry), *asked], finalized.number)
    check_version(proposal.registry, outcomes[0])
    answers = answers_of(outcomes[1:])
    course = read_course(answers[1 : 1 + COURSE_CALLS])
    records = answers[1 + COURSE_CALLS :]
    if course.round != FIRST_ROUND:
        again = _submissions(place, course.round, signers.addresses)
        records = await node.call_many(again, finalized.number)
    done = [
        scorer
        for scorer, record in zip(signers.addresses, records, strict=True)
        if proposal_scores.SUBMISSION_OF.decode(record).status is not proposal_scores.Status.NONE
    ]
    scorer = done[0] if done else chosen
    sealed = await sealing_of(node, place, course, _first(scorer, signers.active), finalized)
    scorer = sealed[0] if sealed and not done else scorer
    entry = await _entry(node, proposal, scorer, course.round, finalized.number) if done else None
    due = course.due(finalized.timestamp, stagger_s(scorer))
    return Standing(
        scorer=scorer,
        cancelled=state.decode(answers[0]) is ProposalState.CANCELED,
        entry=entry,
        batched=mode.batched,
        round=course.round,
        watched=course.has_rounds or (course.final and entry is None),
        decided=course.has_rounds and course.final,
        admitted=course.admitted or not course.has_rounds,
        overdue=due.name if due else None,
        sealing=sealed[1] if sealed else None,
    )


def _first(scorer: str, scorers: Sequence[str]) -> list[str]:
    return [scorer, *(each for each in scorers if each != scorer)]


def _submissions(place: tuple[str, int], round_: int, scorers: Sequence[str]) -> list[tuple[str, bytes]]:
    registry, number = place
    read = proposal_scores.SUBMISSION_OF
    return [(registry, read.encode(number, round_, scorer)) for scorer in scorers]


class EntryMissing(Exception):
    """The registry holds a submission whose log the node does not show: it lags or prunes logs."""

    retryable = True

    def __init__(self, proposal_id: int, scorer: str) -> None:
        super().__init__(proposal_id, scorer)
        self.proposal_id = proposal_id
        self.scorer = scorer

    def __str__(self) -> str:
        return (
            f"the registry holds a submission of {self.scorer} for proposal {self.proposal_id} and the node "
            "shows no log of it: it lags, or has pruned its logs"
        )


async def _entry(node: Node, proposal: Proposal, scorer: str, round_: int, last: int) -> Entry:
    event = proposal_scores.SCORE_SUBMITTED
    topics = event.topics(proposal_id=proposal.proposal_id, scorer=scorer)
    for log in await logs_between(node, proposal.registry, topics, proposal.last_block, last):
        found = event.decode(log)
        if found.round == round_:
            return Entry(
                status=int(found.status),
                score=found.score,
                root="0x" + found.root.hex(),
                transaction_hash="0x" + log.transaction_hash.hex(),
                block_number=log.block_number,
                block_hash="0x" + log.block_hash.hex(),
            )
    raise EntryMissing(proposal.proposal_id, scorer)


async def submit(ctx: Context, proposal: Proposal, verdict: Verdict, root: str, policy: str) -> Submission:
    """Submit a verdict with the root of its committed steps to the current round.

    `root` and `policy`, as `policy_named` gives it, are 0x text. Part of a workflow. It waits out what may
    pass, however long, and returns what is final; in the shadow it returns at once.
    """
    reverts = 0
    salts: dict[int, str] = {}
    for attempt in count():
        standing = await patiently(ctx, read_standing, proposal)
        ended = judge_standing(standing, verdict, root)
        if ended is not None:
            return ended
        item = replace(item_of(proposal, verdict, root, standing, attempt), policy=policy)
        place = Place(chain_id=proposal.chain_id, registry=proposal.registry, scorer=standing.scorer)
        if standing.sealing is not None:
            sent = await _sealed(ctx, place, item, standing, salts)
        elif standing.batched:
            sent = await send_in_batch(ctx, place, item)
        else:
            sent = await send_detached(ctx, single_intent(place, item))
        if sent is not None:
            reverts += sent.status is SentStatus.REVERTED
            ended = judge_sent(standing, sent, reverts)
            if ended is not None:
                return ended
        elif standing.decided:
            return too_late(standing)
        if standing.overdue is not None:
            name = f"r{standing.round}-submitting-{attempt + 1}"
            await send_detached(ctx, push_intent(standing.overdue, proposal, standing.scorer, name))
        # Refused by a state of the chain that is not final yet, or that an operator can change.
        await ctx.sleep(park_s(attempt))
    raise AssertionError("count() does not end")


async def _sealed(
    ctx: Context, place: Place, item: Item, standing: Standing, salts: dict[int, str]
) -> Sent | None:
    """Commit, or reveal what was committed; None where only time or the next round helps."""
    assert standing.sealing is not None  # noqa: S101 - asked by the caller
    if standing.round not in salts:
        salts[standing.round] = await ctx.run(draw_salt)
    phase, intent = sealed_intent(place, item, standing.round, standing.sealing, salts[standing.round])
    if intent is None:
        return None
    sent = await send_detached(ctx, intent)
    # A commitment is no submission: what it is good for shows when it is revealed, unless it was given up.
    return sent if phase is Phase.REVEAL or sent.status is SentStatus.CANCELLED else None


def judge_standing(standing: Standing, verdict: Verdict, root: str) -> Submission | None:
    """Return how the submission ended before anything is sent, None if it is to be sent."""
    if standing.shadow:
        return Submission(status=SubmissionStatus.SHADOW, scorer=standing.scorer, watched=True)
    if standing.entry is not None:
        judged = judge_entry(standing.scorer, standing.entry, verdict, root)
        return replace(judged, round=standing.round, watched=standing.watched)
    if standing.cancelled:
        return Submission(
            status=SubmissionStatus.CANCELLED,
            scorer=standing.scorer,
            detail="cancelled before submission",
            round=standing.round,
        )
    if standing.decided and not standing.admitted:
        return too_late(standing)
    return None


def too_late(standing: Standing) -> Submission:
    """Return the end of a submission that the rounds have passed by."""
    return Submission(
        status=SubmissionStatus.FAILED,
        scorer=standing.scorer,
        detail=f"the verdict is final, and {standing.scorer} had no part in round {standing.round}",
        round=standing.round,
        watched=True,
    )


def item_of(proposal: Proposal, verdict: Verdict, root: str, standing: Standing, attempt: int) -> Item:
    """Return what submits a verdict, alone or with others; each attempt in each round is one of its own."""
    place = f"{proposal.chain_id}-{proposal.registry}-{proposal.proposal_id}"
    later = "" if standing.round == FIRST_ROUND else f"-r{standing.round}"
    return Item(
        logical_id=f"submitScore-{place}-{standing.scorer}{later}-{attempt + 1}",
        proposal_id=proposal.proposal_id,
        status=int(STATUS_CODES[verdict.status]),
        score=verdict.score,
        root=root,
    )


def judge_entry(scorer: str, entry: Entry, verdict: Verdict, root: str) -> Submission:
    """Return what a submission of our key that stands in the registry means for this verdict."""
    ours = (int(STATUS_CODES[verdict.status]), verdict.score, root)
    same = (entry.status, entry.score, entry.root) == ours
    detail = (
        None if same else f"the registry holds status {entry.status}, score {entry.score}, root {entry.root}"
    )
    return Submission(
        status=SubmissionStatus.SUBMITTED if same else SubmissionStatus.CONFLICT,
        scorer=scorer,
        transaction_hash=entry.transaction_hash,
        block_number=entry.block_number,
        block_hash=entry.block_hash,
        detail=detail,
    )


def judge_sent(standing: Standing, sent: Sent, reverts: int) -> Submission | None:
    """Return how the submission ended with this transaction, None if the chain has to be asked again.

    `reverts` counts the transactions that were mined and reverted, this one included.
    """
    if sent.status is SentStatus.CONFIRMED:
        return Submission(
            status=SubmissionStatus.SUBMITTED,
            scorer=standing.scorer,
            transaction_hash=sent.transaction_hash,
            block_number=sent.block_number,
            block_hash=sent.block_hash,
            round=standing.round,
            watched=standing.watched,
        )
    if sent.status is SentStatus.CANCELLED:
        return Submission(
            status=SubmissionStatus.FAILED,
            scorer=standing.scorer,
            detail=sent.reason,
            round=standing.round,
        )
    refusal = decode_error(bytes.fromhex((sent.revert_hex or "0x")[2:]))
    hopeless = refusal is not None and refusal.name in HOPELESS
    # What a revert means is asked of the registry first: the score may stand there already.
    if not hopeless and reverts < REVERTS_MAX:
        return None
    return Submission(
        status=SubmissionStatus.FAILED,
        scorer=standing.scorer,
        transaction_hash=sent.transaction_hash,
        block_number=sent.block_number,
        block_hash=sent.block_hash,
        detail=str(refusal or sent.reason or "the transaction reverted without a reason"),
        round=standing.round,
    )
