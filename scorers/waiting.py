"""What the store tells of transactions without a nonce: who waits, since when, and for what. Reads alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from contracts.transactions.pipeline import SENDING_TAGS
from contracts.transactions.values import Intent, Prepared, PreparedState, Reserved
from orchestrator.client.codec import decode, decode_value
from orchestrator.client.invocation import read_invocation
from orchestrator.protocol.paging import every_promise, fetch_tree
from orchestrator.protocol.records import PromiseRecord, PromiseState
from orchestrator.protocol.transport import Transport
from scorers.tree import Call, call_tree

TRIED = "being tried"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A transaction without a nonce; `created_at` is Unix milliseconds, `reason` for people."""

    workflow_id: str
    chain_id: int
    sender: str
    logical_id: str
    created_at: int
    reason: str


async def waiting(
    transport: Transport, *, sender: str | None, claimed: Collection[str]
) -> AsyncIterator[Waiting]:
    """Yield the transactions of one key, or of all, whose workflows are not among those that `claimed`."""
    async for record in every_promise(transport.call, tags=SENDING_TAGS, state=PromiseState.PENDING):
        intent = _intent(record)
        if record.id not in claimed and (sender is None or intent.sender == sender.lower()):
            yield await _described(transport, record, intent)


def _intent(record: PromiseRecord) -> Intent:
    (argument,) = read_invocation(record).args
    found = decode(argument, Intent, f"the intent of {record.id}")
    assert isinstance(found, Intent)  # noqa: S101 - decoded as such
    return found


async def _described(transport: Transport, record: PromiseRecord, intent: Intent) -> Waiting:
    tree = call_tree(*await fetch_tree(transport.call, record.id))
    return Waiting(
        workflow_id=record.id,
        chain_id=intent.chain_id,
        sender=intent.sender,
        logical_id=intent.logical_id,
        created_at=record.created_at,
        reason=_reason(tree),
    )


def _reason(tree: Call) -> str:
    """Return what the last of its steps has said."""
    for call in reversed(tree.children):
        if call.promise.state is not PromiseState.RESOLVED:
            continue
        if call.function == "reserve_nonce":
            reserved: Reserved = decode_value(call.promise.value, Reserved, call.promise.id)
            halted = None if reserved.halt is None else f"its key is halted: settle {reserved.halt}"
            return halted or reserved.wait or TRIED
        if call.function == "prepare_transaction":
            prepared: Prepared = decode_value(call.promise.value, Prepared, call.promise.id)
            if prepared.state is PreparedState.READY:
                return "a place"
            return f"{prepared.state}: {prepared.reason}" if prepared.reason else prepared.state
    return TRIED
