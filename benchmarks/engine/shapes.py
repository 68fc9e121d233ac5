"""What is measured everywhere: plain creates and four-step workflows, by one client or many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import getrandbits
from time import perf_counter

from orchestrator.domain import tags as tag
from orchestrator.domain.promise import PromiseState, Value
from orchestrator.engine import Engine
from orchestrator.protocol import commands as c

FAR = 2**50
STEPS = 4
LANES = 64
WARM_UP = 300
"""So many operations come before each slice and do not count.

What ran before was other code, and a client takes some 200 operations (a tenth of a second) to its own speed.
"""

Unit = Callable[[Engine, str], Awaitable[None]]


def random_id() -> str:
    """Return an id that none other shares; made in less time than a UUID."""
    return f"{getrandbits(96):024x}"


async def create(engine: Engine, promise_id: str) -> None:
    """Create one promise."""
    await engine.handle(c.PromiseCreate(id=promise_id, timeout_at=FAR))


async def workflow(engine: Engine, root: str) -> None:
    """Claim a task, record its steps, fulfil it."""
    tags = {tag.TARGET: "poll://any@bench", tag.BRANCH: root}
    action = c.PromiseCreate(id=root, timeout_at=FAR, tags=tags)
    await engine.handle(c.TaskCreate(pid="bench", ttl=60_000, action=action))
    for number in range(STEPS):
        step = c.PromiseRecordStep(
            id=f"{root}:{number}",
            timeout_at=FAR,
            created_at=1,
            state=PromiseState.RESOLVED,
            value=Value(data="x" * 100),
            tags={tag.ORIGIN: root, tag.BRANCH: root, tag.PARENT: root, tag.SCOPE: tag.SCOPE_LOCAL},
        )
        await engine.handle(c.TaskFence(id=root, version=1, action=step))
    settle = c.PromiseSettle(id=root, state=PromiseState.RESOLVED)
    await engine.handle(c.TaskFulfill(id=root, version=1, action=settle))


SHAPES: dict[str, tuple[Unit, int]] = {"creates": (create, 1), "workflow operations": (workflow, STEPS + 2)}
"""Units of work, and how many operations each is."""


async def rate(engine: Engine, shape: str, clients: int, operations: int) -> float:
    """Carry out about so many operations by so many clients at once; operations a second, once warmed up.

    Ids are random, as applications' ids mostly are: neighbours in time are none in the index.
    """
    for some in (WARM_UP, operations):
        done, seconds = await _carry_out(engine, shape, clients, some)
    return done / seconds


async def _carry_out(engine: Engine, shape: str, clients: int, operations: int) -> tuple[int, float]:
    unit, worth = SHAPES[shape]
    repeats = max(operations // worth // clients, 1)

    async def client() -> None:
        for _ in range(repeats):
            await unit(engine, random_id())

    started = perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return clients * repeats * worth, perf_counter() - started
