"""What a bundle says of a score, held against its own steps: no chain, no server, nothing believed.

`verify_bundle` has asked whether the values are those that were hashed; here they are asked what they mean.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from contracts.bindings import BindingError
from orchestrator.client import codec
from orchestrator.commitments import Bundle, CanonicalError, Check, ProofError, canonical, jcs
from scorers.claim import EvidenceError, section_in
from scorers.policies.errors import PolicyError
from scorers.policy import ANY_POLICY, AnyPolicy, Policy, PolicyStatement, policy_hash
from scorers.sections import (
    SECTION,
    ScoringSection,
    VoteRecord,
    leaf_of,
    number_in,
    section_of_policy,
    section_of_quorum,
)
from scorers.steps.eligibility import check_eligibility
from scorers.steps.policy_inputs import read_policy_inputs
from scorers.steps.proposal import read_proposal
from scorers.steps.quorum import quorum_of
from scorers.steps.reputation import score_reputations
from scorers.steps.score import ABSTAIN, AGAINST, FOR, calculate_score, score_of
from scorers.steps.votes import fetch_votes
from scorers.values import (
    AppliedPolicy,
    Eligibility,
    PolicyInputs,
    Proposal,
    Reputation,
    ScoreStatus,
    Verdict,
    Votes,
    Weighing,
)
from scorers.vote_leaves import VoteLeaf, domain_of, vote_leaves, votes_root
from scorers.vote_list import votes_in

Kind = TypeVar("Kind")


def verify_scoring(bundle: Bundle) -> list[Check]:
    """Return the checks of a scored bundle; none where it has no score.

    `scoring`: the section says what the steps say. `votes`: every listed vote, hashed here, stands in the
    tree of votes whose root is in the verdict. `tally`: the counted votes add up to the verdict's score.
    `policy`: applied here to the votes and inputs that the steps show, it counts and weighs as they say.
    """
    if SECTION not in bundle.sections:
        return []
    questions = (("scoring", _scoring), ("votes", _votes), ("tally", _tally), ("policy", _policy))
    return [ask(name, partial(question, bundle)) for name, question in questions]


_FAULTS = (
    *(EvidenceError, ProofError, CanonicalError, PolicyError, codec.DecodingError),
    *(BindingError, ValueError),  # what is no address, no hash or out of range, wherever it is used first
)


def ask(name: str, question: Callable[[], str]) -> Check:
    """Return a check by what its question sees, or by why it does not hold."""
    try:
        return Check(name=name, ok=True, detail=question())
    except _FAULTS as error:
        return Check(name=name, ok=False, detail=str(error))


def value_in(
    bundle: Bundle, step: Callable[..., object], kind: type[Kind], argument: str | None = None
) -> Kind:
    """Return what a step of a bundle put out, or was given as `argument`.

    Raises EvidenceError if the bundle does not show it, or it is something else.
    """
    found: Kind = _shown(bundle, step, argument, kind)
    return found


def _shown(bundle: Bundle, step: Callable[..., object], argument: str | None, kind: object) -> Any:
    """Return a value as the bundle shows it, of exactly the type that it should be."""
    leaf = next((each for each in bundle.leaves if each.function == step.__name__), None)
    text = None if leaf is None else leaf.output if argument is None else leaf.input
    if leaf is None or text is None:
        raise EvidenceError(f"the bundle does not show the values of {step.__name__}")
    content = jcs.parse(text)
    if argument is not None:
        content = content.get(argument) if isinstance(content, dict) else None
    place = f"leaf {leaf.index} ({leaf.function})"
    found = codec.decode(content, kind, place)
    # Reading is generous, and writing is not: what is written back is what was meant.
    try:
        same = jcs.parse(canonical(found, kind).decode()) == content
    except CanonicalError as error:
        raise EvidenceError(f"{place}: {error}") from error
    if not same:
        raise EvidenceError(f"{place} shows something else than a value of {step.__name__}")
    return found


def _scoring(bundle: Bundle) -> str:
    section = section_in(bundle)
    proposal = value_in(bundle, read_proposal, Proposal)
    verdict = value_in(bundle, calculate_score, Verdict)
    policy = _stated(bundle)
    _check_inputs(bundle)
    shown, stated = (msgspec.to_builtins(each) for each in (section.policy, section_of_policy(policy)))
    told: tuple[tuple[str, object, object], ...] = (
        ("chain_id", section.chain_id, proposal.chain_id),
        ("dao", section.dao, proposal.dao),
        ("registry", section.registry, proposal.registry),
        ("proposal_id", section.proposal_id, str(proposal.proposal_id)),
        ("snapshot", section.snapshot, proposal.snapshot),
        ("deadline", section.deadline, proposal.deadline),
        ("policy_hash", section.policy_hash, proposal.policy_hash),
        *((f"policy.{name}", shown.get(name), stated.get(name)) for name in {**stated, **shown}),
    )
    _same_as_committed(told)
    check_verdict(section, verdict)
    _check_quorum(section, proposal)
    if section.policy_hash not in (ANY_POLICY, policy_hash(policy)):
        raise EvidenceError(
            f"the bound policy is {section.policy_hash}, the one that counted hashes to {policy_hash(policy)}"
        )
    if "0x" + domain_of(proposal).hex() != bundle.domain:
        raise EvidenceError("the domain is not that of this chain, registry, DAO, proposal and policy")
    return f"{section.status} {section.score}, as the steps say"


def check_verdict(section: ScoringSection, verdict: Verdict) -> None:
    """Raise EvidenceError, with the place, unless the section says what the verdict's step says."""
    _same_as_committed(
        (
            ("status", section.status, str(verdict.status)),
            ("score", section.score, verdict.score),
            ("for_votes", section.for_votes, str(verdict.for_votes)),
            ("against_votes", section.against_votes, str(verdict.against_votes)),
            ("abstain_votes", section.abstain_votes, str(verdict.abstain_votes)),
            ("votes", section.votes, verdict.votes),
            ("votes_root", section.votes_root, verdict.votes_root),
        )
    )


