"""What bounds a key (places in flight, gas budget, caps on fees), and which reverts are believed."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from eth_account import Account
from prometheus_client.core import Metric
from structlog.testing import capture_logs

from contracts.rpc import CallReverted
from contracts.transactions import (
    Intent,
    SendingMetrics,
    SendingPolicy,
    Sent,
    SentStatus,
    Signer,
    Signers,
    patience,
    register_transactions,
    send_transaction,
)
from contracts.transactions.nonces import follower_id, nonce_promise_id
from orchestrator import Orchestrator
from tests.transactions_weather import CHAIN_ID, GWEI, INVALID_ROOT, REGISTRY, UNAUTHORIZED, WeatherNode

KEY, OTHER_KEY = "0x" + "4c" * 32, "0x" + "4d" * 32
SENDER = str(Account.from_key(KEY).address).lower()
FAST = SendingPolicy(watch_ms=60, poll_ms=5, pause_ms=5, pause_ms_max=20, bump_after_watches=2)
TIMEOUT_S = 20


@pytest.fixture(autouse=True)
def _short_parking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PARK_S", 0.01)
    monkeypatch.setattr(patience, "PARK_S_MAX", 0.05)


def intent(number: int = 1) -> Intent:
    return Intent(
        chain_id=CHAIN_ID,
        sender=SENDER,
        to=REGISTRY,
        data_hex=f"0x{number:04x}",
        logical_id=f"submit-{number}",
    )


@asynccontextmanager
async def running(
    node: WeatherNode, policy: SendingPolicy = FAST, *, url: str = ":memory:", signers: Signers | None = None
) -> AsyncIterator[tuple[Orchestrator, SendingMetrics]]:
    app, metrics = Orchestrator.local(url), SendingMetrics()
    held = signers or Signers([Signer.from_key(KEY)])
    register_transactions(app, node=node, signer=held, policy=policy, metrics=metrics)
    async with app, asyncio.timeout(TIMEOUT_S):
        yield app, metrics


async def send(app: Orchestrator, number: int = 1) -> Sent:
    return await app.run(f"send-{number}", send_transaction, intent(number))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the scripted chain; it has no events of its own."""
    while not condition():  # noqa: ASYNC110 - the condition is the test's own, over plain values
        await asyncio.sleep(0.005)


def value_of(metrics: SendingMetrics, name: str, **labels: str) -> float:
    families: list[Metric] = list(metrics.collect())
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def test_a_key_has_no_more_in_flight_than_the_policy_lets() -> None:
    node = WeatherNode(automine=False)
    async with running(node, replace(FAST, in_flight_max=4)) as (app, _):
        sending = [asyncio.create_task(send(app, number)) for number in range(1, 11)]
        await until(lambda: len(node.pool) == 4)
        await asyncio.sleep(0.2)
        assert {each.nonce for each in node.broadcasts} == {0, 1, 2, 3}
        for _ in range(3):
            node.mine()
            await until(lambda: bool(node.pool) or len(node.succeeded()) == 10)
        while not all(each.done() for each in sending):
            assert len(node.pool) <= 4
            node.mine()
            await asyncio.sleep(0.01)
        ended = [each.result() for each in sending]
    assert sorted(each.nonce or 0 for each in ended) == list(range(10))
    assert len(node.succeeded()) == 10


async def test_the_gas_budget_holds_new_ones_back_until_the_period_has_passed() -> None:
    node = WeatherNode()
    # One costs 120,000 gas at 3 gwei at most: the budget lets two in a period, and not a third.
    policy = replace(FAST, budget=2 * 120_000 * 3 * GWEI, budget_period_ms=1_500)
    async with running(node, policy) as (app, metrics):
        first = [await send(app, number) for number in (1, 2)]
        held = asyncio.create_task(send(app, 3))
        await until(lambda: value_of(metrics, "transactions_waits_total", reason="gas budget") > 0)
        assert not held.done()
        assert value_of(metrics, "transactions_alarm", alarm="budget") == 1
        assert len(node.broadcasts) == 2
        assert (await held).status is SentStatus.CONFIRMED
        assert value_of(metrics, "transactions_alarm", alarm="budget") == 0
    assert {each.status for each in first} == {SentStatus.CONFIRMED}


async def test_above_the_fee_cap_it_waits_without_a_nonce() -> None:
    node = WeatherNode()
    node.base_fee = 50 * GWEI
    async with running(node, replace(FAST, max_fee_per_gas=20 * GWEI)) as (app, metrics):
        held = asyncio.create_task(send(app))
        await until(lambda: value_of(metrics, "transactions_waits_total", reason="fee cap") > 1)
        assert not held.done()
        assert value_of(metrics, "transactions_alarm", alarm="fee") == 1
        node.base_fee = GWEI
        assert (await held).nonce == 0
        assert value_of(metrics, "transactions_alarm", alarm="fee") == 0
    assert all(each.fee <= 20 * GWEI for each in node.broadcasts)


