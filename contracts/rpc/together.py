"""Several requests at once, of which each may fail by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from contracts.rpc.errors import RpcError

_T = TypeVar("_T")


async def attempted(asked: Sequence[Awaitable[_T]]) -> list[_T | RpcError]:
    """Await all at once; the results come in their order, an RpcError in the place of what failed."""

    async def one(each: Awaitable[_T]) -> _T | RpcError:
        try:
            return await each
        except RpcError as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(each)) for each in asked]
    return [task.result() for task in tasks]


async def gathered(asked: Sequence[Awaitable[_T]]) -> list[_T]:
    """Await all at once; the results come in their order. Raises the first failure once all have ended."""
    results: list[_T] = []
    for outcome in await attempted(asked):
        if isinstance(outcome, RpcError):
            raise outcome
        results.append(outcome)
    return results