def _same_as_committed(told: tuple[tuple[str, object, object], ...]) -> None:
    for name, claimed, committed in told:
        if claimed != committed:
            raise EvidenceError(f"{name} is {committed} in the steps, section {SECTION!r} says {claimed}")


def _check_quorum(section: ScoringSection, proposal: Proposal) -> None:
    """Hold the reported quorum against the DAO's tally; how much is required, only the chain tells."""
    if section.quorum is UNSET:
        return
    try:
        required = number_in(section.quorum.required)
    except ValueError as error:
        raise EvidenceError(f"quorum.required: {error}") from error
    expected = section_of_quorum(quorum_of(proposal, required))
    if section.quorum != expected:
        raise EvidenceError(
            f"quorum is {expected} by the DAO's tally, section {SECTION!r} says {section.quorum}"
        )


def _check_inputs(bundle: Bundle) -> None:
    """Hold what was applied against the step that read it: the policy could not tell the difference."""
    applied = _applied(bundle)
    if not isinstance(applied, AppliedPolicy):
        return
    if value_in(bundle, read_policy_inputs, PolicyStatement, "policy") != applied.statement:
        raise EvidenceError("the policy's inputs were read for another policy than the one that counted")
    if value_in(bundle, read_policy_inputs, PolicyInputs) != applied.inputs:
        raise EvidenceError("the policy's inputs are not those that read_policy_inputs put out")


def _stated(bundle: Bundle) -> AnyPolicy:
    given = _applied(bundle)
    return given.statement if isinstance(given, AppliedPolicy) else given


def _applied(bundle: Bundle) -> Policy | AppliedPolicy:
    given: Policy | AppliedPolicy = _shown(bundle, check_eligibility, "policy", Policy | AppliedPolicy)
    return given


