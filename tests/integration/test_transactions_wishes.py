"""What an operator asks of a transaction that waits is heard, and done once: by hand, by `dao-scorer tx`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from contracts.rpc import Node
from contracts.transactions import (
    Intent,
    SendingPolicy,
    Sent,
    SentStatus,
    Signer,
    register_transactions,
    send_detached,
    send_transaction,
)
from contracts.transactions.nonces import follower_id, nonce_promise_id
from contracts.transactions.values import Wish, WishKind
from contracts.transactions.wishes import KIND_HEADER, MAX_FEE_HEADER, WishBook, wish_promise_id
from orchestrator import Context, Orchestrator, Value
from orchestrator.engine import Engine
from orchestrator.server import ServerSettings, create_app, listening
from orchestrator.store.memory import MemoryStore
from scorers.cli import app as commands
from tests.anvil_node import SOON_FINAL, anvil
from tests.integration.test_transactions_pipeline import (
    FAST,
    KEY,
    SENDER,
    TIMEOUT_S,
    intent,
    running,
    send,
    until,
)
from tests.transactions_weather import CHAIN_ID, GWEI, REGISTRY, WeatherNode, refused

PATIENT = replace(FAST, bump_after_watches=10_000)
"""Replaces nothing by itself."""
FIRST = nonce_promise_id(CHAIN_ID, SENDER, 0)


def stuck() -> WeatherNode:
    node = WeatherNode()
    node.minable = False
    return node


def unstuck(node: WeatherNode) -> None:
    node.minable = True
    node.mine()


async def test_it_is_replaced_when_an_operator_asks_and_not_before() -> None:
    node = stuck()
    async with running(node, policy=PATIENT) as app, asyncio.timeout(TIMEOUT_S):
        sending = asyncio.create_task(send(app))
        await until(lambda: len(node.broadcasts) > 3)
        assert len({each.raw for each in node.broadcasts}) == 1
        wishes = WishBook(lambda: app.promises)
        made = await wishes.ask(FIRST, Wish(kind=WishKind.SPEED_UP))
        await until(lambda: len({each.raw for each in node.broadcasts}) == 2)
        first, *_, last = node.broadcasts
        assert (last.nonce, last.data) == (first.nonce, first.data)
        assert last.fee * 10 >= first.fee * 11
        assert last.tip * 10 >= first.tip * 11
        assert made.promise_id == wish_promise_id(FIRST, 1)
        assert not (await app.promises.get(wish_promise_id(FIRST, 1))).pending
        # Once heard it is over; the next one is a wish of its own.
        again = await wishes.ask(FIRST, Wish(kind=WishKind.SPEED_UP))
        assert again.promise_id == wish_promise_id(FIRST, 2)
        await until(lambda: len({each.raw for each in node.broadcasts}) == 3)
        unstuck(node)
        assert (await sending).status is SentStatus.CONFIRMED
    assert len(node.succeeded()) == 1


async def test_what_the_cap_forbids_waits_for_a_wish_with_a_cap_of_its_own() -> None:
    node = stuck()
    policy = replace(PATIENT, max_fee_per_gas=3 * GWEI)
    async with running(node, policy=policy) as app, asyncio.timeout(TIMEOUT_S):
        sending = asyncio.create_task(send(app))
        await until(lambda: bool(node.broadcasts))
        wishes = WishBook(lambda: app.promises)
        made = await wishes.ask(FIRST, Wish(kind=WishKind.SPEED_UP))
        watches = len(node.broadcasts)
        await until(lambda: len(node.broadcasts) > watches + 2)
        assert len({each.raw for each in node.broadcasts}) == 1
        assert await wishes.open(FIRST) == made
        await wishes.hear(made)
        await wishes.ask(FIRST, Wish(kind=WishKind.SPEED_UP, max_fee_per_gas=9 * GWEI))
        await until(lambda: len({each.raw for each in node.broadcasts}) == 2)
        assert 3 * GWEI < node.broadcasts[-1].fee <= 9 * GWEI
        unstuck(node)
        assert (await sending).status is SentStatus.CONFIRMED


@pytest.mark.parametrize("early", [False, True])
async def test_one_that_is_cancelled_leaves_an_empty_transfer_and_no_gap(early: bool) -> None:
    node = stuck()
    node.finality_lag = 3
    async with running(node, policy=replace(PATIENT, early=early)) as app, asyncio.timeout(TIMEOUT_S):
        sending = asyncio.create_task(send(app))
        await until(lambda: bool(node.broadcasts))
        await WishBook(lambda: app.promises).ask(FIRST, Wish(kind=WishKind.CANCEL))
        await until(lambda: node.broadcasts[-1].to == SENDER)
        unstuck(node)
        await asyncio.sleep(0.1)
        # What it replaced could still come instead, as long as the other is not final.
        assert not sending.done()
        node.mine(4)
        ended = await sending
        assert (ended.status, ended.nonce, ended.transaction_hash) == (SentStatus.CANCELLED, 0, None)
        assert "an operator cancelled it" in (ended.reason or "")
        following = asyncio.create_task(send(app, 2))
        await until(lambda: len(node.mined()) == 2)
        node.mine(4)
        assert (await following).nonce == 1
    assert [each.data for each in node.succeeded()] == [b"\x00\x02"]


async def test_one_that_is_mined_before_its_cancellation_is_confirmed() -> None:
    node = stuck()
    async with running(node, policy=PATIENT) as app, asyncio.timeout(TIMEOUT_S):
        sending = asyncio.create_task(send(app))
        await until(lambda: bool(node.broadcasts))
        # The node loses whatever is sent from now on, and mines what it had.
        node.drops = 1.0
        await WishBook(lambda: app.promises).ask(FIRST, Wish(kind=WishKind.CANCEL))
        await until(lambda: node.broadcasts[-1].to == SENDER)
        unstuck(node)
        assert (await sending).status is SentStatus.CONFIRMED
    assert [each.to for each, _ in node.mined()] == [REGISTRY]


async def test_a_cancellation_holds_whichever_empty_transfer_is_mined() -> None:
    """No node took it, so that its nonce was to be used up anyhow, before an operator gave it up."""
    node = stuck()
    node.refusal = refused("transaction type not supported")
    async with running(node) as app, asyncio.timeout(TIMEOUT_S):
        sending = asyncio.create_task(send(app))
        await until(lambda: node.broadcasts[-1:] != [] and node.broadcasts[-1].to == SENDER)
        node.refusal = None
        await until(lambda: bool(node.pool))
        node.drops = 1.0
        asked = await WishBook(lambda: app.promises).ask(FIRST, Wish(kind=WishKind.CANCEL))
        (before,) = node.pool.values()
        while (await app.promises.get(asked.promise_id or "")).pending:  # noqa: ASYNC110 - a worker's doing
            await asyncio.sleep(0.005)
        unstuck(node)
        assert (await sending).status is SentStatus.CANCELLED
    assert [each for each, _ in node.mined()] == [before]


async def test_what_was_told_as_confirmed_is_sent_again_though_its_nonce_is_used_up() -> None:
    """A reorg takes it back, and an operator cancels what is stuck then: its caller has long gone on."""
    node = WeatherNode(finality_lag=3)
    async with running(node, policy=replace(PATIENT, early=True)) as app, asyncio.timeout(TIMEOUT_S):
        assert (await send(app)).status is SentStatus.CONFIRMED
        node.minable = False
        node.orphan(1, forget=True)
        sent = len(node.broadcasts)
        await until(lambda: len(node.broadcasts) > sent)
        await WishBook(lambda: app.promises).ask(FIRST, Wish(kind=WishKind.CANCEL))
        await until(lambda: node.broadcasts[-1].to == SENDER)
        node.minable = True
        node.mine(5)
        await until(lambda: bool(node.succeeded()))
        node.mine(5)
        ended = await (await app.get(follower_id(FIRST))).result()
    assert ended.status is SentStatus.CONFIRMED
    assert [(each.nonce, each.data) for each in node.succeeded()] == [(1, b"\x00\x01")]


@pytest.mark.parametrize(
    "headers", [None, {KIND_HEADER: "dance"}, {KIND_HEADER: "cancel", MAX_FEE_HEADER: "40 gwei"}]
)
async def test_a_promise_that_says_nothing_is_no_wish(headers: dict[str, str] | None) -> None:
    node = stuck()
    async with running(node, policy=PATIENT) as app, asyncio.timeout(TIMEOUT_S):
        sending = asyncio.create_task(send(app))
        await app.promises.create(wish_promise_id(FIRST, 1), param=Value(headers=headers))
        await until(lambda: len(node.broadcasts) > 3)
        unstuck(node)
        assert (await sending).status is SentStatus.CONFIRMED


# -- by command


@asynccontextmanager
async def worker(node: WeatherNode, policy: SendingPolicy) -> AsyncIterator[tuple[Orchestrator, str]]:
    """A worker of a server, and the server's URL."""
    async with (
        Engine(MemoryStore()) as engine,
        listening(create_app(engine, ServerSettings(port=0))) as url,
    ):
        app = Orchestrator.remote(url, group="senders")
        register_transactions(app, node=node, signer=Signer.from_key(KEY), policy=policy)
        async with app:
            yield app, url


