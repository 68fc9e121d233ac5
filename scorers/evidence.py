"""The verification of a proof against the chain, by anyone with a node.

Nothing in a bundle is believed: root, score and transaction are read from the registry, and every step is
computed again from public chain data.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from contracts.bindings import BindingError, proposal_scores
from contracts.bindings.governor import ProposalState
from contracts.dao import DaoError, probe
from contracts.rpc import CallReverted, Node, RpcError
from orchestrator.commitments import Bundle, Check, LeafRecord
from scorers.claim import Claim, EvidenceError, hash_in, read_claim, same, text_of
from scorers.differences import Difference, differences_of
from scorers.policies.errors import PolicyError
from scorers.policy import PolicyMismatch
from scorers.rebuild import rebuild
from scorers.steps.history import HistoryIncomplete
from scorers.steps.proposal import VotingNotEnded, WrongRegistry, dao_of_registry
from scorers.submission import STATUS_CODES
from scorers.values import ScoreStatus

ROUNDS_MAX = 17
"""As many as a registry can have, and the one of its admin's word: whoever names more is none."""
STEPS_MAX = 64
"""Far more than a score has: what a forged bundle lists is not all put to the reader's node."""
Question = Callable[[Node, Claim], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What the chain says of a bundle: the checks, and every place where it says something else."""

    checks: list[Check]
    differences: list[Difference]


async def verify_on_chain(node: Node, bundle: Bundle) -> list[Check]:
    """Return all checks of a bundle against the chain that `node` serves; it holds if each is ok.

    Raises RpcError only where the node gives no usable answer: then nothing is known. The bundle's own
    arithmetic is the question of `verify_bundle` and `scorers.arithmetic.verify_scoring`.
    """
    return (await examine(node, bundle)).checks


async def examine(node: Node, bundle: Bundle) -> Examination:
    """Return the checks, and where the bundle differs from the chain; raises as `verify_on_chain`."""
    differences: list[Difference] = []

    async def score(node: Node, claim: Claim) -> str:
        rebuilt = await rebuild(node, claim)
        differences.extend(differences_of(claim.bundle, claim.section, rebuilt))
        if differences:
            raise EvidenceError(str(differences[0]))
        verdict = rebuilt.verdict
        return f"{verdict.counted} votes read from the chain give {verdict.status} {verdict.score}"

    checks = await _checks(node, bundle, (*_PLACES, ("standing", _standing), ("score", score)))
    return Examination(checks=checks, differences=differences)


async def verify_place(node: Node, bundle: Bundle) -> list[Check]:
    """Return the checks of where the root stands, for a bundle that shows only some of its steps."""
    return await _checks(node, bundle, (*_PLACES, ("dao", _dao)))


async def _checks(node: Node, bundle: Bundle, questions: tuple[tuple[str, Question], ...]) -> list[Check]:
    try:
        claim = await read_claim(node, bundle)
    except EvidenceError as error:
        return [Check(name="section", ok=False, detail=str(error))]
    return [await _ask(name, question, node, claim) for name, question in questions]


async def _ask(name: str, question: Question, node: Node, claim: Claim) -> Check:
    try:
        return Check(name=name, ok=True, detail=await question(node, claim))
    except (
        EvidenceError,
        BindingError,
        PolicyError,
        PolicyMismatch,
        HistoryIncomplete,
        VotingNotEnded,
        DaoError,
        WrongRegistry,
    ) as error:
        return Check(name=name, ok=False, detail=str(error))
    except RpcError as error:
        if error.retryable:
            raise
        return Check(name=name, ok=False, detail=str(error))


async def _chain(node: Node, claim: Claim) -> str:
    actual = await node.chain_id()
    same("the chain", claim.section.chain_id, actual)
    return f"chain {actual}"


async def _domain(node: Node, claim: Claim) -> str:
    data = proposal_scores.DOMAIN_OF.encode(claim.proposal_id)
    answer = await node.call(claim.section.registry, data, claim.at)
    same("the domain", claim.bundle.domain, text_of(proposal_scores.DOMAIN_OF.decode(answer)))
    return "the registry computes the same domain"


async def _registry(node: Node, claim: Claim) -> str:
    section = claim.section
    status, score, root = await _verdict_on_chain(node, claim)
    same("the root", claim.bundle.root, text_of(root))
    same("the score", section.score, score)
    same("the status", section.status, _name_of(status))
    return f"{section.registry} holds this root with status {section.status} and score {score}"


async def _verdict_on_chain(node: Node, claim: Claim) -> tuple[proposal_scores.Status, int, bytes]:
    """Return the final verdict, or, where there is none yet, what this scorer submitted last."""
    registry, final = claim.section.registry, proposal_scores.SCORE_OF
    try:
        verdict = final.decode(await node.call(registry, final.encode(claim.proposal_id), claim.at))
    except CallReverted:
        _, submitted = await _last_submission(node, claim)
        return submitted.status, submitted.score, submitted.root
    return verdict.status, verdict.score, verdict.root


async def _last_submission(node: Node, claim: Claim) -> tuple[int, proposal_scores.SubmissionRecord]:
    """Return what this scorer submitted in the last round that it took part in, and that round."""
    registry, round_of = claim.section.registry, proposal_scores.ROUND_OF
    current = round_of.decode(await node.call(registry, round_of.encode(claim.proposal_id), claim.at))
    if not 1 <= current <= ROUNDS_MAX:
        raise EvidenceError(f"{registry} says that this is round {current}: it is no registry of scores")
    read, rounds = proposal_scores.SUBMISSION_OF, range(current, 0, -1)
    calls = [(registry, read.encode(claim.proposal_id, round_, claim.section.scorer)) for round_ in rounds]
    records = [read.decode(answer) for answer in await node.call_many(calls, claim.at)]
    found = zip(rounds, records, strict=True)
    made = (each for each in found if each[1].status is not proposal_scores.Status.NONE)
    return next(made, (current, records[0]))


async def _transaction(node: Node, claim: Claim) -> str:
    section, event = claim.section, proposal_scores.SCORE_SUBMITTED
    receipt = await node.receipt(hash_in("transaction_hash", section.transaction_hash))
    if receipt is None:
        raise EvidenceError(f"the chain has no transaction {section.transaction_hash}")
    same("the block number", section.block_number, receipt.block_number)
    same("the block", section.block_hash, text_of(receipt.block_hash))
    same("the canonical block", section.block_hash, text_of((await node.header(receipt.block_number)).hash))
    logs = [log for log in receipt.logs if log.address == section.registry and event.matches(log)]
    expected = (claim.proposal_id, section.scorer, section.score, claim.bundle.root)
    found = [
        (each.proposal_id, each.scorer.lower(), each.score, text_of(each.root))
        for each in map(event.decode, logs)
    ]
    if expected not in found:
        raise EvidenceError(f"transaction {section.transaction_hash} submitted something else: {found}")
    return f"{section.transaction_hash} in block {section.block_number}"


async def _steps(node: Node, claim: Claim) -> str:
    verify, verify_submitted = proposal_scores.VERIFY_STEP, proposal_scores.VERIFY_SUBMITTED_STEP
    registry, final = claim.section.registry, proposal_scores.IS_FINAL
    if len(claim.bundle.leaves) > STEPS_MAX:
        raise EvidenceError(
            f"no score has {len(claim.bundle.leaves)} steps, at most {STEPS_MAX} are asked for"
        )
    shown = [(_proof(leaf), _step(claim.bundle, leaf)) for leaf in claim.bundle.leaves]
    if final.decode(await node.call(registry, final.encode(claim.proposal_id), claim.at)):
        calls = [(registry, verify.encode(claim.proposal_id, proof, step)) for proof, step in shown]
    else:
        round_, _ = await _last_submission(node, claim)
        where = (claim.proposal_id, round_, claim.section.scorer)
        calls = [(registry, verify_submitted.encode(*where, proof, step)) for proof, step in shown]
    for leaf, answer in zip(claim.bundle.leaves, await node.call_many(calls, claim.at), strict=True):
        if not verify.decode(answer):
            raise EvidenceError(f"the registry refuses leaf {leaf.index} ({leaf.function})")
    return f"the registry accepts {len(calls)} leaves"


async def _dao(node: Node, claim: Claim) -> str:
    """Tell whether the registry scores this DAO: a proof that shows all steps is rebuilt from it instead."""
    section, asked = claim.section, proposal_scores.DAO
    named = asked.decode(await node.call(section.registry, asked.encode(), claim.at)).lower()
    if named != section.dao:
        named = await dao_of_registry(node, await probe(node, section.dao, claim.at), named, claim.at)
    same("the registry's DAO", section.dao, named)
    return f"{section.registry} scores {section.dao}"


async def _standing(node: Node, claim: Claim) -> str:
    """Tell what became of the proposal since; a score that was submitted is never rewritten."""
    dao = await probe(node, claim.section.dao, claim.at)
    read = dao.state(claim.proposal_id)
    state = read.decode(await node.call(*read.call, claim.at))
    if state is ProposalState.CANCELED:
        return "the DAO has cancelled the proposal since its score was submitted: the score stands as it was"
    return f"the DAO says that the proposal is {state.name.lower()}"


def _proof(leaf: LeafRecord) -> list[bytes]:
    return [hash_in(f"leaf {leaf.index}, proof", sibling) for sibling in leaf.proof]


def _step(bundle: Bundle, leaf: LeafRecord) -> proposal_scores.Step:
    return proposal_scores.Step(
        domain=hash_in("domain", bundle.domain),
        index=leaf.index,
        count=bundle.count,
        function_name=leaf.function,
        version=leaf.version,
        input_hash=hash_in(f"leaf {leaf.index}, input_hash", leaf.input_hash),
        output_hash=hash_in(f"leaf {leaf.index}, output_hash", leaf.output_hash),
    )


def _name_of(status: proposal_scores.Status) -> str:
    names: dict[proposal_scores.Status, ScoreStatus] = {code: name for name, code in STATUS_CODES.items()}
    return str(names.get(status, "None"))


_PLACES: tuple[tuple[str, Question], ...] = (
    ("chain", _chain),
    ("domain", _domain),
    ("registry", _registry),
    ("transaction", _transaction),
    ("steps", _steps),
)
