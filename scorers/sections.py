"""What the evidence bundle of a score says beside its steps: where the score stands, and every vote.

The sections are a pure function of the stored promises, so any process builds the same. Nothing here is
believed by whoever verifies: see `scorers.arithmetic` and `scorers.evidence`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from orchestrator import DecryptionError, PromiseRecord, PromiseState
from orchestrator.client.codec import DecodingError
from orchestrator.client.outcomes import result_of
from orchestrator.commitments.leaf import FUNCTION_HEADER
from scorers.policy import POLICY_NAME, POLICY_VERSION, AnyPolicy, Policy, PolicyStatement
from scorers.steps.eligibility import check_eligibility
from scorers.steps.score import calculate_score
from scorers.values import Eligibility, Quorum, ScoreOutcome, Verdict, Weighing
from scorers.vote_leaves import VoteLeaf, vote_leaves

SECTION = "scoring"
VOTES_SECTION = "votes"
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,77}")


class RuleSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule of eligibility, as `scorers.policy.RuleStatement`."""

    name: str
    version: int
    parameters: dict[str, str]
    lists: dict[str, list[str]]
    code: str


class PolicySection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The policy that counted, as `scorers.policy` writes it.

    The one without configuration has a `minimum_weight`, decimal text; every other has parameters, lists, the
    SHA-256 of its code, and rules.
    """

    name: str
    version: int
    minimum_weight: str | UnsetType = UNSET
    parameters: dict[str, str] | UnsetType = UNSET
    lists: dict[str, list[str]] | UnsetType = UNSET
    code: str | UnsetType = UNSET
    rules: list[RuleSection] | UnsetType = UNSET


class QuorumSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The DAO's own quorum, as `scorers.values.Quorum`; votes are decimal text."""

    required: str
    counted: str
    reached: bool


class ScoringSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a score stands on the chain. Numbers of 256 bits are decimal text, hashes 0x text.

    `snapshot` and `deadline` are timepoints of the DAO's clock, `code` is the release that computed. `quorum`
    stands only where the DAO has one, and is no part of the score.
    """

    chain_id: int
    dao: str
    registry: str
    proposal_id: str
    snapshot: int
    deadline: int
    policy_hash: str
    policy: PolicySection
    code: str
    status: str
    score: int
    for_votes: str
    against_votes: str
    abstain_votes: str
    votes: int
    votes_root: str
    scorer: str
    transaction_hash: str
    block_number: int
    block_hash: str
    quorum: QuorumSection | UnsetType = UNSET


class VoteRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One leaf of the tree of votes, as `scorers.vote_leaves.VoteLeaf`; weights are decimal text."""

    index: int
    voter: str
    support: int
    weight: str
    counted_weight: str
    counted: bool
    reason: str
    block_number: int
    log_index: int


class VotesSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All votes in the order of the chain; without any the root is 32 zero bytes."""

    root: str
    count: int
    leaves: list[VoteRecord]


async def scoring_section(promise_id: str, tree: Sequence[PromiseRecord]) -> Mapping[str, object] | None:
    """Return the section of a scored proposal, None while its score is not on the chain.

    It has the shape that the server takes for a section of evidence, as `votes_section` has.
    """
    record = next((each for each in tree if each.id == promise_id), None)
    if record is None or record.state is not PromiseState.RESOLVED:
        return None
    try:
        return section_of(result_of(record, ScoreOutcome))
    except (DecodingError, DecryptionError):
        # Encrypted, or no scoring at all: the steps are shown without it.
        return None


def section_of(outcome: ScoreOutcome) -> Mapping[str, object] | None:
    """Return the section of an outcome, None where nothing of it stands on the chain."""
    if (
        outcome.policy is None
        or outcome.snapshot is None
        or outcome.deadline is None
        or outcome.code is None
        or outcome.votes is None
        or outcome.votes_root is None
        or outcome.scorer is None
        or outcome.transaction_hash is None
        or outcome.block_number is None
        or outcome.block_hash is None
    ):
        return None
    section = ScoringSection(
        chain_id=outcome.chain_id,
        dao=outcome.dao,
        registry=outcome.registry,
        proposal_id=str(outcome.proposal_id),
        snapshot=outcome.snapshot,
        deadline=outcome.deadline,
        policy_hash=outcome.policy_hash,
        policy=section_of_policy(outcome.policy),
        code=outcome.code,
        status=str(outcome.status),
        score=outcome.score,
        for_votes=str(outcome.for_votes),
        against_votes=str(outcome.against_votes),
        abstain_votes=str(outcome.abstain_votes),
        votes=outcome.votes,
        votes_root=outcome.votes_root,
        scorer=outcome.scorer,
        transaction_hash=outcome.transaction_hash,
        block_number=outcome.block_number,
        block_hash=outcome.block_hash,
        quorum=section_of_quorum(outcome.quorum),
    )
    content: dict[str, object] = msgspec.to_builtins(section)
    return content


def section_of_policy(policy: AnyPolicy) -> PolicySection:
    """Return a policy as bundles show it."""
    if isinstance(policy, Policy):
        weight = str(policy.minimum_weight)
        return PolicySection(name=policy.name, version=policy.version, minimum_weight=weight)
    return PolicySection(
        name=policy.name,
        version=policy.version,
        parameters=policy.parameters,
        lists=policy.lists,
        code=policy.code,
        rules=[msgspec.convert(rule, RuleSection, from_attributes=True) for rule in policy.rules],
    )


def section_of_quorum(quorum: Quorum | None) -> QuorumSection | UnsetType:
    """Return a quorum as bundles show it."""
    if quorum is None:
        return UNSET
    return QuorumSection(required=str(quorum.required), counted=str(quorum.counted), reached=quorum.reached)


def policy_of(section: PolicySection) -> AnyPolicy:
    """Return the policy that a bundle shows. Raises ValueError for what is none."""
    if section.minimum_weight is not UNSET:
        weight = number_in(section.minimum_weight)
        if (section.name, section.version) != (POLICY_NAME, POLICY_VERSION):
            raise ValueError(f"{section.name[:80]} of version {section.version} is not weighed by this alone")
        found: AnyPolicy = Policy(name=section.name, version=section.version, minimum_weight=weight)
    else:
        found = msgspec.convert(section, PolicyStatement, from_attributes=True)
    if section_of_policy(found) != section:
        raise ValueError("it has a minimum_weight, or parameters, lists, code and rules")
    return found


async def votes_section(promise_id: str, tree: Sequence[PromiseRecord]) -> Mapping[str, object] | None:
    """Return the section with every vote, None while there is no verdict or it cannot be read here."""
    eligible, judged = _step(tree, promise_id, check_eligibility), _step(tree, promise_id, calculate_score)
    if eligible is None or judged is None:
        return None
    try:
        return section_of_votes(result_of(eligible, Eligibility | Weighing), result_of(judged, Verdict))
    except (DecodingError, DecryptionError):
        return None


def _step(
    tree: Sequence[PromiseRecord], promise_id: str, step: Callable[..., object]
) -> PromiseRecord | None:
    for record in tree:
        headers = record.value.headers or {}
        if record.id.startswith(promise_id) and headers.get(FUNCTION_HEADER) == step.__name__:
            return record
    return None


def section_of_votes(eligibility: Eligibility | Weighing, verdict: Verdict) -> Mapping[str, object]:
    """Return the section of the votes that a verdict was made of."""
    leaves = [record_of(leaf) for leaf in vote_leaves(eligibility)]
    section = VotesSection(root=verdict.votes_root, count=verdict.votes, leaves=leaves)
    content: dict[str, object] = msgspec.to_builtins(section)
    return content


def record_of(leaf: VoteLeaf) -> VoteRecord:
    """Return a leaf as bundles show it."""
    return VoteRecord(
        index=leaf.index,
        voter=leaf.voter,
        support=leaf.support,
        weight=str(leaf.weight),
        counted_weight=str(leaf.counted_weight),
        counted=leaf.counted,
        reason=leaf.reason,
        block_number=leaf.block_number,
        log_index=leaf.log_index,
    )


def leaf_of(record: VoteRecord) -> VoteLeaf:
    """Return a shown vote as it is hashed. Raises ValueError for a weight that is no number."""
    return VoteLeaf(
        index=record.index,
        voter=record.voter,
        support=record.support,
        weight=number_in(record.weight),
        counted_weight=number_in(record.counted_weight),
        counted=record.counted,
        reason=record.reason,
        block_number=record.block_number,
        log_index=record.log_index,
    )


def number_in(text: str) -> int:
    """Return an amount that a bundle shows. Raises ValueError for what is no decimal number."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no decimal number of at most 78 digits")
    return int(text)
