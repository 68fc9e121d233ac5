"""Searches that are read to their end, page after page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from orchestrator.protocol.commands import PromisePage, PromiseSearch
from orchestrator.protocol.records import PromiseRecord, PromiseState

PAGE = 1_000
"""The most promises that a page of a search may hold."""


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
