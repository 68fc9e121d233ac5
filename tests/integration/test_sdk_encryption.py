"""Encrypted applications: nothing readable in the store, and a wrong key loses nothing."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestrator import ApplicationError, Context, DecryptionError, Keyring, Never, Orchestrator
from orchestrator.client.invocation import committed_texts
from orchestrator.commitments.proof import StepValues, build_bundle, with_values
from orchestrator.engine import Engine, EngineSettings
from orchestrator.protocol.commands import PromiseGet, PromiseSearch, TaskGet
from orchestrator.protocol.records import PromiseRecord, TaskState
from orchestrator.store.memory import MemoryStore
from orchestrator.transport.local import LocalTransport

WORDS = "attack at dawn"
KEY = bytes(range(32))
DOMAIN = bytes(32)


@pytest.fixture
async def transport() -> AsyncIterator[LocalTransport]:
    async with Engine(MemoryStore(), settings=EngineSettings(retry_timeout_ms=50)) as engine:
        yield LocalTransport(engine)


async def shout(words: str) -> str:
    return words.upper()


async def fail(words: str) -> str:
    raise ValueError(f"no {words}")


async def flow(ctx: Context, words: str) -> str:
    loud = await ctx.run(shout, words)
    try:
        await ctx.rpc(fail, words)
    except ApplicationError as error:
        loud += f" ({error.message})"
    await ctx.close_commitments(DOMAIN)
    return loud + str(await ctx.promise("approval"))


def application(transport: LocalTransport, keys: dict[str, bytes] | None) -> Orchestrator:
    app = Orchestrator(transport=transport, encryptor=Keyring(keys) if keys else None)
    app.register(shout, commit=True)
    app.register(fail, retry=Never())
    app.register(flow)
    return app


async def everything(transport: LocalTransport) -> list[PromiseRecord]:
    return (await transport.call(PromiseSearch(limit=1000))).promises


async def task_is(transport: LocalTransport, state: TaskState) -> None:
    while (await transport.call(TaskGet(id="w"))).task.state is not state:  # noqa: ASYNC110 - the engine's
        await asyncio.sleep(0.01)


def stored(records: list[PromiseRecord]) -> bytes:
    texts = []
    for record in records:
        for value in (record.param, record.value):
            texts += [repr(value.headers).encode(), base64.b64decode(value.data or "")]
    return b"\n".join(texts)


async def completed(transport: LocalTransport) -> Any:
    async with application(transport, {"k1": KEY}) as app, asyncio.timeout(10):
        handle = await app.begin_run("w", flow, WORDS)
        await app.promises.create("approval")
        await app.promises.resolve("approval", f" by {WORDS}")
        return await handle.result()


async def test_nothing_readable_reaches_the_store(transport: LocalTransport) -> None:
    result = await completed(transport)
    assert result == f"{WORDS.upper()} (no {WORDS}) by {WORDS}"
    records = await everything(transport)
    assert {record.id for record in records} >= {"w", "w:1", "w:2", "w:3", "approval"}
    text = stored(records)
    assert WORDS.encode() not in text
    assert WORDS.upper().encode() not in text
    assert KEY not in text


async def test_leaves_are_served_without_the_key_and_their_values_added_by_its_holder(
    transport: LocalTransport,
) -> None:
    await completed(transport)
    closed = [record for record in await everything(transport) if record.id.startswith("w")]
    served = build_bundle(closed, decode=committed_texts)
    assert [(leaf.promise_id, leaf.input, leaf.output) for leaf in served.leaves] == [("w:1", None, None)]
    async with application(transport, {"k1": KEY}) as holder:
        records = [await holder.promises.get(leaf.promise_id) for leaf in served.leaves]
    values = {record.id: committed_texts(record) for record in records}
    added = with_values(served, values)
    assert added.leaves[0].output == f'"{WORDS.upper()}"'
    assert added.root == served.root
    assert with_values(served, {"w:1": StepValues()}).leaves[0].output is None


async def test_the_root_is_the_same_with_and_without_encryption(transport: LocalTransport) -> None:
    await completed(transport)
    sealed = build_bundle([one for one in await everything(transport) if one.id.startswith("w")])
    async with Engine(MemoryStore()) as engine:
        plain_transport = LocalTransport(engine)
        async with application(plain_transport, None) as app, asyncio.timeout(10):
            handle = await app.begin_run("w", flow, WORDS)
            await app.promises.create("approval")
            await app.promises.resolve("approval", "")
            assert WORDS.upper() in await handle.result()
        plain = build_bundle([one for one in await everything(plain_transport) if one.id.startswith("w")])
    assert plain.root == sealed.root


@pytest.mark.parametrize("keys", [None, {"k1": bytes(32)}, {"k9": KEY}], ids=["none", "wrong", "another"])
async def test_a_worker_without_the_key_gives_the_task_back(
    transport: LocalTransport, keys: dict[str, bytes] | None
) -> None:
    async with Orchestrator(transport=transport, worker=False, encryptor=Keyring({"k1": KEY})) as client:
        await client.options(target="default").begin_rpc("w", "shout", WORDS)
    async with application(transport, keys) as blind, asyncio.timeout(10):
        handle = await blind.get("w")
        with pytest.raises(DecryptionError, match="the param of w is encrypted with key 'k1'"):
            await handle.result()
        await task_is(transport, TaskState.PENDING)
    assert (await transport.call(PromiseGet(id="w"))).promise.pending
    async with application(transport, {"k1": KEY}) as holder, asyncio.timeout(10):
        assert await (await holder.get("w")).result() == WORDS.upper()


async def test_keys_rotate_in_the_middle_of_a_workflow(transport: LocalTransport) -> None:
    async def two(ctx: Context, words: str) -> str:
        first = await ctx.run(shout, words)
        await ctx.promise("go")
        return first + await ctx.run(shout, words)

    async def run(keys: dict[str, bytes], *, go: bool) -> str | None:
        app = Orchestrator(transport=transport, encryptor=Keyring(keys))
        app.register(two)
        app.register(shout)
        async with app, asyncio.timeout(10):
            handle = await app.begin_run("w", two, WORDS)
            if go:
                await app.promises.resolve("go")
                return str(await handle.result())
            await task_is(transport, TaskState.SUSPENDED)
            return None

    await run({"old": KEY}, go=False)
    assert await run({"new": bytes(32), "old": KEY}, go=True) == WORDS.upper() * 2
    keys = {record.id: record.value.key_id for record in await everything(transport)}
    assert (keys["w:1"], keys["w:2"], keys["w"]) == ("old", "new", "new")


async def test_what_others_wrote_plainly_is_read(transport: LocalTransport) -> None:
    async with Orchestrator(transport=transport, worker=False) as client:
        handle = await client.options(target="default").begin_rpc("w", "shout", WORDS)
        async with application(transport, {"k1": KEY}) as holder, asyncio.timeout(10):
            assert await (await holder.get("w")).result() == WORDS.upper()
            with pytest.raises(DecryptionError, match="the result of w is encrypted with key 'k1'"):
                await handle.result()
