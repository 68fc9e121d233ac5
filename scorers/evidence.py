"""What a proof says of the chain, and its verification against the chain by anyone with a node.

The section of a bundle is a pure function of the stored promises. Verification believes none of it: root,
score and transaction are read from the registry, and every step is computed again from public chain data.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from contracts.bindings import BindingError, proposal_scores
from contracts.dao import DaoError, probe
from contracts.rpc import CallReverted, Node, RpcError, logs_between
from listener.invocation import ProposalRequest, request_of
from orchestrator import PromiseRecord, PromiseState
from orchestrator.client.outcomes import result_of
from orchestrator.commitments import Bundle, Check, LeafRecord, canonical_arguments, canonical_result
from scorers.policy import Policy, PolicyMismatch, check_bound
from scorers.steps.eligibility import check_eligibility
from scorers.steps.proposal import VotingNotEnded, WrongRegistry, proposal_facts, read_proposal
from scorers.steps.reputation import read_reputations, score_reputations, voters_of
from scorers.steps.score import calculate_score
from scorers.steps.votes import fetch_votes, read_settled_votes
from scorers.submission import STATUS_CODES
from scorers.values import ScoreOutcome, ScoreStatus, Verdict

SECTION = "scoring"
HEX_DIGITS_OF_HASH = 64


class PolicySection(msgspec.Struct, frozen=True, kw_only=True):
    """The rule that counted; the minimum weight is decimal text."""

    name: str
    version: int
    minimum_weight: str


class ScoringSection(msgspec.Struct, frozen=True, kw_only=True):
    """Where a score stands on the chain. Numbers of 256 bits are decimal text, hashes 0x text."""

    chain_id: int
    dao: str
    registry: str
    proposal_id: str
    policy_hash: str
    policy: PolicySection
    status: str
    score: int
    for_votes: str
    against_votes: str
    abstain_votes: str
    scorer: str
    transaction_hash: str
    block_number: int
    block_hash: str


class EvidenceError(Exception):
    """A bundle that says too little, or what the chain does not confirm; the message names the place."""


async def scoring_section(promise_id: str, tree: Sequence[PromiseRecord]) -> Mapping[str, object] | None:
    """Return the section of a scored proposal, None while its score is not on the chain.

    It has the shape that the server takes for a section of evidence.
    """
    record = next((each for each in tree if each.id == promise_id), None)
    if record is None or record.state is not PromiseState.RESOLVED:
        return None
    return section_of(result_of(record, ScoreOutcome))


def section_of(outcome: ScoreOutcome) -> Mapping[str, object] | None:
    """Return the section of an outcome, None where nothing of it stands on the chain."""
    if (
        outcome.policy is None
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
        policy_hash=outcome.policy_hash,
        policy=PolicySection(
            name=outcome.policy.name,
            version=outcome.policy.version,
            minimum_weight=str(outcome.policy.minimum_weight),
        ),
        status=str(outcome.status),
        score=outcome.score,
        for_votes=str(outcome.for_votes),
        against_votes=str(outcome.against_votes),
        abstain_votes=str(outcome.abstain_votes),
        scorer=outcome.scorer,
        transaction_hash=outcome.transaction_hash,
        block_number=outcome.block_number,
        block_hash=outcome.block_hash,
    )
    content: dict[str, object] = msgspec.to_builtins(section)
    return content


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A bundle with its section read, and the finalised block at which it is judged."""

    bundle: Bundle
    section: ScoringSection
    proposal_id: int
    at: int


async def verify_on_chain(node: Node, bundle: Bundle) -> list[Check]:
    """Return all checks of a bundle against the chain that `node` serves; it holds if each is ok.

    Raises RpcError only where the node gives no usable answer: then nothing is known. The bundle's own
    arithmetic is `verify_bundle`'s question.
    """
    try:
        claim = await read_claim(node, bundle)
    except EvidenceError as error:
        return [Check(name="section", ok=False, detail=str(error))]
    questions: tuple[tuple[str, Callable[[Node, Claim], Awaitable[str]]], ...] = (
        ("chain", _chain),
        ("domain", _domain),
        ("registry", _registry),
        ("transaction", _transaction),
        ("steps", _steps),
        ("score", _score),
    )
    return [await _ask(name, question, node, claim) for name, question in questions]


