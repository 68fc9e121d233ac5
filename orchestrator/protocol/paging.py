"""Searches that are read to their end, page after page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from orchestrator.domain import tags as tag
from orchestrator.domain.errors import Refused
from orchestrator.domain.ids import extends, origin_of
from orchestrator.protocol.commands import PromiseGet, PromisePage, PromiseSearch
from orchestrator.protocol.records import PromiseRecord, PromiseState
from orchestrator.protocol.transport import Call

PAGE = 1_000
"""The most promises that a page of a search may hold."""
TREE_PROMISES_MAX = 200_000
NO_SEARCH = (400, 501)
"""How a server refuses a search that it does not know."""


async def every_promise(
    call: Callable[[PromiseSearch], Awaitable[PromisePage]],
    *,
    tags: Mapping[str, str],
    state: PromiseState | None = None,
) -> AsyncIterator[PromiseRecord]:
    """Yield all promises with these tags, in that state if one is given, in order of id.

    Raises what `call` raises.
    """
    cursor: str | None = None
    while True:
        page = await call(PromiseSearch(state=state, tags=dict(tags), limit=PAGE, cursor=cursor))
        for record in page.promises:
            yield record
        cursor = page.cursor
        if cursor is None:
            return


async def fetch_tree(
    call: Call, promise_id: str, *, promises_max: int = TREE_PROMISES_MAX
) -> tuple[PromiseRecord, list[PromiseRecord]]:
    """Return a promise, and all promises of its tree (itself included) in order of id, read in pages.

    Raises Refused(404) for an unknown promise, Refused(422) for a tree of more than `promises_max`.
    """
    promise = (await call(PromiseGet(id=promise_id))).promise
    # An invocation made by hand carries no origin tag, its descendants do.
    origin = promise.tags.get(tag.ORIGIN) or origin_of(promise_id)
    records = {promise.id: promise}
    async for record in every_promise(call, tags={tag.ORIGIN: origin}):
        if extends(record.id, promise_id):
            records[record.id] = record
        if len(records) > promises_max:
            raise Refused(422, f"the tree of {promise_id} has more than {promises_max} promises")
    return records[promise_id], [records[key] for key in sorted(records)]
