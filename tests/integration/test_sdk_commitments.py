"""Committed steps: canonical texts in the record, the closing, the evidence rebuilt from the store."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

import pytest

from orchestrator import (
    ApplicationError,
    CommittedOrchestrator,
    Constant,
    Context,
    Info,
    NotStarted,
    Orchestrator,
)
from orchestrator.client.registry import Executor
from orchestrator.commitments.closing import Closing
from orchestrator.commitments.integers import Uint256
from orchestrator.commitments.proof import StepValues, build_bundle
from orchestrator.commitments.verification import verify_bundle
from orchestrator.protocol.records import PromiseRecord
from orchestrator.testing import local

DOMAIN = bytes(range(32))


class Side(StrEnum):
    FOR = "for"
    AGAINST = "against"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    voter: str
    weight: Uint256
    side: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    votes: tuple[Vote, ...]
    share: Decimal
    total: Uint256


async def fetch(info: Info, proposal: Uint256) -> list[Vote]:
    return [Vote(voter="0xa", weight=2**255, side=Side.FOR), Vote(voter="0xb", weight=5, side=Side.AGAINST)]


def tally(votes: list[Vote], *, factor: int = 1) -> Tally:
    total = sum(vote.weight for vote in votes)
    return Tally(votes=tuple(votes), share=Decimal("0.50"), total=total * factor)


async def plain(number: int) -> int:
    return number


async def nested(ctx: Context, votes: list[Vote]) -> Tally:
    return await ctx.run(tally, votes, factor=1)


async def score(ctx: Context, proposal: int) -> tuple[Tally, Closing]:
    votes = await ctx.run(fetch, proposal)
    await ctx.run(plain, 1)
    await ctx.run(nested, votes)
    for _ in range(10):
        await ctx.run(tally, votes)
    await ctx.rpc(nested, votes)
    last = await ctx.run(tally, votes)
    return last, await ctx.close_commitments(DOMAIN)


async def hasty(ctx: Context) -> None:
    ctx.begin_run(slow)
    await ctx.close_commitments(DOMAIN)


async def slow() -> int:
    await asyncio.sleep(0.05)
    return 1


async def empty(ctx: Context) -> None:
    await ctx.close_commitments(DOMAIN)


def application() -> Orchestrator:
    app = Orchestrator.local(":memory:")
    for function in (score, nested, plain, hasty, empty):
        app.register(function)
    for function in (fetch, tally, slow):
        app.register(function, commit=True)
    return app


def stored_values(record: PromiseRecord) -> StepValues:
    return StepValues(input=b64decode(record.param.data or ""), output=b64decode(record.value.data or ""))


async def test_the_closing_and_its_evidence_follow_from_the_store() -> None:
    async with application() as app:
        last, closing = await app.run("w", score, 7)
        records = (await app.promises.search(tags={"resonate:origin": "w"}, limit=1000)).promises
    assert last.votes[0] == Vote(voter="0xa", weight=2**255, side=Side.FOR)
    assert (closing.domain, closing.count) == (DOMAIN, 14)
    bundle = build_bundle(records, decode=stored_values)
    assert bundle.count == 14
    by_id = {record.id: record for record in records}
    assert by_id["w:1"].param.headers == {"func": "fetch", "version": "1"}
    assert b64decode(by_id["w:1"].param.data or "") == b'{"proposal":"7"}'
    assert "commitment-input" in (by_id["w:1"].value.headers or {})


async def test_a_detached_invocation_closes_a_tree_of_its_own() -> None:
    async def apart(ctx: Context, votes: list[Vote]) -> Closing:
        await ctx.rpc(nested, votes)
        await ctx.run(tally, votes)
        return await ctx.close_commitments(DOMAIN)

    async def beside(ctx: Context) -> tuple[Closing, Closing]:
        votes = await ctx.run(fetch, 7)
        running = ctx.begin_rpc(awaits, "late")  # open, and of another tree than the first closing
        first = await ctx.detached(apart, votes)
        await ctx.run(release)
        await running
        return first, await ctx.close_commitments(DOMAIN)

    async def awaits(ctx: Context, name: str) -> None:
        await ctx.promise(name)

    async def release() -> None:
        await app.promises.resolve("late")

    app = application()
    for function in (apart, beside, awaits, release):
        app.register(function)
    async with app, asyncio.timeout(10):
        first, second = await app.run("w", beside)
        records = (await app.promises.search(tags={"resonate:origin": "w"}, limit=1000)).promises
    assert (first.count, second.count) == (2, 1)
    (detached,) = [record.id for record in records if record.id.startswith("w:d") and "." not in record.id]
    bundles = [build_bundle(records, promise_id=one, decode=stored_values) for one in (detached, "w")]
    assert [bundle.root for bundle in bundles] == [f"0x{one.root.hex()}" for one in (first, second)]
    assert all(check.ok for bundle in bundles for check in verify_bundle(bundle))


async def test_equal_inputs_give_equal_roots() -> None:
    roots = []
    for _ in range(2):
        async with application() as app:
            roots.append((await app.run("w", score, 7))[1].root)
    assert roots[0] == roots[1]


@pytest.mark.parametrize("executor", ["inline", "thread"])
async def test_a_step_that_failed_first_commits_as_one_that_did_not(executor: Executor) -> None:
    failures = [0]

    def winner(votes: list[Vote]) -> Vote:
        if failures[0]:
            failures[0] -= 1
            raise OSError("not yet")
        return votes[0]

    async def elected(ctx: Context) -> Closing:
        await ctx.run(winner, [Vote(voter="0xa", weight=2**255, side=Side.FOR)])
        return await ctx.close_commitments(DOMAIN)

    app = Orchestrator.local(":memory:")
    app.register(elected)
    app.register(winner, commit=True, executor=executor, retry=Constant(delay_s=0.001))
    async with app:
        at_once = await app.run("at-once", elected)
        failures[0] = 2
        later = await app.run("later", elected)
    assert failures[0] == 0
    assert later.root == at_once.root


async def test_a_closing_refuses_running_and_missing_steps() -> None:
    async with application() as app:
        with pytest.raises(ApplicationError, match="hasty-1:1 is still running") as caught:
            await app.run("hasty-1", hasty)
        assert caught.value.type_name == "CommitmentsOpen"
        with pytest.raises(ApplicationError, match="at least one"):
            await app.run("empty-1", empty)


async def test_a_committed_application_commits_what_does_not_say_otherwise() -> None:
    app = Orchestrator.local(":memory:")
    committed = CommittedOrchestrator(app)
    committed.register(tally)
    committed.register(nested, name="kept", commit=False)
    app.register(plain)

    @committed.register(version=3)
    async def scored(ctx: Context, votes: list[Vote]) -> Closing:
        await ctx.run(nested, votes)
        await ctx.run(tally, votes)
        await ctx.run(plain, 1)
        return await ctx.close_commitments(DOMAIN)

    async with committed:
        # Both are one application: what one starts, the other one is asked.
        closing = await app.run("w", scored, [Vote(voter="0xa", weight=5, side=Side.FOR)])
        records = (await committed.promises.search(tags={"resonate:origin": "w"}, limit=1000)).promises
    headers = {record.id: record.value.headers or {} for record in records}
    assert "commitment-closing" in headers["w"]
    assert {name for name, found in headers.items() if "commitment-output" in found} == {"w:1.1", "w:2"}
    assert closing.count == build_bundle(records, decode=stored_values).count == 2
    with pytest.raises(NotStarted):
        _ = app.promises


def committing() -> CommittedOrchestrator:
    return CommittedOrchestrator(Orchestrator.local("sqlite:///never.db", group="others"))


@pytest.mark.parametrize(
    "make",
    [lambda: CommittedOrchestrator.local(":memory:"), lambda: local(committing())],
    ids=["new", "twin"],
)
async def test_a_committed_application_stays_one(make: Callable[[], Orchestrator]) -> None:
    app = make()

    @app.register
    def twice(number: int) -> int:
        return 2 * number

    assert isinstance(app, CommittedOrchestrator)
    async with app:
        assert await app.run("w", twice, 3) == 6
        assert (await app.promises.get("w")).value.headers is not None