async def _ask(
    name: str, question: Callable[[Node, Claim], Awaitable[str]], node: Node, claim: Claim
) -> Check:
    try:
        return Check(name=name, ok=True, detail=await question(node, claim))
    except (
        EvidenceError,
        BindingError,
        PolicyMismatch,
        VotingNotEnded,
        DaoError,
        WrongRegistry,
    ) as error:
        return Check(name=name, ok=False, detail=str(error))
    except RpcError as error:
        if error.retryable:
            raise
        return Check(name=name, ok=False, detail=str(error))


async def read_claim(node: Node, bundle: Bundle) -> Claim:
    """Return the bundle's claim. Raises EvidenceError if its section is missing or malformed."""
    content = bundle.sections.get(SECTION)
    if content is None:
        raise EvidenceError(f"the bundle has no section {SECTION!r}: its score is not on a chain yet")
    try:
        section = msgspec.convert(content, ScoringSection)
        proposal_id = int(section.proposal_id)
    except ValueError as error:
        raise EvidenceError(f"section {SECTION!r} is malformed: {error}") from error
    finalized = await node.header("finalized")
    return Claim(bundle=bundle, section=section, proposal_id=proposal_id, at=finalized.number)


async def _chain(node: Node, claim: Claim) -> str:
    actual = await node.chain_id()
    _same("the chain", claim.section.chain_id, actual)
    return f"chain {actual}"


async def _domain(node: Node, claim: Claim) -> str:
    data = proposal_scores.DOMAIN_OF.encode(claim.proposal_id)
    answer = await node.call(claim.section.registry, data, claim.at)
    _same("the domain", claim.bundle.domain, _text(proposal_scores.DOMAIN_OF.decode(answer)))
    return "the registry computes the same domain"


async def _registry(node: Node, claim: Claim) -> str:
    section = claim.section
    status, score, root = await _verdict_on_chain(node, claim)
    _same("the root", claim.bundle.root, _text(root))
    _same("the score", section.score, score)
    _same("the status", section.status, _name_of(status))
    return f"{section.registry} holds this root with status {section.status} and score {score}"


async def _verdict_on_chain(node: Node, claim: Claim) -> tuple[proposal_scores.Status, int, bytes]:
    """Return the final verdict, or, where there is none yet, what this scorer submitted."""
    registry, final = claim.section.registry, proposal_scores.SCORE_OF
    try:
        verdict = final.decode(await node.call(registry, final.encode(claim.proposal_id), claim.at))
    except CallReverted:
        read = proposal_scores.SUBMISSION_OF
        data = read.encode(claim.proposal_id, proposal_scores.FIRST_ROUND, claim.section.scorer)
        submitted = read.decode(await node.call(registry, data, claim.at))
        return submitted.status, submitted.score, submitted.root
    return verdict.status, verdict.score, verdict.root


async def _transaction(node: Node, claim: Claim) -> str:
    section, event = claim.section, proposal_scores.SCORE_SUBMITTED
    receipt = await node.receipt(_hash("transaction_hash", section.transaction_hash))
    if receipt is None:
        raise EvidenceError(f"the chain has no transaction {section.transaction_hash}")
    _same("the block number", section.block_number, receipt.block_number)
    _same("the block", section.block_hash, _text(receipt.block_hash))
    _same("the canonical block", section.block_hash, _text((await node.header(receipt.block_number)).hash))
    logs = [log for log in receipt.logs if log.address == section.registry and event.matches(log)]
    expected = (claim.proposal_id, section.scorer, section.score, claim.bundle.root)
    found = [
        (each.proposal_id, each.scorer.lower(), each.score, _text(each.root))
        for each in map(event.decode, logs)
    ]
    if expected not in found:
        raise EvidenceError(f"transaction {section.transaction_hash} submitted something else: {found}")
    return f"{section.transaction_hash} in block {section.block_number}"


async def _steps(node: Node, claim: Claim) -> str:
    verify = proposal_scores.VERIFY_STEP
    calls = [
        (claim.section.registry, verify.encode(claim.proposal_id, _proof(leaf), _step(claim.bundle, leaf)))
        for leaf in claim.bundle.leaves
    ]
    for leaf, answer in zip(claim.bundle.leaves, await node.call_many(calls, claim.at), strict=True):
        if not verify.decode(answer):
            raise EvidenceError(f"the registry refuses leaf {leaf.index} ({leaf.function})")
    return f"the registry accepts {len(calls)} leaves"


def _proof(leaf: LeafRecord) -> list[bytes]:
    return [_hash(f"leaf {leaf.index}, proof", sibling) for sibling in leaf.proof]