async def test_a_price_above_the_alarm_is_told_and_paid() -> None:
    node = WeatherNode()
    node.base_fee = 50 * GWEI
    async with running(node, replace(FAST, fee_alarm=20 * GWEI)) as (app, metrics):
        with capture_logs() as logs:
            assert (await send(app, 1)).status is SentStatus.CONFIRMED
        assert "transaction.fee_alarm" in {entry["event"] for entry in logs}
        assert value_of(metrics, "transactions_alarm", alarm="fee") == 1
        node.base_fee = GWEI
        assert (await send(app, 2)).status is SentStatus.CONFIRMED
        assert value_of(metrics, "transactions_alarm", alarm="fee") == 0


async def test_a_low_balance_is_told_before_it_is_used_up() -> None:
    node = WeatherNode()
    node.balances[SENDER] = 10**18
    async with running(node, replace(FAST, balance_alarm=2 * 10**18)) as (app, metrics):
        assert (await send(app)).status is SentStatus.CONFIRMED
        assert value_of(metrics, "transactions_alarm", alarm="balance", sender=SENDER) == 1
        assert value_of(metrics, "transactions_balance_ether", sender=SENDER) == 1
        assert value_of(metrics, "transactions_final_total", outcome="succeeded") == 1


@pytest.mark.parametrize("told", [b"", b"\x08\xc3\x79\xa0" + bytes(64), b"\xde\xad\xbe\xef"])
async def test_a_revert_without_an_error_of_the_contract_is_doubted_and_tried_again(told: bytes) -> None:
    node, honest = WeatherNode(), WeatherNode.estimate_gas
    lies = iter(range(3))

    async def estimate_gas(sender: str, to: str | None, data: bytes, value: int = 0) -> int:
        if next(lies, None) is not None:
            raise CallReverted(str(to), told, "execution reverted")
        return await honest(node, sender, to, data, value)

    node.estimate_gas = estimate_gas  # type: ignore[method-assign]
    async with running(node) as (app, _):
        assert (await send(app)).status is SentStatus.CONFIRMED


async def test_a_refusal_counts_only_when_it_repeats_at_a_finalised_block() -> None:
    """A role that is taken in a block which a reorg removes refuses nothing."""
    node = WeatherNode(finality_lag=2)
    node.mine(3)
    tried: list[object] = []

    async def simulate(
        sender: str, to: str, data: bytes, value: int = 0, block: int | str | bytes = "latest"
    ) -> bytes:
        tried.append(block)
        if len(tried) > 2:
            raise CallReverted(to, UNAUTHORIZED, "execution reverted")
        return b""

    node.simulate = simulate  # type: ignore[method-assign]
    node.refusing = UNAUTHORIZED
    async with running(node) as (app, _):
        sent = await send(app)
    assert (sent.status, len(tried)) == (SentStatus.REFUSED, 3)
    assert tried[0] == len(node.blocks) - 1 - node.finality_lag
    assert node.broadcasts == []


async def test_what_needs_more_gas_than_a_transaction_may_use_is_a_recorded_failure() -> None:
    async with running(WeatherNode(), replace(FAST, gas_max=50_000)) as (app, _):
        sent = await send(app)
    assert sent.status is SentStatus.REFUSED
    assert "split it" in (sent.reason or "")


EARLY = replace(FAST, early=True)


async def test_confirmed_by_depth_it_is_followed_until_it_is_final() -> None:
    node = WeatherNode(finality_lag=3)
    async with running(node, EARLY) as (app, metrics):
        sent = await send(app)
        assert sent.status is SentStatus.CONFIRMED
        claim = nonce_promise_id(CHAIN_ID, SENDER, 0)
        assert (await app.promises.get(follower_id(claim))).pending
        node.mine(3)
        assert await (await app.get(follower_id(claim))).result() is not None
        assert not (await app.promises.get(claim)).pending
        assert value_of(metrics, "transactions_final_total", outcome="succeeded") == 1


async def test_one_that_a_reorg_takes_back_after_its_confirmation_is_sent_again_under_its_nonce(
    tmp_path: object,
) -> None:
    node, url = WeatherNode(finality_lag=3), f"sqlite:///{tmp_path}/store.db"
    follower = follower_id(nonce_promise_id(CHAIN_ID, SENDER, 0))
    async with running(node, EARLY, url=url) as (app, _):
        assert (await send(app)).status is SentStatus.CONFIRMED
    # The process is gone when it happens; the next one goes on.
    node.orphan(1, forget=True)
    assert node.succeeded() == []
    async with running(node, EARLY, url=url) as (app, metrics):
        await until(lambda: bool(node.succeeded()))
        second = await send(app, 2)
        node.mine(4)
        await (await app.get(follower)).result()
        assert value_of(metrics, "transactions_orphaned_total") == 1
    assert {(each.nonce, each.data) for each in node.succeeded()} == {(0, b"\x00\x01"), (1, b"\x00\x02")}
    assert second.nonce == 1


