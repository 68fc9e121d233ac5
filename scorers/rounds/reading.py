"""Looks at a proposal's rounds: where it stands, and what others have submitted since the last look.

A disagreement is told here, once for each submission, in the log and in the metrics: a workflow may do
neither, since its replay would say everything again.
"""

from __future__ import annotations

import structlog

from contracts.bindings import proposal_scores
from contracts.bindings.governor import ProposalState
from contracts.bindings.proposal_scores import Course, Stage
from contracts.bindings.score_values import NOBODY
from contracts.rpc import Node, logs_between
from contracts.transactions import Signers
from orchestrator import Info
from scorers.rounds.course import course_calls, read_course, stagger_s
from scorers.rounds.metrics import AgreementMetrics
from scorers.rounds.values import Followed, Look, Said, Voice
from scorers.steps.votes import dao_of
from scorers.submission import STATUS_CODES, SubmissionMode
from scorers.values import Proposal

log = structlog.get_logger(__name__)


def said_by(followed: Followed) -> Said:
    """Return our own verdict."""
    verdict = followed.verdict
    return Said(status=int(STATUS_CODES[verdict.status]), score=verdict.score, root=followed.root)


async def look_at_rounds(info: Info, followed: Followed, since: int) -> Look:
    """Return what the finalised block shows, with the submissions from block `since` on."""
    node, proposal = info.dependency(Node), followed.proposal
    # What began in the shadow stays there, whoever goes on with it: its outcome says that nothing was sent.
    shadow = followed.round == 0 or info.dependency(SubmissionMode).shadow
    signers = None if shadow else info.dependency(Signers)
    sender = signers.chosen_for(str(proposal.proposal_id)) if signers else None
    header = await node.header("finalized")
    state = dao_of(proposal).state(proposal.proposal_id)
    place = (proposal.registry, proposal.proposal_id)
    calls = [state.call, *course_calls(place, sender or NOBODY)]
    answers = await node.call_many(calls, header.number)
    found = read_course(answers[1:])
    voices = await _voices(node, proposal, since, header.number)
    ours = signers.addresses if signers else ()
    _tell(info, followed, [voice for voice in voices if voice.scorer not in ours])
    due = found.due(header.timestamp, stagger_s(sender)) if sender else None
    look = Look(
        block_number=header.number,
        now=header.timestamp,
        stage=int(found.course.stage),
        round=found.round,
        until=found.course.until,
        cancelled=state.decode(answers[0]) is ProposalState.CANCELED,
        voices=tuple(voices),
        sender=sender,
        admitted=sender is not None and found.admitted,
        due=due.name if due else None,
        verdict=_verdict(found.course),
    )
    _tell_end(info, followed, look)
    return look


def _verdict(course: Course) -> Said | None:
    if course.stage is Stage.OPEN:
        return None
    return Said(status=int(course.status), score=course.score, root="0x" + course.root.hex())


async def _voices(node: Node, proposal: Proposal, first: int, last: int) -> list[Voice]:
    if first > last:
        return []
    event = proposal_scores.SCORE_SUBMITTED
    topics = event.topics(proposal_id=proposal.proposal_id)
    found = []
    for each in await logs_between(node, proposal.registry, topics, first, last):
        submitted = event.decode(each)
        found.append(
            Voice(
                scorer=submitted.scorer.lower(),
                round=submitted.round,
                said=Said(
                    status=int(submitted.status), score=submitted.score, root="0x" + submitted.root.hex()
                ),
                transaction_hash="0x" + each.transaction_hash.hex(),
                block_number=each.block_number,
                block_hash="0x" + each.block_hash.hex(),
            )
        )
    return found


def _tell(info: Info, followed: Followed, others: list[Voice]) -> None:
    metrics, ours = info.dependency(AgreementMetrics), said_by(followed)
    for voice in others:
        agrees = voice.said == ours
        metrics.compare(agrees=agrees)
        if not agrees:
            log.warning(
                "scorer_disagrees",
                **_place(followed),
                round=voice.round,
                scorer=voice.scorer,
                theirs=str(voice.said),
                ours=str(ours),
                tx_hash=voice.transaction_hash,
            )


def _tell_end(info: Info, followed: Followed, look: Look) -> None:
    if look.stage != Stage.FINAL or look.verdict is None:
        return
    ours = said_by(followed)
    agrees = look.verdict == ours
    info.dependency(AgreementMetrics).finish(agrees=agrees)
    if agrees:
        log.info("verdict_final", **_place(followed), round=look.round)
    else:
        log.error(
            "verdict_outvoted",
            **_place(followed),
            round=look.round,
            final=str(look.verdict),
            ours=str(ours),
            hint="dao-scorer audit tells which of the two the chain's data give",
        )


def _place(followed: Followed) -> dict[str, object]:
    proposal = followed.proposal
    return {"chain_id": proposal.chain_id, "registry": proposal.registry, "proposal_id": proposal.proposal_id}