def _step(bundle: Bundle, leaf: LeafRecord) -> proposal_scores.Step:
    return proposal_scores.Step(
        domain=_hash("domain", bundle.domain),
        index=leaf.index,
        count=bundle.count,
        function_name=leaf.function,
        version=leaf.version,
        input_hash=_hash(f"leaf {leaf.index}, input_hash", leaf.input_hash),
        output_hash=_hash(f"leaf {leaf.index}, output_hash", leaf.output_hash),
    )


async def _score(node: Node, claim: Claim) -> str:
    """Compute every step again from the chain alone and compare it with its leaf."""
    leaves, verdict = await recompute(node, claim)
    if len(leaves) != len(claim.bundle.leaves):
        raise EvidenceError(f"scoring has {len(leaves)} steps, the bundle shows {len(claim.bundle.leaves)}")
    for leaf, expected in zip(claim.bundle.leaves, leaves, strict=True):
        _same(f"the function of leaf {leaf.index}", leaf.function, expected.function)
        _same(f"the input of leaf {leaf.index} ({leaf.function})", leaf.input_hash, expected.input_hash)
        _same(f"the output of leaf {leaf.index} ({leaf.function})", leaf.output_hash, expected.output_hash)
    section = claim.section
    _same("the score", section.score, verdict.score)
    _same("the votes for", section.for_votes, str(verdict.for_votes))
    _same("the votes against", section.against_votes, str(verdict.against_votes))
    _same("the abstentions", section.abstain_votes, str(verdict.abstain_votes))
    return f"{verdict.counted} votes read from the chain give {verdict.status} {verdict.score}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the leaf of a step must say, by this verifier's own computation."""

    function: str
    input_hash: str
    output_hash: str


async def recompute(node: Node, claim: Claim) -> tuple[list[Expected], Verdict]:
    """Return what the leaves must be, and the verdict, from the chain and the policy's parameters.

    The parameters are the bundle's: they stand in a leaf, and in the registry's hash where it binds one.
    """
    request = await find_request(node, claim)
    policy = _policy(claim.section)
    proposal = await proposal_facts(node, request)
    check_bound(policy, proposal_id=proposal.proposal_id, bound=proposal.policy_hash)
    votes = await read_settled_votes(node, proposal)
    voters = voters_of(votes.ballots)
    reputations = await read_reputations(node, proposal, voters)
    eligible = (policy, votes.ballots, reputations, proposal.form.counting)
    eligibility = check_eligibility(*eligible)
    verdict = calculate_score(proposal, votes.tally, eligibility)
    return [
        _expected(read_proposal, (request,), proposal),
        _expected(fetch_votes, (proposal,), votes),
        _expected(score_reputations, (proposal, voters), reputations),
        _expected(check_eligibility, eligible, eligibility, takes_info=False),
        _expected(calculate_score, (proposal, votes.tally, eligibility), verdict, takes_info=False),
    ], verdict


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


def _policy(section: ScoringSection) -> Policy:
    try:
        return Policy(
            name=section.policy.name,
            version=section.policy.version,
            minimum_weight=int(section.policy.minimum_weight),
        )
    except ValueError as error:
        raise EvidenceError(f"the policy in the bundle is none: {error}") from error


def _expected(
    step: Callable[..., object], arguments: Sequence[object], result: object, *, takes_info: bool = True
) -> Expected:
    written = canonical_arguments(step, arguments, {}, takes_context=takes_info)
    return Expected(
        function=step.__name__,
        input_hash=_text(sha256(written).digest()),
        output_hash=_text(sha256(canonical_result(step, result)).digest()),
    )


def _name_of(status: proposal_scores.Status) -> str:
    names: dict[proposal_scores.Status, ScoreStatus] = {code: name for name, code in STATUS_CODES.items()}
    return str(names.get(status, "None"))


def _same(what: str, claimed: object, actual: object) -> None:
    if claimed != actual:
        raise EvidenceError(f"{what} is {actual} on the chain, the bundle says {claimed}")


def _hash(name: str, text: str) -> bytes:
    digits = text.removeprefix("0x")
    try:
        found = bytes.fromhex(digits)
    except ValueError:
        found = b""
    if len(digits) != HEX_DIGITS_OF_HASH or not found:
        raise EvidenceError(f"{name} is not a hash: {text[:80]!r}")
    return found


def _text(value: bytes) -> str:
    return "0x" + value.hex()
