"""The scoring of one proposal, from the end of its vote to a final transaction, as one durable workflow.

Five committed steps, and one more where the policy names inputs of its own, read the chain and calculate;
their Merkle root is closed and only then submitted. It waits for a promise that the listener settles: no
deadline, no polling. A step that cannot read its chain parks this proposal, visibly, and no other.

Invariants: W3 the record does not depend on interruptions. M1 no clock, worker, attempt, nonce or transaction
is an argument or result of a committed step.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

from contracts.transactions import patiently
from listener.invocation import EndReason, ProposalRequest, VotingEnded
from orchestrator import Context, Info
from scorers.policy import ANY_POLICY, AnyPolicy, ChosenPolicy, Policy, PolicyStatement, policy_named
from scorers.rounds.following import follow_rounds
from scorers.rounds.values import Followed, RoundsEnd
from scorers.steps.eligibility import check_eligibility
from scorers.steps.policy_inputs import read_policy_inputs
from scorers.steps.proposal import read_proposal
from scorers.steps.quorum import has_quorum, read_quorum
from scorers.steps.reputation import score_reputations, voters_of
from scorers.steps.score import calculate_score
from scorers.steps.votes import fetch_votes
from scorers.submission import Submission, SubmissionStatus, submit
from scorers.values import (
    AppliedPolicy,
    Eligibility,
    Proposal,
    Quorum,
    ScoreOutcome,
    ScoreStatus,
    Verdict,
    Votes,
    Weighing,
)
from scorers.version import RELEASE
from scorers.vote_leaves import domain_of

SUBMITTED = (ScoreStatus.SCORED, ScoreStatus.NO_VOTES)


async def score_proposal(ctx: Context, request: ProposalRequest) -> ScoreOutcome:
    """Score a proposal and submit score and root once; the outcome says how it ended and where it stands."""
    ended = await ctx.promise(id=request.voting_ended_id)
    if isinstance(ended, VotingEnded) and ended.reason is EndReason.CANCELED:
        return cancelled_outcome(request)
    proposal = await patiently(ctx, read_proposal, request)
    policy = await patiently(ctx, policy_in_force, proposal)
    verdict = await judge(ctx, proposal, policy)
    if verdict.status not in SUBMITTED:
        return outcome_of(proposal, policy, verdict, quorum=await _quorum(ctx, proposal))
    closing = await ctx.close_commitments(domain_of(proposal))
    root = "0x" + closing.root.hex()
    named = policy_named(policy, proposal.policy_hash)
    submission = await submit(ctx, proposal, verdict, root, named)
    if submission.watched:
        followed = Followed(
            proposal=proposal, verdict=verdict, root=root, round=submission.round, policy=named
        )
        submission = await _watched(ctx, followed, submission)
    quorum = await _quorum(ctx, proposal)
    return outcome_of(
        proposal,
        policy,
        verdict,
        quorum=quorum,
        root=root,
        leaf_count=closing.count,
        submission=submission,
    )


async def _quorum(ctx: Context, proposal: Proposal) -> Quorum | None:
    """Read the DAO's quorum, last of all: it is reported and decides nothing."""
    return await patiently(ctx, read_quorum, proposal) if has_quorum(proposal) else None


async def _watched(ctx: Context, followed: Followed, submission: Submission) -> Submission:
    """Follow what becomes of the verdict; in the shadow that is the result, else it goes on by itself.

    The evidence has to be there while the verdict can still be challenged, so nobody waits for the end.
    """
    if submission.status is SubmissionStatus.SHADOW:
        return shadow_of(await follow_rounds(ctx, replace(followed, round=0)))
    ctx.options(id=rounds_id(ctx.id)).detached(follow_rounds, followed)
    return submission


def rounds_id(promise_id: str) -> str:
    """Return the id of what follows the rounds of a proposal, in the tree of its scoring."""
    return f"{promise_id}:rounds"


def shadow_of(end: RoundsEnd) -> Submission:
    """Return the submission of another scorer that stands for ours, and how it compares."""
    differing = f"; {len(end.differing)} submissions differ" if end.differing else ""
    if end.agrees is None:
        told = "cancelled before a verdict was final"
    elif end.agrees:
        told = f"the final verdict of round {end.round} is the same"
    else:
        told = f"the final verdict of round {end.round} is another: {end.verdict}"
    ending = {
        None: SubmissionStatus.CANCELLED,
        True: SubmissionStatus.SUBMITTED,
        False: SubmissionStatus.OUTVOTED,
    }
    voice = end.voice if end.agrees else None
    return Submission(
        status=ending[end.agrees],
        scorer=voice.scorer if voice else None,
        transaction_hash=voice.transaction_hash if voice else None,
        block_number=voice.block_number if voice else None,
        block_hash=voice.block_hash if voice else None,
        detail=f"in the shadow, nothing was submitted: {told}{differing}",
    )


