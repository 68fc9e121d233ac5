"""Reading one range of finalised logs.

C2 begins here: a range is what lies between the cursor and its last block, and nothing of it is left out.
Nothing is dispatched or remembered here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.bindings import DecodeError, Log
from contracts.bindings.reputation_dao import PROPOSAL_CANCELED, PROPOSAL_CREATED
from contracts.rpc import BlockHeader, Node, NodeUnavailable
from listener.errors import ReorgBeyondFinality, UnreadableLog
from listener.invocation import ProposalRequest, request_of
from listener.settings import ListenerSettings
from listener.store import Cursor

_TOPICS = [[PROPOSAL_CREATED.topic0, PROPOSAL_CANCELED.topic0]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """What the blocks up to `cursor` brought, in the order of the chain."""

    cursor: Cursor
    created: tuple[ProposalRequest, ...]
    canceled: tuple[str, ...]


async def check_cursor(node: Node, cursor: Cursor, finalized: BlockHeader) -> None:
    """Compare the cursor's block with the node's. Raises ReorgBeyondFinality; the cursor is not ahead."""
    header = finalized if finalized.number == cursor.block_number else await node.header(cursor.block_number)
    if header.hash != cursor.block_hash:
        raise ReorgBeyondFinality(cursor.block_number, cursor.block_hash, header.hash)


async def read_range(node: Node, settings: ListenerSettings, first: int, last: int) -> Scanned:
    """Read the logs of the finalised blocks `first` to `last`. Raises UnreadableLog."""
    logs = await node.logs(settings.dao, _TOPICS, first, last)
    # Asked after the logs: a node that knows the last block's hash did know the block when it gave them.
    boundary = await node.header(last)
    _check_boundary(node, logs, boundary)
    return Scanned(
        cursor=Cursor(block_number=last, block_hash=boundary.hash),
        created=tuple(_request(log, settings) for log in logs if PROPOSAL_CREATED.matches(log)),
        canceled=tuple(_canceled(log) for log in logs if PROPOSAL_CANCELED.matches(log)),
    )


def _check_boundary(node: Node, logs: Sequence[Log], boundary: BlockHeader) -> None:
    for log in logs:
        if log.block_number == boundary.number and log.block_hash != boundary.hash:
            reason = f"its logs and its headers disagree about the hash of block {boundary.number}"
            raise NodeUnavailable(node.endpoint, reason)


def _request(log: Log, settings: ListenerSettings) -> ProposalRequest:
    try:
        created = PROPOSAL_CREATED.decode(log)
    except DecodeError as error:
        raise UnreadableLog(log.block_number, log.log_index, str(error)) from error
    return request_of(created, log, chain_id=settings.chain_id, registry=settings.registry)


def _canceled(log: Log) -> str:
    try:
        return str(PROPOSAL_CANCELED.decode(log).proposal_id)
    except DecodeError as error:
        raise UnreadableLog(log.block_number, log.log_index, str(error)) from error
