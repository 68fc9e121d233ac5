"""The listener's side of the orchestrator: invocations and ends of voting, each made or settled once.

Every request here may be repeated (P1, P2): after Unavailable the caller does it all again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import structlog

from listener.errors import ContentMismatch, DispatchRefused
from listener.invocation import VotingEnded
from listener.settings import ListenerSettings
from listener.shapes import Invocation
from orchestrator.domain.errors import Refused

if TYPE_CHECKING:
    from orchestrator import Orchestrator

CONTENT_HASH_TAG = "dao-scorer:content-hash"
"""Stands on the promise itself, where it can be compared although arguments may be encrypted."""
REGISTRY_TAG = "dao-scorer:registry"
"""Stands beside it: an invocation keeps the registry that it was made for, whatever is configured later."""
_T = TypeVar("_T")
_log = structlog.get_logger("listener")


class Dispatcher:
    """Sends through `app`, at most `dispatch_concurrency` requests together."""

    def __init__(self, app: Orchestrator, settings: ListenerSettings) -> None:
        self._app = app
        self._settings = settings

    async def invoke_all(self, invocations: Sequence[Invocation]) -> None:
        """Make every invocation exist. Raises ContentMismatch, DispatchRefused or Unavailable."""
        await in_groups(invocations, self._settings.dispatch_concurrency, self._invoke)

    async def end_all(self, ended: Sequence[tuple[str, VotingEnded]]) -> None:
        """Settle the promises of these ids unless they are. Raises DispatchRefused or Unavailable."""
        await in_groups(ended, self._settings.dispatch_concurrency, self._end)

    async def _invoke(self, invocation: Invocation) -> None:
        promise_id, log = invocation.promise_id, invocation.log
        marks = {CONTENT_HASH_TAG: invocation.content, REGISTRY_TAG: invocation.registry}
        marked = {name: mark for name, mark in marks.items() if mark is not None}
        call = self._app.options(target=invocation.target, tags=marked)
        async with _explained(promise_id):
            handle = await call.begin_rpc(
                promise_id, invocation.function, *invocation.arguments, **invocation.keywords
            )
        _check_marks(invocation, handle.record.tags)
        _log.info(
            "log_dispatched" if invocation.proposal_id is None else "proposal_dispatched",
            promise_id=promise_id,
            block_number=log.block_number,
            block_hash="0x" + log.block_hash.hex(),
            tx_hash="0x" + log.transaction_hash.hex(),
        )

    async def _end(self, ended: tuple[str, VotingEnded]) -> None:
        promise_id, value = ended
        async with _explained(promise_id):
            # The workflow makes this promise too; whoever comes first makes the one that both mean.
            await self._app.promises.create(promise_id)
            await self._app.promises.resolve(promise_id, value)
        _log.info(
            "voting_ended",
            promise_id=promise_id,
            reason=value.reason,
            block_number=value.block_number,
            block_hash=value.block_hash,
        )


def _check_marks(invocation: Invocation, tags: Mapping[str, str]) -> None:
    """Compare the invocation with the one that exists. Raises ContentMismatch."""
    promise_id, log = invocation.promise_id, invocation.log
    recorded = tags.get(CONTENT_HASH_TAG)
    if invocation.content is not None and recorded is None:
        _log.warning(
            "invocation_made_by_hand", promise_id=promise_id, tx_hash="0x" + log.transaction_hash.hex()
        )
    elif invocation.content is not None and recorded is not None and recorded != invocation.content:
        place = (log.block_number, log.block_hash, log.log_index)
        raise ContentMismatch(promise_id, recorded, invocation.content, place)
    registry = tags.get(REGISTRY_TAG)
    if invocation.registry is not None and registry not in (None, invocation.registry):
        _log.warning(
            "invocation_keeps_its_registry",
            promise_id=promise_id,
            registry=registry,
            configured=invocation.registry,
        )


async def in_groups(items: Sequence[_T], size: int, work: Callable[[_T], Awaitable[None]]) -> None:
    """Do the work for all items, `size` at a time; the first failure ends its group and is raised."""
    for start in range(0, len(items), size):
        try:
            async with asyncio.TaskGroup() as group:
                for item in items[start : start + size]:
                    group.create_task(_awaited(work(item)))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures.exceptions[0].__cause__


async def _awaited(work: Awaitable[None]) -> None:
    await work


@asynccontextmanager
async def _explained(promise_id: str) -> AsyncIterator[None]:
    try:
        yield
    except Refused as error:
        raise DispatchRefused(promise_id, error.status, error.message) from error