async def judge(ctx: Context, proposal: Proposal, policy: AnyPolicy) -> Verdict:
    """Run the committed steps from the votes to the verdict."""
    votes = await patiently(ctx, fetch_votes, proposal)
    reputations = await patiently(ctx, score_reputations, proposal, voters_of(votes.ballots))
    applied = await _applied(ctx, proposal, policy, votes)
    # A worker that does not know the policy's class, yet or any more, leaves the proposal to others.
    eligibility = await patiently(ctx, _DECISION, applied, votes.ballots, reputations, proposal.form.counting)
    return await ctx.run(calculate_score, proposal, votes.tally, eligibility)


_DECISION = cast("Callable[..., Awaitable[Eligibility | Weighing]]", check_eligibility)
"""The step as `patiently` takes it: it is sync, and awaited where it runs."""


async def _applied(
    ctx: Context, proposal: Proposal, policy: AnyPolicy, votes: Votes
) -> Policy | AppliedPolicy:
    """Return the policy with what it reads beside the votes; the one without configuration reads nothing."""
    if isinstance(policy, Policy):
        return policy
    inputs = await patiently(ctx, read_policy_inputs, policy, proposal, votes.ballots)
    return AppliedPolicy(statement=policy, inputs=inputs)


async def policy_in_force(info: Info, proposal: Proposal) -> Policy | PolicyStatement:
    """Return the configured policy, or that of several which the registry binds.

    Raises PolicyMismatch, and so waits, where it binds another.
    """
    return info.dependency(ChosenPolicy).bound_to(proposal.proposal_id, proposal.policy_hash)


def cancelled_outcome(request: ProposalRequest) -> ScoreOutcome:
    """Return the result for a proposal that was withdrawn before anything was read: nothing is counted."""
    return ScoreOutcome(
        status=ScoreStatus.CANCELLED,
        chain_id=request.chain_id,
        dao=request.dao,
        registry=request.registry,
        proposal_id=int(request.proposal_id),
        score=0,
        for_votes=0,
        against_votes=0,
        abstain_votes=0,
        counted=0,
        excluded=0,
        policy_hash=ANY_POLICY,
        detail="cancelled before it was scored",
    )


_ENDINGS = {
    SubmissionStatus.CANCELLED: ScoreStatus.CANCELLED,
    SubmissionStatus.CONFLICT: ScoreStatus.CONFLICT,
    SubmissionStatus.FAILED: ScoreStatus.FAILED,
    SubmissionStatus.OUTVOTED: ScoreStatus.OUTVOTED,
}


def outcome_of(
    proposal: Proposal,
    policy: AnyPolicy,
    verdict: Verdict,
    *,
    quorum: Quorum | None = None,
    root: str | None = None,
    leaf_count: int | None = None,
    submission: Submission | None = None,
) -> ScoreOutcome:
    """Return the workflow's result; without a submission nothing was to be sent."""
    status = _ENDINGS.get(submission.status, verdict.status) if submission else verdict.status
    return ScoreOutcome(
        status=status,
        chain_id=proposal.chain_id,
        dao=proposal.dao,
        registry=proposal.registry,
        proposal_id=proposal.proposal_id,
        score=verdict.score,
        for_votes=verdict.for_votes,
        against_votes=verdict.against_votes,
        abstain_votes=verdict.abstain_votes,
        counted=verdict.counted,
        excluded=verdict.excluded,
        policy_hash=proposal.policy_hash,
        policy=policy,
        quorum=quorum,
        root=root,
        leaf_count=leaf_count,
        snapshot=proposal.snapshot,
        deadline=proposal.deadline,
        votes_root=verdict.votes_root,
        votes=verdict.votes,
        code=RELEASE,
        scorer=submission.scorer if submission else None,
        transaction_hash=submission.transaction_hash if submission else None,
        block_number=submission.block_number if submission else None,
        block_hash=submission.block_hash if submission else None,
        detail=(submission.detail if submission else "; ".join(verdict.findings)) or None,
    )
