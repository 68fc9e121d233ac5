"""Recorded executions on new code: the same code repeats them, each kind of change shows, nothing runs.

W2 replay sees the recorded outcome.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Context, Keyring, NotRegistered, Orchestrator
from orchestrator.client.history import UnreadableHistory
from orchestrator.testing import ExecutionLog, History, assert_replays, local, read_history
from tests.integration import test_sdk_cuts as cuts
from tests.workflow_programs import generate, interpret, register_programs


async def recorded(app: Orchestrator, promise_id: str = "cut", also: tuple[str, ...] = ()) -> History:
    return await app.history(promise_id, also=also)


async def history_of(workflow: Callable[..., Any]) -> History:
    async with cuts.with_functions(local()) as app:
        await cuts.approve_first(app)
        await cuts.outcome_of(app, workflow)
        await asyncio.sleep(1)
        used = (cuts.EXTERNAL,) if workflow in (cuts.waiting, cuts.mixed_generator) else ()
        if workflow is cuts.detaching:
            used = ("pipeline-1",)
        if workflow is cuts.loose_ends:
            used = ("nobody-settles-it",)
        return await recorded(app, also=used)


@pytest.mark.parametrize("workflow", cuts.WORKFLOWS, ids=lambda workflow: workflow.__name__)
async def test_the_same_code_repeats_every_workflow_of_the_corpus(workflow: Callable[..., Any]) -> None:
    history, log = await history_of(workflow), ExecutionLog()
    again = read_history(history.to_json(), "file")
    assert again == history
    app = cuts.corpus()
    app.observe(log)
    replays = await assert_replays(app, again)
    assert replays[0].promise_id == "cut"
    assert all(one.complete for one in replays), replays
    assert not log.started


@pytest.mark.parametrize("seed", range(20))
async def test_the_same_code_repeats_generated_workflows(seed: int) -> None:
    async def nobody(_: str) -> None:
        raise AssertionError("no program here asks somebody")

    program = generate(random.Random(seed), length_max=3)  # noqa: S311 - a seed makes the case repeatable
    async with register_programs(local(), nobody) as app:
        await app.run("cut", interpret, program)
        await asyncio.sleep(10_000)
        history = await recorded(app)
    replays = await assert_replays(register_programs(Orchestrator.local(":memory:"), nobody), history)
    assert all(one.complete for one in replays), (program, replays)


def leaf(number: int) -> int:
    return number


def other(number: int) -> int:
    return number + 1


async def before(ctx: Context, number: int) -> int:
    first = await ctx.run(leaf, number)
    second = await ctx.run(inner, first)
    return first + second + await ctx.rpc(inner, 5)


async def inner(ctx: Context, number: int) -> int:
    return await ctx.run(leaf, number)


def with_functions(
    app: Orchestrator, flow: Callable[..., Any], part: Callable[..., Any] = inner
) -> Orchestrator:
    app.register(leaf, executor="inline")
    app.register(other, executor="inline")
    app.register(part, name="inner")
    app.register(flow, name="flow")
    return app


async def changed(ctx: Context, number: int) -> int:
    first = await ctx.run(other, number)
    return first + await ctx.run("inner", first) + await ctx.rpc("inner", 5)


async def longer(ctx: Context, number: int) -> int:
    first = await ctx.run(leaf, number)
    second = await ctx.run("inner", first)
    third = await ctx.rpc("inner", 5)
    return first + second + third + await ctx.run(other, 1)


async def shorter(ctx: Context, number: int) -> int:
    return await ctx.run(leaf, number)


async def other_end(ctx: Context, number: int) -> int:
    first = await ctx.run(leaf, number)
    second = await ctx.run("inner", first)
    return first * second + await ctx.rpc("inner", 5)


async def same(ctx: Context, number: int) -> int:
    first = await ctx.run(leaf, number)
    second = await ctx.run("inner", first)
    return first + second + await ctx.rpc("inner", 5)


async def inner_changed(ctx: Context, number: int) -> int:
    return await ctx.run(other, number)


@pytest.mark.parametrize(
    ("flow", "part", "shown"),
    [
        (
            changed,
            inner,
            r"w:1 was recorded as step leaf version 1, the code now asks for step other",
        ),
        (
            longer,
            inner,
            r"w:4 was recorded as nothing: w had settled without it, .* step other",
        ),
        (shorter, inner, r"w:2 was recorded as step inner version 1, the code now asks for nothing: w ends"),
        (
            other_end,
            inner,
            r"w ended with resolved 11, the code now ends with resolved 14",
        ),
        (same, inner_changed, r"w:2\.1 was recorded as step leaf version 1.*other"),
    ],
    ids=["changed", "longer", "shorter", "other end", "changed child"],
)
async def test_each_kind_of_change_shows(
    flow: Callable[..., Any], part: Callable[..., Any], shown: str, tmp_path: Path
) -> None:
    async with with_functions(local(), before) as app:
        await app.run("w", "flow", 3)
        history = await recorded(app, "w")
    file = tmp_path / "w.json"
    file.write_bytes(history.to_json())
    with pytest.raises(AssertionError, match=shown):
        await assert_replays(with_functions(Orchestrator.local(":memory:"), flow, part), file)
    await assert_replays(with_functions(Orchestrator.local(":memory:"), same), str(file))


async def test_an_unfinished_execution_is_replayed_as_far_as_it_is_recorded() -> None:
    async def waiting(ctx: Context) -> int:
        await ctx.run(leaf, 1)
        await ctx.sleep(3600)
        return await ctx.run(leaf, 2)

    async def later(ctx: Context) -> int:
        await ctx.run(leaf, 1)
        await ctx.sleep(7200)
        return await ctx.run(other, 2)

    async with with_functions(local(), waiting) as app:
        await app.begin_run("w", "flow")
        await asyncio.sleep(5)
        history = await recorded(app, "w")
    (replayed,) = await assert_replays(with_functions(Orchestrator.local(":memory:"), later), history)
    assert not replayed.complete
    assert replayed.reached == "waits for w:2"


async def test_encrypted_histories_are_opened_by_the_applications_keys() -> None:
    keys = Keyring({"k1": bytes(range(32))})
    async with with_functions(local(encryptor=keys), before) as app:
        await app.run("w", "flow", 3)
        history = await recorded(app, "w")
    assert b"resonate" in history.to_json()
    assert history.records()["w"].param.key_id == "k1"
    await assert_replays(with_functions(Orchestrator.local(":memory:", encryptor=keys), same), history)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": "else", "version": 1}', b"\xff"])
async def test_what_is_no_history_is_told(content: bytes) -> None:
    with pytest.raises(UnreadableHistory, match=r"w\.json is no recorded history.*dao-scorer history export"):
        read_history(content, "w.json")


async def test_a_later_format_and_a_missing_function_are_told() -> None:
    content = b'{"format":"orchestrator-history","version":2,"id":"w","exported_at":1,"promises":[]}'
    with pytest.raises(UnreadableHistory, match="version 2 of the format"):
        read_history(content, "w.json")
    async with with_functions(local(), before) as app:
        await app.run("w", "flow", 3)
        history = await recorded(app, "w")
    with pytest.raises(NotRegistered):
        await assert_replays(Orchestrator.local(":memory:"), history)
