"""The same answer wherever it is cut: a crash before and after every single command of several workflows.

W1 no settled step is executed again. W2 replay sees the recorded outcome. W3 the record is the one of the
uninterrupted run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator import ApplicationError, Constant, Context, Info, Never, Orchestrator, PromiseRecord
from orchestrator.engine import Engine, EngineSettings
from orchestrator.store import Store
from orchestrator.store.memory import MemoryStore
from orchestrator.store.sqlite import SqliteStore
from orchestrator.testing import CrashingTransport, ExecutionLog, SimulatedCrash, crash_at
from orchestrator.transport.local import LocalTransport

ROOT = "cut"
EXTERNAL = "approval-7"
CUTS_MAX = 200


@dataclass(frozen=True)
class Vote:
    voter: str
    weight: int


async def fetch(count: int) -> list[Vote]:
    return [Vote(f"v{index}", index) for index in range(count)]


def double(number: int) -> int:
    return number * 2


async def second_try(info: Info, number: int) -> int:
    if info.attempt == 1:
        raise ValueError("once more")
    return number + 1


async def broken(number: int) -> int:
    raise KeyError(number)


async def nested(ctx: Context, number: int) -> int:
    return await ctx.run(double, number) + await ctx.run(second_try, number)


async def straight(ctx: Context) -> int:
    votes = await ctx.run(fetch, 3)
    weights = [await ctx.run(double, vote.weight) for vote in votes]
    return sum(weights)


async def branches(ctx: Context) -> list[int]:
    one, other = ctx.begin_run(nested, 1), ctx.begin_run(nested, 2)
    return await ctx.gather(one, other, ctx.run(double, 5))


async def remote(ctx: Context) -> list[int]:
    first = await ctx.rpc(nested, 4)
    several = [ctx.begin_rpc(double, number) for number in range(2)]
    ctx.begin_rpc(double, 9)
    return [first, *await ctx.gather(*several)]


async def waiting(ctx: Context) -> int:
    await ctx.sleep(0.01)
    answer = await ctx.promise(EXTERNAL)
    return await ctx.run(double, answer)


async def failing(ctx: Context) -> str:
    try:
        await ctx.run(broken, 3)
    except ApplicationError as error:
        caught = error.type_name
    await ctx.rpc(broken, 4)
    return caught


async def detaching(ctx: Context) -> int:
    loose = ctx.detached(nested, 3)
    named = ctx.options(id="pipeline-1").detached(double, 8)
    return await loose + await named


def generator(ctx: Context, count: int = 2) -> Generator[Any, Any, int]:
    votes = yield from ctx.run(fetch, count)
    remote = yield ctx.rpc(double, len(votes))
    yield ctx.sleep(0.01)
    child: int = yield ctx.run(nested, 1)
    return int(remote) + child


WORKFLOWS: list[Callable[..., Any]] = [
    straight,
    branches,
    remote,
    waiting,
    failing,
    detaching,
    generator,
]
LEAVES: list[Callable[..., Any]] = [fetch, double, second_try, broken, nested]


def application(transport: Any, log: ExecutionLog, *, ttl_ms: int = 5_000) -> Orchestrator:
    app = Orchestrator(transport=transport, ttl_ms=ttl_ms, grace_s=2.0)
    for function in (*WORKFLOWS, *LEAVES):
        policy = Never() if function is broken else Constant(delay_s=0.001)
        app.register(function, retry=policy)
    app.observe(log)
    return app


@asynccontextmanager
async def engine_on(store: Store) -> AsyncIterator[LocalTransport]:
    # A message that died with its receiver is repeated soon, else each such cut would take half a minute.
    async with Engine(store, settings=EngineSettings(retry_timeout_ms=50)) as engine:
        yield LocalTransport(engine)


async def approve(transport: LocalTransport) -> None:
    """Settle the external promise by hand, whenever it exists."""
    async with Orchestrator(transport=transport, group="approvers", worker=False) as hand:
        await hand.promises.create(EXTERNAL)
        await hand.promises.resolve(EXTERNAL, 21)


async def outcome_of(app: Orchestrator, workflow: Callable[..., Any]) -> object:
    try:
        return await app.run(ROOT, workflow)
    except ApplicationError as error:
        return (error.type_name, error.message)


async def records(transport: LocalTransport) -> dict[str, PromiseRecord]:
    async with Orchestrator(transport=transport, group="readers", worker=False) as reader:
        page = await reader.promises.search(limit=1000)
        return {record.id: record for record in page.promises}


def shown(stored: dict[str, PromiseRecord]) -> dict[str, object]:
    """What W3 speaks of: not times, attempts or task versions."""
    return {promise_id: (record.state, record.param, record.value) for promise_id, record in stored.items()}


async def settled_tree(transport: LocalTransport) -> dict[str, PromiseRecord]:
    """Wait until detached invocations have ended as well."""
    while True:
        stored = await records(transport)
        if not any(record.pending for record in stored.values()):
            return stored
        await asyncio.sleep(0.005)


async def stopped_by_crash(
    app: Orchestrator, crashing: CrashingTransport, invoke: Callable[[Orchestrator], Coroutine[Any, Any, Any]]
) -> bool:
    """Start, invoke, and end at the crash or the outcome; tell whether it was the crash."""
    try:
        await app.start()
        running = asyncio.create_task(invoke(app))
        crashed = asyncio.create_task(crashing.crashed.wait())
        await asyncio.wait((running, crashed), return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        crashed.cancel()
        await asyncio.gather(running, crashed, return_exceptions=True)
    except SimulatedCrash:
        pass
    finally:
        await app.abort()
    return crashing.crashed.is_set()


def new_store(kind: str, tmp_path: Path, name: str) -> Callable[[], Store]:
    """Return what opens the same store again and again."""
    if kind == "memory":
        memory = MemoryStore()
        return lambda: memory
    return lambda: SqliteStore(tmp_path / f"{name}.db")


async def uncut(store: Store, workflow: Callable[..., Any]) -> tuple[object, dict[str, object]]:
    async with engine_on(store) as transport:
        await approve(transport)
        async with application(transport, ExecutionLog()) as app:
            outcome = await outcome_of(app, workflow)
            return outcome, shown(await settled_tree(transport))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("workflow", "kind"),
    [*((workflow, "memory") for workflow in WORKFLOWS), (remote, "sqlite")],
    ids=lambda parameter: getattr(parameter, "__name__", parameter),
)
async def test_same_answer_wherever_it_is_cut(
    workflow: Callable[..., Any], kind: str, after: bool, tmp_path: Path
) -> None:
    expected = await uncut(MemoryStore(), workflow)
    for cut in range(1, CUTS_MAX):
        store = new_store(kind, tmp_path, f"cut{cut}")
        async with engine_on(store()) as transport:
            await approve(transport)
            crashing = crash_at(transport, cut, after=after)
            app = application(crashing, ExecutionLog())
            crashed = await stopped_by_crash(app, crashing, lambda app: outcome_of(app, workflow))
            before = await records(transport)
        if not crashed:
            break
        log = ExecutionLog()
        async with engine_on(store()) as transport, application(transport, log) as app:
            async with asyncio.timeout(10):
                outcome = await outcome_of(app, workflow)
                tree = shown(await settled_tree(transport))
        place = f"{'after' if after else 'before'} command {cut}"
        assert (outcome, tree) == expected, place
        settled = {promise_id for promise_id, record in before.items() if not record.pending}
        assert not settled & set(log.started), place
    else:
        pytest.fail(f"still crashing after {CUTS_MAX} cuts")
    assert cut > 4