async def tx(url: str, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """Run `dao-scorer tx …` and return what it prints as JSON; where it fails, its error."""
    given = ["tx", *arguments, "--server", url, "--json"]
    done = await asyncio.to_thread(CliRunner().invoke, commands, given)
    assert done.exit_code == code, done.output
    if code:
        return [{"error": done.output}]
    # What the worker beside it logs meanwhile is told to the same standard output here.
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


async def test_the_commands_show_and_help_what_is_stuck() -> None:
    node = stuck()
    async with worker(node, PATIENT) as (app, url), asyncio.timeout(2 * TIMEOUT_S):
        handles = [await app.begin_rpc(f"send-{each}", send_transaction, intent(each)) for each in (1, 2)]
        await until(lambda: {each.nonce for each in node.broadcasts} == {0, 1})
        first, second = await tx(url, "list")
        assert [first["nonce"], second["nonce"]] == [0, 1]
        assert {first["sender"], second["sender"]} == {SENDER}
        await until(lambda: len(node.broadcasts) > 6)
        (shown,) = await tx(url, "show", first["logical_id"])
        assert (shown["stage"], shown["answer"], shown["asked"]) == ("sent", "accepted", None)
        assert shown["signed"][0]["transaction"] == shown["transaction"]
        assert await tx(url, "list", "--sender", REGISTRY) == []

        (asked,) = await tx(url, "speed-up", shown["transaction"], "--max-fee", "50")
        assert asked == {"nonce": shown["promise"], "asked": "speed up", "promise": asked["promise"]}
        raw = next(each.raw for each in node.broadcasts if each.nonce == shown["nonce"])
        await until(lambda: any(e.nonce == shown["nonce"] and e.raw != raw for e in node.broadcasts))
        (shown,) = await tx(url, "show", shown["promise"])
        assert (len(shown["signed"]), shown["asked"]) == (2, None)

        other = second if second["logical_id"] != shown["logical_id"] else first
        await tx(url, "cancel", str(other["nonce"]), "--sender", SENDER)
        await until(lambda: any(each.to == SENDER for each in node.broadcasts))
        unstuck(node)
        ended = [await handle.result() for handle in handles]
        assert {each.status for each in ended} == {SentStatus.CONFIRMED, SentStatus.CANCELLED}
        assert await tx(url, "list") == []
        final = await tx(url, "list", "--all")
        assert [each["stage"] for each in final] == ["final", "final"]
        (error,) = await tx(url, "speed-up", shown["promise"], code=1)
        assert "is final: there is nothing to replace" in error["error"]
        (error,) = await tx(url, "show", "0x" + "ab" * 32, code=1)
        assert "tx list --all" in error["error"]


async def pay(ctx: Context, number: int) -> Sent:
    """Send as the scoring does."""
    return await send_detached(ctx, intent(number))


async def test_what_has_no_nonce_is_listed_with_what_it_waits_for() -> None:
    node = stuck()
    async with worker(node, replace(PATIENT, in_flight_max=1)) as (app, url), asyncio.timeout(2 * TIMEOUT_S):
        app.register(pay)
        handles = [await app.begin_rpc(f"pay-{each}", pay, each) for each in (1, 2)]
        await until(lambda: bool(node.broadcasts))
        while {"earlier transactions in flight"} != {  # noqa: ASYNC110 - the store is asked
            each["reason"] for each in await tx(url, "list") if each["stage"] == "waiting"
        }:
            await asyncio.sleep(0.05)
        sent, waits = await tx(url, "list")
        assert (sent["stage"], sent["nonce"], waits["nonce"]) == ("sent", 0, None)
        assert {sent["logical_id"], waits["logical_id"]} == {"submit-1", "submit-2"}
        (error,) = await tx(url, "cancel", waits["logical_id"], code=1)
        assert "has no nonce yet" in error["error"]
        unstuck(node)
        while len(node.succeeded()) < 2:
            await asyncio.sleep(0.01)
            node.mine()
        assert {(await handle.result()).status for handle in handles} == {SentStatus.CONFIRMED}
        node.balances[SENDER] = 0
        await app.begin_rpc("pay-3", pay, 3)
        poor = await tx(url, "list")
        while not poor or "short of funds" not in poor[0]["reason"]:
            await asyncio.sleep(0.05)
            poor = await tx(url, "list")
        assert "send it funds" in poor[0]["reason"]


@pytest.mark.parametrize("kind", [WishKind.SPEED_UP, WishKind.CANCEL])
async def test_a_node_of_others_takes_the_replacement(kind: WishKind) -> None:
    """anvil's own rules decide about what is signed again."""
    with anvil(*SOON_FINAL) as url:
        async with Node(url) as node, asyncio.timeout(2 * TIMEOUT_S):
            (holder, *_) = await node.request("eth_accounts", [])
            await node.request("anvil_setBalance", [SENDER, hex(10**21)])
            await node.request("evm_setAutomine", [False])
            payment = Intent(
                chain_id=await node.chain_id(),
                sender=SENDER,
                to=holder,
                data_hex="0x",
                logical_id="pay",
                value=5,
            )
            app = Orchestrator.local(":memory:")
            register_transactions(app, node=node, signer=Signer.from_key(KEY), policy=PATIENT)
            async with app:
                before = await node.balance(holder)
                handle = await app.begin_run("pay", send_transaction, payment)
                first = await _pooled(node)
                claim = nonce_promise_id(payment.chain_id, SENDER, 0)
                await WishBook(lambda: app.promises).ask(claim, Wish(kind=kind))
                assert await _pooled(node, other_than=first) != first
                await node.request("evm_mine", [])
                await node.request("anvil_mine", [hex(3)])
                ended = await handle.result()
                paid = await node.balance(holder) - before
    cancelled = kind is WishKind.CANCEL
    assert ended.status is (SentStatus.CANCELLED if cancelled else SentStatus.CONFIRMED)
    assert paid == (0 if cancelled else 5)


async def _pooled(node: Node, *, other_than: str | None = None) -> str:
    """Wait until the node holds a transaction of the key, another than this one; return its hash."""
    while True:
        content = await node.request("txpool_content", [])
        for held in content["pending"].values():
            for transaction in held.values():
                if transaction["hash"] != other_than:
                    return str(transaction["hash"])
        await asyncio.sleep(0.01)