def _policy(bundle: Bundle) -> str:
    """Apply the policy to what the bundle itself shows of votes, weights and inputs."""
    applied, proposal = _applied(bundle), value_in(bundle, read_proposal, Proposal)
    votes = value_in(bundle, fetch_votes, Votes)
    reputations = value_in(bundle, score_reputations, list[Reputation])
    kind = Weighing if isinstance(applied, AppliedPolicy) else Eligibility
    shown: Eligibility | Weighing = _shown(bundle, check_eligibility, None, kind)
    try:
        found = check_eligibility(applied, votes.ballots, reputations, proposal.form.counting)
        _compare_votes(shown, found)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # Values that nobody committed to may be anything.
        raise EvidenceError(f"the policy cannot be applied to what the steps show: {error!r}") from error
    return f"{_stated(bundle).name} counts {len(shown.counted)} votes and leaves out {len(shown.excluded)}"


def _compare_votes(shown: Eligibility | Weighing, found: Eligibility | Weighing) -> None:
    for there, here in zip_longest(vote_leaves(shown), vote_leaves(found)):
        if there != here:
            raise EvidenceError(f"by the policy {_treated(here)}, the bundle says {_treated(there)}")
    if shown != found:
        raise EvidenceError("the policy gives these votes in another order")


def _treated(vote: VoteLeaf | None) -> str:
    if vote is None:
        return "there is no such vote"
    return f"the vote of {vote.voter} is " + (
        f"counted with {vote.counted_weight}" if vote.counted else f"left out ({vote.reason})"
    )


def _votes(bundle: Bundle) -> str:
    section = votes_in(bundle)
    verdict = value_in(bundle, calculate_score, Verdict)
    domain = bytes.fromhex(bundle.domain[2:])
    leaves = []
    for vote in section.leaves:
        try:
            leaves.append(leaf_of(vote))
        except ValueError as error:
            raise EvidenceError(f"vote {vote.index} of {vote.voter}: {error}") from error
    root = votes_root(domain, leaves)
    for name, claimed in (("section 'votes'", section.root), ("the verdict", verdict.votes_root)):
        if claimed != root:
            raise EvidenceError(f"the listed votes give root {root}, {name} says {claimed}")
    if verdict.votes != section.count:
        raise EvidenceError(f"the verdict counts {verdict.votes} votes, {section.count} are listed")
    return f"{section.count} votes lead to the root in the verdict"


def _tally(bundle: Bundle) -> str:
    section, votes = section_in(bundle), votes_in(bundle)
    sums = {side: sum(_counted(vote) for vote in votes.leaves if vote.support == side) for side in _SIDES}
    for side, name in _SIDES.items():
        claimed = getattr(section, name)
        if str(sums[side]) != claimed:
            raise EvidenceError(
                f"{name} is {sums[side]} by the listed votes, section {SECTION!r} says {claimed}"
            )
    decided = sums[FOR] + sums[AGAINST] > 0
    status = str(ScoreStatus.SCORED if decided else ScoreStatus.NO_VOTES)
    score = score_of(sums[FOR], sums[AGAINST]) if decided else 0
    if (status, score) != (section.status, section.score):
        raise EvidenceError(
            f"these votes give {status} {score}, section {SECTION!r} says {section.status} {section.score}"
        )
    return f"{sums[FOR]} for and {sums[AGAINST]} against give {score}"


def _counted(vote: VoteRecord) -> int:
    if not vote.counted and vote.counted_weight != "0":
        raise EvidenceError(f"vote {vote.index} of {vote.voter} is left out and weighs {vote.counted_weight}")
    try:
        return leaf_of(vote).counted_weight
    except ValueError as error:
        raise EvidenceError(f"vote {vote.index} of {vote.voter}: {error}") from error


_SIDES = {FOR: "for_votes", AGAINST: "against_votes", ABSTAIN: "abstain_votes"}
