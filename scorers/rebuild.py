"""A score computed again from nothing but public chain data: every step, its input and its output.

Only the policy comes from the bundle: it stands in a leaf, and in the registry's hash where it binds one. The
inputs that it names are read from the chain. Nothing is compared here; see `scorers.differences`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from contracts.dao import probe
from contracts.rpc import Node, logs_between
from listener.invocation import ProposalRequest, request_of
from orchestrator.commitments import Bundle, CanonicalError, canonical_arguments, canonical_result
from scorers.claim import Claim, EvidenceError
from scorers.policies.errors import PolicyError
from scorers.policies.statement import parts_of
from scorers.policy import AnyPolicy, Policy, check_bound, policy_hash
from scorers.registration import version_of
from scorers.sections import policy_of
from scorers.steps.eligibility import check_eligibility
from scorers.steps.policy_inputs import policy_inputs, read_policy_inputs
from scorers.steps.proposal import proposal_facts, read_proposal
from scorers.steps.quorum import quorum_facts
from scorers.steps.reputation import read_reputations, score_reputations, voters_of
from scorers.steps.score import calculate_score
from scorers.steps.votes import fetch_votes, read_settled_votes
from scorers.values import AppliedPolicy, Eligibility, Proposal, Quorum, Verdict, Votes, Weighing


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltStep:
    """A step by this verifier's own computation; input and output are canonical JSON."""

    function: str
    version: int
    input: bytes
    output: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """The whole scoring as the chain gives it."""

    steps: tuple[RebuiltStep, ...]
    proposal: Proposal
    eligibility: Eligibility | Weighing
    verdict: Verdict
    quorum: Quorum | None


async def rebuild(node: Node, claim: Claim) -> Rebuilt:
    """Return the scoring as the chain gives it, by the policy that the bundle names.

    Raises EvidenceError where the chain has no such proposal, PolicyMismatch for a policy that the registry
    did not bind, and what the steps raise.
    """
    request = await find_request(node, claim)
    policy = _policy(claim)
    proposal = await proposal_facts(node, request)
    check_bound(policy, proposal_id=proposal.proposal_id, bound=proposal.policy_hash)
    votes = await read_settled_votes(node, proposal)
    voters = voters_of(votes.ballots)
    reputations = await read_reputations(node, proposal, voters)
    applied, reading = await _applied(node, policy, proposal, votes)
    eligible = (applied, votes.ballots, reputations, proposal.form.counting)
    eligibility = check_eligibility(*eligible)
    verdict = calculate_score(proposal, votes.tally, eligibility)
    steps = (
        _rebuilt(read_proposal, (request,), proposal),
        _rebuilt(fetch_votes, (proposal,), votes),
        _rebuilt(score_reputations, (proposal, voters), reputations),
        *reading,
        _rebuilt(check_eligibility, eligible, eligibility, takes_info=False),
        _rebuilt(calculate_score, (proposal, votes.tally, eligibility), verdict, takes_info=False),
    )
    quorum = await quorum_facts(node, proposal)
    return Rebuilt(steps=steps, proposal=proposal, eligibility=eligibility, verdict=verdict, quorum=quorum)


async def _applied(
    node: Node, policy: AnyPolicy, proposal: Proposal, votes: Votes
) -> tuple[Policy | AppliedPolicy, tuple[RebuiltStep, ...]]:
    """Return the policy with the inputs that it names, and the step that reads them, if there is one."""
    if isinstance(policy, Policy):
        return policy, ()
    inputs = await policy_inputs(node, policy, proposal, votes.ballots)
    step = _rebuilt(read_policy_inputs, (policy, proposal, votes.ballots), inputs)
    return AppliedPolicy(statement=policy, inputs=inputs), (step,)


def _rebuilt(
    step: Callable[..., object], arguments: Sequence[object], result: object, *, takes_info: bool = True
) -> RebuiltStep:
    return RebuiltStep(
        function=step.__name__,
        version=version_of(step),
        input=canonical_arguments(step, arguments, {}, takes_context=takes_info),
        output=canonical_result(step, result),
    )


async def find_request(node: Node, claim: Claim) -> ProposalRequest:
    """Return the proposal's creation as its log on the chain tells it.

    The bundle's first input says in which block to look; without it the whole chain is searched.
    """
    section = claim.section
    dao = await probe(node, section.dao, claim.at)
    hint = _hinted_block(claim.bundle)
    first, last = (hint, hint) if hint is not None and hint <= claim.at else (0, claim.at)
    logs = await logs_between(node, section.dao, dao.creation_topics(claim.proposal_id), first, last)
    for log in logs:
        if dao.proposal_of(log) == claim.proposal_id:
            return request_of(dao.created(log), log, chain_id=section.chain_id, registry=section.registry)
    raise EvidenceError(f"the chain shows no creation of proposal {section.proposal_id} by {section.dao}")


class _FirstInput(msgspec.Struct, frozen=True):
    request: msgspec.Raw


class _Hint(msgspec.Struct, frozen=True):
    block_number: int


def _hinted_block(bundle: Bundle) -> int | None:
    text = bundle.leaves[0].input if bundle.leaves else None
    if text is None:
        return None
    try:
        return msgspec.json.decode(
            msgspec.json.decode(text, type=_FirstInput).request, type=_Hint
        ).block_number
    except msgspec.DecodeError:
        return None


def _policy(claim: Claim) -> AnyPolicy:
    """Return the policy that the bundle names. Raises EvidenceError for one that cannot be applied here."""
    try:
        policy = policy_of(claim.section.policy)
        policy_hash(policy)
        if not isinstance(policy, Policy):
            parts_of(policy)
    except (ValueError, CanonicalError, PolicyError) as error:
        raise EvidenceError(f"the policy in the bundle is none that can be applied: {error}") from error
    return policy
