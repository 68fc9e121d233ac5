"""What the store tells of transactions: whose a nonce is, what was signed for it, what became of it.

Reads alone. A nonce's claim names its owner; the workflow that sends for the owner, and the one that follows
what was confirmed early, hold the rest as the recorded outcomes of their steps.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from contracts.transactions.nonces import (
    CLAIM_OF_NONCE,
    CLAIM_TAG,
    COST_HEADER,
    FEE_HEADER,
    OWNER_HEADER,
    SENDER_TAG,
    TRANSACTION_HEADER,
    WORKFLOW_HEADER,
    follower_id,
)
from contracts.transactions.values import Broadcast, BroadcastState, Confirmation, Position, Signed
from orchestrator.client.codec import decode_value
from orchestrator.domain.errors import Refused
from orchestrator.protocol.commands import PromiseGet, PromiseSearch
from orchestrator.protocol.paging import PAGE, every_promise, fetch_tree
from orchestrator.protocol.records import PromiseRecord, PromiseState
from orchestrator.protocol.transport import Transport
from scorers.errors import ScorerError
from scorers.tree import Call, call_tree

CLAIM_ID = re.compile(r"nonce-([0-9]+)-(0x[0-9a-f]{40})-([0-9]+)")
_NOT_FOUND = 404


class Stage(StrEnum):
    """How far a nonce's transaction has come, by what is recorded."""

    RESERVED = "reserved"
    SIGNED = "signed"
    SENT = "sent"
    REFUSED = "refused by the node"
    MINED = "mined"
    CONFIRMED = "confirmed"
    FINAL = "final"
    FOREIGN = "taken by a foreign transaction"
    ABANDONED = "abandoned"


