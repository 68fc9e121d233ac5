"""Messages that leave once their batch is committed, and the outbox rows for which they stand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.domain.promise import PromiseRecord
from orchestrator.protocol.commands import TaskReference
from orchestrator.protocol.messages import Execute, Message, Unblock
from orchestrator.store.port import Outbox, QueuedExecute, QueuedUnblock
from orchestrator.store.sharing import Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to be sent once its batch is committed. `key` and `queued_at` name its outbox row.

    `held` marks one whose moment has not come yet, and which is sent to somebody new before.
    """

    address: str
    message: Message
    key: str
    queued_at: int
    held: bool = False


def outgoing_execute(row: QueuedExecute) -> Outgoing:
    """Return the message that an outbox row stands for."""
    message = Execute(task=TaskReference(id=row.task_id, version=row.version))
    return Outgoing(address=row.address, message=message, key=row.task_id, queued_at=row.queued_at)


def outgoing_unblock(row: QueuedUnblock, promise: PromiseRecord) -> Outgoing:
    """Return the message that an outbox row stands for."""
    return Outgoing(
        address=row.address, message=Unblock(promise=promise), key=row.promise_id, queued_at=row.queued_at
    )


def outgoing_of(page: Outbox) -> list[Outgoing]:
    """Return the messages for which outbox rows stand."""
    executes = [outgoing_execute(row) for row in page.executes]
    return executes + [outgoing_unblock(row, promise) for row, promise in page.unblocks]


def waiting_of(outgoing: Iterable[Outgoing]) -> Waiting:
    """Return the outbox rows of messages, named so that another engine can take them over."""
    waiting = Waiting()
    for each in outgoing:
        rows = waiting.executes if isinstance(each.message, Execute) else waiting.unblocks
        rows.append((each.key, each.queued_at, each.address))
    return waiting
