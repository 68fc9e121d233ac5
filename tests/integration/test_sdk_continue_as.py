"""Loops without end: a workflow starts over with new arguments, and what came before is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from orchestrator import ApplicationError, Context, Never, Orchestrator, PromiseState, Refused, Value
from orchestrator.commitments.proof import build_bundle
from orchestrator.protocol import commands as c
from orchestrator.store.memory import MemoryStore
from orchestrator.store.sqlite import SqliteStore
from orchestrator.testing import ExecutionLog, assert_survives_crashes
from tests.engine_world import FAR, STORES, TARGET, create, world
from tests.integration.test_sdk_commitments import stored_values
from tests.integration.test_sdk_cuts import ROOT, engine_on, records
from tests.integration.test_sdk_remote import Published

ROUND = 100
LOOKS = 10_000


async def look(number: int) -> int:
    return number + 1


async def monitor(ctx: Context, limit: int, seen: int = 0) -> int:
    for _ in range(ROUND):
        seen = await ctx.run(look, seen)
    if seen >= limit:
        await ctx.promise("enough")
        return seen
    return ctx.continue_as(limit, seen=seen)


async def part(ctx: Context, number: int) -> int:
    return await ctx.run(look, number)


async def rounds(ctx: Context, left: int = 3, total: int = 0) -> int:
    """Every kind of call in each round."""
    later = ctx.begin_run(part, left)
    total += await ctx.rpc(look, left)
    await ctx.sleep(0.001)
    total += await ctx.timeout(ctx.rpc(part, left), 3600)
    if not left:
        return total + await later
    return ctx.continue_as(left - 1, total=total)


async def inner_rounds(ctx: Context) -> int:
    return await ctx.run(rounds, 2) + await ctx.run(look, 1)


def generated_rounds(ctx: Context, left: int = 2) -> Generator[Any, Any, int]:
    seen = yield from ctx.run(look, left)
    if left:
        return ctx.continue_as(left - 1)
    return seen


WORKFLOWS = [rounds, inner_rounds, generated_rounds]


def application(transport: Any, log: ExecutionLog | None = None) -> Orchestrator:
    app = Orchestrator(transport=transport)
    for function in (look, monitor, part, *WORKFLOWS):
        app.register(function, retry=Never())
    if log is not None:
        app.observe(log)
    return app


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.__name__)
async def test_same_answer_wherever_it_is_cut(workflow: Any) -> None:
    app = Orchestrator.local(":memory:")
    for function in (look, part, *WORKFLOWS):
        app.register(function, retry=Never())
    assert await assert_survives_crashes(app, workflow) > 4


async def test_without_extensions_nothing_is_forgotten_and_all_goes_on() -> None:
    async with engine_on(MemoryStore()) as transport, asyncio.timeout(10):
        async with application(Published(transport)) as app:
            assert await app.run(ROOT, rounds) == 21
        assert len(await records(transport)) > 20


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_monitor_of_ten_thousand_looks_is_replayed_in_bounded_time(kind: str, tmp_path: Any) -> None:
    looks = LOOKS if kind == "memory" else LOOKS // 10
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "monitor.db")
    async with engine_on(store) as transport:
        async with application(transport) as app:
            await app.begin_run(ROOT, monitor, looks)
            while "enough" not in await records(transport):  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.05)
        kept = await records(transport)
        assert len(kept) <= ROUND + 3
        log = ExecutionLog()
        async with application(transport, log) as app:
            await app.promises.resolve("enough")
            assert await (await app.get(ROOT)).result() == looks
        assert not log.started
        claim = await transport.call(c.TaskGet(id=ROOT))
        assert claim.task.state == "fulfilled"


async def test_arguments_that_do_not_fit_fail_the_workflow() -> None:
    async def wrong(ctx: Context, number: int) -> int:
        return ctx.continue_as(number, unknown=1)

    async with engine_on(MemoryStore()) as transport, asyncio.timeout(10):
        app = Orchestrator(transport=transport)
        app.register(wrong)
        async with app:
            with pytest.raises(ApplicationError, match="unknown"):
                await app.run(ROOT, wrong, 1)


async def test_a_tail_call_by_a_detached_invocation_has_a_record_of_its_own() -> None:
    async def tail(ctx: Context, left: int) -> int:
        if left:
            ctx.detached(tail, left - 1)
        else:
            await ctx.promise("last")
        return left

    async with engine_on(MemoryStore()) as transport, asyncio.timeout(10):
        app = Orchestrator(transport=transport)
        app.register(tail)
        async with app:
            assert await app.run(ROOT, tail, 5) == 5
            while "last" not in await records(transport):  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.005)
            await app.promises.resolve("last")
        # The first has ended while the last still ran, and each holds one call at most.
        assert len(await records(transport)) == 7


async def test_a_detached_invocation_forgets_its_rounds_as_any_other() -> None:
    async def counting(ctx: Context, left: int) -> int:
        await ctx.run(look, left)
        return ctx.continue_as(left - 1) if left else 0

    async def starting(ctx: Context) -> int:
        return await ctx.detached(counting, 5)

    async with engine_on(MemoryStore()) as transport, asyncio.timeout(10):
        app = Orchestrator(transport=transport)
        for function in (look, counting, starting):
            app.register(function)
        async with app:
            assert await app.run(ROOT, starting) == 0
        functions = [(one.param.headers or {}).get("func") for one in (await records(transport)).values()]
    assert (functions.count("look"), functions.count("ctx.continue_as")) == (1, 1)


async def test_only_descendants_are_forgotten_and_evidence_stays() -> None:
    async with engine_on(MemoryStore()) as transport:
        root = c.PromiseCreate(id=ROOT, timeout_at=2**50, tags={"resonate:target": "poll://any@x"})
        await transport.call(c.TaskCreate(pid="x", ttl=5_000, action=root))

        async def record(promise_id: str, headers: dict[str, str], forgets: list[str]) -> None:
            step = c.PromiseRecordStep(
                id=promise_id,
                timeout_at=2**50,
                created_at=0,
                state=PromiseState.RESOLVED,
                value=Value(headers=headers),
                forgets=forgets,
            )
            await transport.call(c.TaskFence(id=ROOT, version=1, action=step))

        await record("cut:1", {}, [])
        await record("cut:2", {"commitment-scheme": "1"}, [])
        with pytest.raises(Refused, match="no descendant"):
            await record("cut:3", {}, ["cuts:1"])
        await record("cut:3", {}, ["cut:1", "cut:2", "cut:9"])
        assert sorted(await records(transport)) == ["cut", "cut:2", "cut:3"]


@pytest.mark.parametrize("url", STORES)
async def test_what_was_sent_before_and_arrives_late_creates_nothing_again(
    request: pytest.FixtureRequest, url: str
) -> None:
    """A server that stood still takes an old request; its task is still held at the same version."""
    url = request.getfixturevalue("postgres_url") if url == "postgresql" else url
    async with world(url) as w:
        await w.do(create("cut", target=TARGET))
        await w.do(c.TaskAcquire(id="cut", version=0, pid="x", ttl=60_000))

        def fenced(action: Any, version: int = 1) -> c.TaskFence:
            return c.TaskFence(id="cut", version=version, action=action)

        def step(promise_id: str, forgets: list[str]) -> c.PromiseRecordStep:
            return c.PromiseRecordStep(
                id=promise_id, timeout_at=FAR, created_at=0, state=PromiseState.RESOLVED, forgets=forgets
            )

        for promise_id in ("cut:1", "cut:2.1", "cut:2.2", "cut:4.1"):
            await w.do(fenced(step(promise_id, [])))
        await w.do(fenced(step("cut:2.3", ["cut:2.1", "cut:2.2"])))
        await w.do(fenced(step("cut:3", ["cut:1", "cut:2.3"])))
        await w.do(fenced(step("cut:4.2", ["cut:4.1"])))
        await w.do(fenced(step("cut:4.2", ["cut:4.1"])))  # repeated, since its answer was lost
        for late in ("cut:1", "cut:2.1", "cut:2", "cut:1.7", "cut:4.1"):
            assert "forgotten" in await w.refused(409, fenced(create(late)))
            assert "forgotten" in await w.refused(409, fenced(step(late, [])))
        for timely in ("cut:3.1", "cut:4", "cut:4.3", "cut:5", "cut:d0123456789abcdef"):
            await w.do(fenced(create(timely)))
        await w.do(c.TaskRelease(id="cut", version=1))
        await w.do(c.TaskAcquire(id="cut", version=1, pid="x", ttl=60_000))
        await w.refused(409, fenced(create("cut:1")))  # T2 keeps it out from now on
        await w.do(fenced(create("cut:1"), 2))


async def vote(number: int) -> int:
    return number


async def votes(ctx: Context, number: int) -> int:
    return await ctx.run(vote, number) + await ctx.run(look, number)


async def audited(ctx: Context, left: int = 2) -> tuple[int, str]:
    await ctx.run(vote, left)
    await ctx.run(votes, 10 * left + 1)
    if left:
        return ctx.continue_as(left - 1)
    closing = await ctx.close_commitments(bytes(32))
    return closing.count, closing.root.hex()


def auditing() -> Orchestrator:
    app = Orchestrator.local(":memory:")
    app.register(vote, commit=True)
    for function in (look, votes, audited):
        app.register(function)
    return app


async def test_a_root_covers_the_rounds_that_were_forgotten() -> None:
    async with auditing() as app:
        count, root = await app.run(ROOT, audited)
        stored = (await app.promises.search(tags={"resonate:origin": ROOT}, limit=1000)).promises
    assert count == 6
    assert not [record for record in stored if (record.param.headers or {}).get("func") == "look"][:-1]
    bundle = build_bundle(stored, decode=stored_values)
    assert (bundle.count, bundle.root.removeprefix("0x")) == (count, root)


async def test_a_root_over_forgotten_rounds_is_the_same_wherever_it_is_cut() -> None:
    assert await assert_survives_crashes(auditing(), audited) > 10


async def test_what_a_loop_forgot_is_missed_by_no_root_in_silence() -> None:
    """Without a search nobody could tell whether the earlier rounds had committed anything."""

    class Blind(Published):
        async def call(self, command: c.Command[Any]) -> Any:
            if isinstance(command, c.PromiseSearch):
                raise Refused(501, "no search here")
            return await super().call(command)

    async with engine_on(MemoryStore()) as transport, asyncio.timeout(10):
        app = Orchestrator(transport=Blind(transport))
        app.register(vote, commit=True)
        for function in (look, votes, audited):
            app.register(function)
        async with app:
            with pytest.raises(Refused, match="no search"):
                await app.run(ROOT, audited)