_OF_POSITION = {
    Position.MINED: Stage.MINED,
    Position.CONFIRMED: Stage.CONFIRMED,
    Position.FINAL: Stage.FINAL,
    Position.TAKEN: Stage.FOREIGN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A nonce and what was sent under it. Times are Unix milliseconds, amounts wei.

    `signed` is all that was signed for it, newest last, `answer` what the node last said to it, and `seen`
    where it was last seen on the chain. What is abandoned has no workflow any more that would send it.
    """

    promise_id: str
    chain_id: int
    sender: str
    nonce: int
    logical_id: str
    workflow_id: str
    created_at: int
    stage: Stage
    cost_max: int
    fee: int | None
    transaction_hash: str | None
    signed: tuple[Signed, ...] = ()
    answer: Broadcast | None = None
    seen: Confirmation | None = None

    @property
    def waits(self) -> bool:
        """Whether it is not known to be mined, so that it can be replaced."""
        return self.stage in (Stage.RESERVED, Stage.SIGNED, Stage.SENT, Stage.REFUSED)


class UnknownTransaction(ScorerError):
    """Nothing in the store answers to this name, or several things do."""

    def __init__(self, name: str, found: Sequence[str]) -> None:
        super().__init__(name, found)
        self.name = name
        self.found = tuple(found)

    def __str__(self) -> str:
        if not self.found:
            return f"no transaction is known as {self.name}: see dao-scorer tx list --all"
        return f"{self.name} may be {' or '.join(self.found)}: choose by --sender, or name one of them"


async def claims(
    transport: Transport, *, sender: str | None, state: PromiseState | None
) -> AsyncIterator[Outgoing]:
    """Yield the nonces of one key (its address), or of all, in order of id, without what was signed."""
    async for record in every_promise(transport.call, tags={CLAIM_TAG: CLAIM_OF_NONCE}, state=state):
        found = _claimed(record)
        if sender is None or found.sender == sender.lower():
            yield found


async def count_in_flight(transport: Transport, chain_id: int, sender: str, *, first: int) -> int:
    """Return how many nonces of a key from `first` on, its next one that is not final, are claimed.

    Counted up to a thousand.
    """
    tags = {SENDER_TAG: f"{chain_id}-{sender}"}
    page = await transport.call(PromiseSearch(state=PromiseState.PENDING, tags=tags, limit=PAGE))
    return sum(_claimed(record).nonce >= first for record in page.promises)


async def with_details(transport: Transport, claim: Outgoing) -> Outgoing:
    """Return it with what its workflows have recorded; what is not there any more is left out."""
    trees = [
        tree
        for workflow_id in (claim.workflow_id, follower_id(claim.promise_id))
        if (tree := await _tree(transport, workflow_id)) is not None
    ]
    calls = [call for tree in trees for call in tree.children]
    signed = [each for each in _signed(calls) if each.nonce == claim.nonce]
    answers: list[Broadcast] = _outcomes(calls, ("broadcast_transaction",), Broadcast)
    seen: list[Confirmation] = _outcomes(calls, ("confirm_transaction",), Confirmation)
    told = replace(
        claim,
        signed=tuple(signed),
        answer=answers[-1] if answers else None,
        seen=seen[-1] if seen else None,
    )
    newest = signed[-1].transaction_hash if signed else None
    mined = told.seen.transaction_hash if told.seen else None
    lives = any(tree.promise.pending for tree in trees)
    return replace(
        told,
        stage=_stage_of(told, lives=lives),
        transaction_hash=claim.transaction_hash or mined or newest,
    )


async def find(transport: Transport, name: str, *, sender: str | None) -> Outgoing:
    """Return the transaction of a name: its nonce's promise, nonce, logical id, workflow or hash.

    What is not final is looked through first. Raises UnknownTransaction.
    """
    if CLAIM_ID.fullmatch(name):
        try:
            record = (await transport.call(PromiseGet(id=name))).promise
        except Refused as refusal:
            if refusal.status != _NOT_FOUND:
                raise
            raise UnknownTransaction(name, ()) from refusal
        return await with_details(transport, _claimed(record))
    open_ones = [
        await with_details(transport, each)
        async for each in claims(transport, sender=sender, state=PromiseState.PENDING)
    ]
    found = [each for each in open_ones if name in _names(each)]
    if not found:
        closed = claims(transport, sender=sender, state=PromiseState.RESOLVED)
        found = [await with_details(transport, each) async for each in closed if name in _names(each)]
    if len(found) != 1:
        raise UnknownTransaction(name, [each.promise_id for each in found])
    return found[0]


def _names(each: Outgoing) -> frozenset[str | None]:
    hashes = (signed.transaction_hash for signed in each.signed)
    return frozenset((str(each.nonce), each.logical_id, each.workflow_id, each.transaction_hash, *hashes))


def _claimed(record: PromiseRecord) -> Outgoing:
    named = CLAIM_ID.fullmatch(record.id)
    if named is None:
        raise UnknownTransaction(record.id, ())
    param, value = record.param.headers or {}, record.value.headers or {}
    fee = value.get(FEE_HEADER)
    stage = Stage.RESERVED
    if not record.pending:
        stage = Stage.FINAL if TRANSACTION_HEADER in value else Stage.FOREIGN
    return Outgoing(
        promise_id=record.id,
        chain_id=int(named[1]),
        sender=named[2],
        nonce=int(named[3]),
        logical_id=param.get(OWNER_HEADER, ""),
        workflow_id=param.get(WORKFLOW_HEADER, ""),
        created_at=record.created_at,
        stage=stage,
        cost_max=int(param.get(COST_HEADER, "0")),
        fee=None if fee is None else int(fee),
        transaction_hash=value.get(TRANSACTION_HEADER),
    )


async def _tree(transport: Transport, workflow_id: str) -> Call | None:
    try:
        return call_tree(*await fetch_tree(transport.call, workflow_id))
    except Refused as refusal:
        if refusal.status != _NOT_FOUND:
            raise
        return None


def _signed(calls: Sequence[Call]) -> list[Signed]:
    names = ("sign_transaction", "sign_replacement", "fill_gap")
    return [each for each in _outcomes(calls, names, Signed | None) if each is not None]


def _outcomes(calls: Sequence[Call], names: Sequence[str], declared: object) -> list[Any]:
    """Return the recorded results of these steps, in the order in which they were called."""
    return [
        decode_value(call.promise.value, declared, call.promise.id)
        for call in calls
        if call.function in names and call.promise.state is PromiseState.RESOLVED
    ]


def _stage_of(told: Outgoing, *, lives: bool) -> Stage:
    if told.stage in (Stage.FINAL, Stage.FOREIGN):
        return told.stage
    if not lives:
        return Stage.ABANDONED
    if told.seen is not None and told.seen.position in _OF_POSITION:
        return _OF_POSITION[told.seen.position]
    if told.answer is not None:
        return Stage.REFUSED if told.answer.state is BroadcastState.REFUSED else Stage.SENT
    return Stage.SIGNED if told.signed else Stage.RESERVED