async def seen_mined(app: Orchestrator) -> int:
    """How many watches have ended with a transaction that is mined and does not count yet."""
    page = await app.promises.search(limit=1000)
    return sum(b'"MINED"' in b64decode(each.value.data or "") for each in page.promises)


async def test_however_often_it_is_orphaned_it_is_sent_again_at_once() -> None:
    """The pauses double while something waits, and would last for minutes after ten reorgs in a row."""
    node = WeatherNode(finality_lag=30)
    policy = replace(FAST, watch_ms=20, pause_ms=50, pause_ms_max=60_000)
    async with running(node, policy) as (app, metrics):
        sending = asyncio.create_task(send(app))
        for _ in range(10):
            await until(lambda: bool(node.succeeded()))
            before = await seen_mined(app)
            while await seen_mined(app) == before:  # noqa: ASYNC110 - the engine is asked
                await asyncio.sleep(0.005)
            node.orphan(1, forget=True)
        await until(lambda: bool(node.succeeded()))
        node.mine(30)
        assert (await sending).status is SentStatus.CONFIRMED
        assert value_of(metrics, "transactions_orphaned_total") == 10
    assert len({each.raw for each in node.broadcasts}) == len(node.succeeded()) == 1


async def test_one_that_is_mined_and_orphaned_within_a_watch_is_sent_again_when_it_ends() -> None:
    node = WeatherNode(finality_lag=3)
    policy = replace(FAST, watch_ms=300, pause_ms=60_000, pause_ms_max=60_000)
    async with running(node, policy) as (app, metrics):
        sending = asyncio.create_task(send(app))
        await until(lambda: bool(node.succeeded()))
        looks = node.requests_by_method["eth_getTransactionReceipt"]
        await until(lambda: node.requests_by_method["eth_getTransactionReceipt"] > looks + 2)
        node.orphan(1, forget=True)
        await until(lambda: bool(node.succeeded()))
        node.mine(3)
        assert (await sending).status is SentStatus.CONFIRMED
        assert value_of(metrics, "transactions_orphaned_total") == 1


@pytest.mark.parametrize("passing", [True, False])
async def test_one_that_a_reorg_takes_back_and_that_reverts_then_is_sent_anew_or_ends_with_its_reason(
    passing: bool,
) -> None:
    """Its caller was told that it stands on the chain, and has gone on."""
    node = WeatherNode(finality_lag=3)
    async with running(node, EARLY) as (app, _):
        assert (await send(app)).status is SentStatus.CONFIRMED
        node.automine = False
        node.orphan(1)
        node.refusing = UNAUTHORIZED if passing else INVALID_ROOT
        node.mine(5)
        assert [status for _, status in node.mined()] == [0]
        follower = await app.get(follower_id(nonce_promise_id(CHAIN_ID, SENDER, 0)))
        if passing:
            await until(lambda: node.requests_by_method["eth_call"] > 1)
            assert not await follower.done(), "its admin may yet give it the role"
            node.refusing, node.automine = None, True
            await until(lambda: bool(node.succeeded()))
            node.mine(5)
        ended = await follower.result()
    assert [each.nonce for each in node.succeeded()] == ([1] if passing else [])
    assert ended.status is (SentStatus.CONFIRMED if passing else SentStatus.REFUSED)
    assert passing or (ended.reason or "").startswith("InvalidRoot(")


async def test_a_retiring_key_finishes_what_it_has_and_takes_nothing_new(tmp_path: object) -> None:
    node, url = WeatherNode(automine=False), f"sqlite:///{tmp_path}/store.db"
    async with running(node, url=url) as (app, _):
        handle = await app.begin_rpc("send-1", send_transaction, intent(1))
        await until(lambda: bool(node.pool))
        assert not await handle.done()
    new, old = Signer.from_key(OTHER_KEY), Signer.from_key(KEY)
    # The old one is stuck, so that it also has to be signed again.
    raw, node.minable = {each.raw for each in node.broadcasts}, False
    async with running(node, url=url, signers=Signers([new], [old])) as (app, _):
        refused = await send(app, 2)
        await until(lambda: bool({each.raw for each in node.broadcasts} - raw))
        node.minable = node.automine = True
        node.mine()
        finished = await (await app.get("send-1")).result()
        moved = await app.run(
            "send-3", send_transaction, replace(intent(3), sender=new.address, logical_id="by-the-new-key")
        )
    assert (refused.status, "retires" in (refused.reason or "")) == (SentStatus.REFUSED, True)
    assert (Sent(**finished) if isinstance(finished, dict) else finished).status is SentStatus.CONFIRMED
    assert moved.status is SentStatus.CONFIRMED
    assert sorted((each.sender, each.nonce) for each in node.succeeded()) == sorted(
        [(SENDER, 0), (new.address, 0)]
    )
