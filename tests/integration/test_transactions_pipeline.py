"""The pipeline on the real engine, over a node whose weather the test decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import count

import pytest
from eth_account import Account

from contracts.rpc import NodeUnavailable, Receipt
from contracts.transactions import (
    Intent,
    SendingPolicy,
    Sent,
    SentStatus,
    Signer,
    patience,
    register_transactions,
    send_transaction,
)
from contracts.transactions.fees import Price
from contracts.transactions.nonces import (
    COST_HEADER,
    OWNER_HEADER,
    WORKFLOW_HEADER,
    halt_promise_id,
    nonce_promise_id,
)
from orchestrator import ApplicationError, Orchestrator, PromiseRecord, Refused, Value
from orchestrator.engine import Engine
from orchestrator.store.memory import MemoryStore
from orchestrator.transport.local import LocalTransport
from tests.transactions_weather import (
    CHAIN_ID,
    GWEI,
    REGISTRY,
    UNAUTHORIZED,
    WeatherNode,
    refused,
    transaction_of,
)

KEY = "0x" + "4c" * 32
SENDER = str(Account.from_key(KEY).address).lower()
FAST = SendingPolicy(watch_ms=60, poll_ms=5, pause_ms=5, pause_ms_max=20, bump_after_watches=2)
TIMEOUT_S = 20


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
    node: WeatherNode, url: str = ":memory:", policy: SendingPolicy = FAST
) -> AsyncIterator[Orchestrator]:
    app = Orchestrator.local(url)
    register_transactions(app, node=node, signer=Signer.from_key(KEY), policy=policy)
    async with app:
        yield app


async def send(app: Orchestrator, number: int = 1) -> Sent:
    async with asyncio.timeout(TIMEOUT_S):
        return await app.run(f"send-{number}", send_transaction, intent(number))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the scripted chain; it has no events of its own."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - the condition is the test's own, over plain values
            await asyncio.sleep(0.005)


async def test_a_transaction_is_sent_once_and_confirmed() -> None:
    node = WeatherNode()
    async with running(node) as app:
        sent = await send(app)
        assert sent.status is SentStatus.CONFIRMED
        assert sent == await send(app)
    (transaction,) = node.succeeded()
    assert sent.transaction_hash == "0x" + transaction.hash.hex()
    assert (sent.nonce, len(node.broadcasts)) == (0, 1)


async def test_it_is_confirmed_only_when_its_block_is_final() -> None:
    node = WeatherNode(finality_lag=3)
    async with running(node) as app:
        sending = asyncio.create_task(send(app))
        await until(lambda: bool(node.succeeded()))
        await asyncio.sleep(0.1)
        assert not sending.done()
        node.mine(3)
        assert (await sending).status is SentStatus.CONFIRMED


async def test_many_at_once_take_a_nonce_each_without_a_gap() -> None:
    node = WeatherNode(gaps=False)
    async with running(node) as app:
        ended = await asyncio.gather(*(send(app, number) for number in range(1, 21)))
    assert sorted(each.nonce or 0 for each in ended) == list(range(20))
    assert len(node.succeeded()) == 20


async def release_all(app: Orchestrator) -> None:
    """Let the key go on whenever it is halted, as an operator does who knows what he does."""
    for number in count(1):
        await app.promises.resolve((await halt_of(app, number)).id)


async def test_two_services_that_share_a_key_by_mistake_lose_and_double_nothing() -> None:
    """Their stores do not know each other, so each nonce is claimed twice and the chain decides."""
    node = WeatherNode()
    async with running(node) as one, running(node) as other, asyncio.TaskGroup() as group:
        operators = [group.create_task(release_all(app)) for app in (one, other)]
        ended = await asyncio.gather(
            *(send(one, number) for number in range(1, 6)), *(send(other, number) for number in range(6, 11))
        )
        same = await send(other, 1)
        for operator in operators:
            operator.cancel()
    assert {each.status for each in ended} == {SentStatus.CONFIRMED}
    assert same.status is SentStatus.REFUSED
    assert sorted(each.data[-1] for each in node.succeeded()) == list(range(1, 11))


async def test_many_workers_with_two_keys_on_one_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PARK_S", 0.02)
    monkeypatch.setattr(patience, "PARK_S_MAX", 0.1)
    node, other_key = WeatherNode(), "0x" + "4d" * 32
    other = str(Account.from_key(other_key).address).lower()
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(Engine(MemoryStore()))
        apps = [Orchestrator(transport=LocalTransport(engine)) for _ in range(4)]
        for app, key in zip(apps, (KEY, KEY, other_key, other_key), strict=True):
            register_transactions(app, node=node, signer=Signer.from_key(key), policy=FAST)
            await stack.enter_async_context(app)
        intents = [
            replace(intent(number), sender=sender, logical_id=f"{sender}-{number}")
            for number, sender in enumerate([SENDER, other] * 5, 1)
        ]
        async with asyncio.timeout(TIMEOUT_S):
            ended = await asyncio.gather(
                *(apps[0].rpc(f"send-{each.logical_id}", send_transaction, each) for each in intents)
            )
    assert {each.status for each in ended} == {SentStatus.CONFIRMED}
    for sender in (SENDER, other):
        assert sorted(each.nonce for each in node.succeeded() if each.sender == sender) == list(range(5))


async def test_a_refused_trial_takes_no_nonce_and_tells_why() -> None:
    node = WeatherNode()
    node.refusing = UNAUTHORIZED
    async with running(node) as app:
        sent = await send(app)
        assert sent.status is SentStatus.REFUSED
        assert (sent.reason or "").startswith("AccessControlUnauthorizedAccount(")
        node.refusing = None
        assert (await send(app, 2)).nonce == 0
    assert len(node.mined()) == 1


async def test_without_funds_it_waits_and_owns_no_nonce() -> None:
    node = WeatherNode()
    node.balances[SENDER] = 1
    async with running(node) as app:
        sending = asyncio.create_task(send(app))
        await asyncio.sleep(0.15)
        assert not sending.done()
        page = await app.promises.search(limit=1000)
        assert not [each for each in page.promises if each.id.startswith("nonce-")]
        node.balances[SENDER] = 10**21
        assert (await sending).status is SentStatus.CONFIRMED


async def test_an_orphaned_and_forgotten_one_is_sent_again_with_the_same_bytes() -> None:
    node = WeatherNode(finality_lag=3)
    async with running(node) as app:
        sending = asyncio.create_task(send(app))
        await until(lambda: bool(node.succeeded()))
        node.orphan(1, forget=True)
        await until(lambda: bool(node.succeeded()))
        node.mine(3)
        assert (await sending).status is SentStatus.CONFIRMED
    assert len({each.raw for each in node.broadcasts}) == 1
    assert len(node.broadcasts) >= 2


async def test_a_stuck_one_is_replaced_on_its_nonce_at_a_price_that_nodes_take() -> None:
    node = WeatherNode(automine=False)
    node.minable = False
    async with running(node) as app:
        sending = asyncio.create_task(send(app))
        await until(lambda: len({each.hash for each in node.broadcasts}) >= 3)
        node.minable = True
        while not sending.done():
            node.mine()
            await asyncio.sleep(0.005)
        sent = await sending
    assert {each.nonce for each in node.broadcasts} == {0}
    assert sent.status is SentStatus.CONFIRMED
    assert len(node.succeeded()) == 1


async def test_replacements_end_at_the_configured_number() -> None:
    node = WeatherNode(automine=False)
    node.minable = False
    policy = SendingPolicy(
        watch_ms=5, poll_ms=2, pause_ms=2, pause_ms_max=2, bump_after_watches=1, bumps_max=2
    )
    async with running(node, policy=policy) as app:
        sending = asyncio.create_task(send(app))
        await until(lambda: len(node.broadcasts) >= 12)
        assert len({each.hash for each in node.broadcasts}) == 3
        node.minable = node.automine = True
        node.mine()
        assert (await sending).status is SentStatus.CONFIRMED


async def take(node: WeatherNode, nonce: int) -> None:
    """Have somebody else's transaction of the key mined on a nonce."""
    price = Price(max_fee_per_gas=99 * GWEI, max_priority_fee_per_gas=99 * GWEI)
    foreign = Signer.from_key(KEY).sign(intent(9), nonce=nonce, gas=100_000, price=price)
    node.pool[SENDER, nonce] = transaction_of(bytes.fromhex(foreign.raw_hex[2:]))
    node.minable = node.automine = True
    node.mine()


async def halt_of(app: Orchestrator, number: int = 1) -> PromiseRecord:
    """Wait until the key is halted."""
    while True:
        try:
            return await app.promises.get(halt_promise_id(CHAIN_ID, SENDER, number))
        except Refused:
            await asyncio.sleep(0.005)


async def test_a_foreign_transaction_halts_the_key_until_an_operator_lets_it_go_on() -> None:
    node = WeatherNode(automine=False)
    node.minable = False
    async with running(node) as app, asyncio.timeout(TIMEOUT_S):
        sending = asyncio.create_task(send(app))
        await until(lambda: bool(node.broadcasts))
        await take(node, 0)
        halt = await halt_of(app)
        assert halt.pending
        assert (halt.param.headers or {})["nonce"] == "0"
        following = asyncio.create_task(send(app, 2))
        broadcasts = len(node.broadcasts)
        await asyncio.sleep(0.2)
        assert not sending.done()
        assert not following.done()
        assert len(node.broadcasts) == broadcasts, "a halted key takes no new nonce"
        await app.promises.resolve(halt.id)
        ended = [await sending, await following]
        spent = await app.promises.get(nonce_promise_id(CHAIN_ID, SENDER, 0))
    assert {each.status for each in ended} == {SentStatus.CONFIRMED}
    assert {each.nonce for each in ended} == {1, 2}
    assert not spent.pending
    assert len(node.succeeded()) == 3


async def test_what_has_a_nonce_when_the_key_is_halted_is_finished() -> None:
    node = WeatherNode(automine=False)
    node.minable = False
    async with running(node) as app, asyncio.timeout(TIMEOUT_S):
        sending = [asyncio.create_task(send(app, number)) for number in (1, 2)]
        await until(lambda: {each.nonce for each in node.broadcasts} == {0, 1})
        await take(node, 0)
        halt = await halt_of(app)
        done, open_ones = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
        assert [(await each).nonce for each in done] == [1]
        # Rejecting the promise lets the key go on as well: only the operator's decision counts.
        await app.promises.reject(halt.id, "known: a withdrawal by hand")
        assert [(await each).nonce for each in open_ones] == [2]


async def test_one_node_that_lags_halts_nothing() -> None:
    """It shows the nonce as used and finalised, and not yet the receipt: for two looks in a row."""
    node = WeatherNode(automine=False)
    async with running(node) as app, asyncio.timeout(TIMEOUT_S):
        sending = asyncio.create_task(send(app))
        await until(lambda: bool(node.broadcasts))
        honest, hidden = node.receipts, iter(range(5))

        async def lagging(hashes: Sequence[bytes]) -> list[Receipt | None]:
            found = await honest(hashes)
            return [None if each is not None and next(hidden, None) is not None else each for each in found]

        node.receipts = lagging  # type: ignore[method-assign]
        node.automine = True
        node.mine()
        assert (await sending).status is SentStatus.CONFIRMED
        with pytest.raises(Refused):
            await app.promises.get(halt_promise_id(CHAIN_ID, SENDER, 1))


@pytest.mark.parametrize("gaps", [False, True])
async def test_a_nonce_of_a_cancelled_sender_is_used_up_by_whoever_waits_behind_it(gaps: bool) -> None:
    node = WeatherNode(gaps=gaps)
    node.drops = 1.0
    async with running(node) as app, asyncio.timeout(TIMEOUT_S):
        cancelled = asyncio.create_task(send(app))
        await until(lambda: bool(node.broadcasts))
        await app.promises.cancel("send-1")
        with pytest.raises(ApplicationError):
            await cancelled
        node.drops = 0.0
        following = [asyncio.create_task(send(app, number)) for number in (2, 3)]
        ended = [await each for each in following]
    assert sorted(each.nonce or 0 for each in ended) == [1, 2]
    assert {each.status for each in ended} == {SentStatus.CONFIRMED}
    (filler,) = [each for each, _ in node.mined() if each.nonce == 0]
    assert (filler.to, filler.data) == (SENDER, b"")


async def claimed_late(app: Orchestrator, nonce: int) -> None:
    """Have a claim of the first transaction arrive that was given up, and made again elsewhere, long ago."""
    headers = {OWNER_HEADER: intent().logical_id, WORKFLOW_HEADER: "send-1", COST_HEADER: "0"}
    await app.promises.create(nonce_promise_id(CHAIN_ID, SENDER, nonce), param=Value(headers=headers))


async def test_a_claim_that_arrives_below_the_nonce_that_was_taken_leaves_no_gap() -> None:
    node = WeatherNode()
    honest = node.nonce

    async def ahead(address: str, block: int | str | bytes = "latest") -> int:
        return await honest(address, block) + 1

    async with running(node) as app:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(node, "nonce", ahead)
            sending = asyncio.create_task(send(app))
            await until(lambda: bool(node.broadcasts))
        assert node.broadcasts[0].nonce == 1
        await claimed_late(app, 0)
        assert (await sending).nonce == 1
    assert [(each.nonce, each.to) for each, _ in node.mined()] == [(0, SENDER), (1, REGISTRY)]


async def test_a_claim_that_arrives_after_its_transaction_has_ended_leaves_no_gap() -> None:
    node = WeatherNode()
    async with running(node) as app:
        assert (await send(app)).nonce == 0
        await claimed_late(app, 1)
        assert (await send(app, 2)).nonce == 2
        assert (await send(app, 3)).nonce == 3
    assert [each.data for each in node.succeeded()] == [b"\x00\x01", b"\x00\x02", b"\x00\x03"]


async def test_a_nonce_whose_owner_lives_is_waited_for() -> None:
    node = WeatherNode()
    node.drops = 1.0
    async with running(node) as app, asyncio.timeout(TIMEOUT_S):
        first = asyncio.create_task(send(app))
        await until(lambda: bool(node.broadcasts))
        second = asyncio.create_task(send(app, 2))
        await until(lambda: len({each.raw for each in node.broadcasts if each.nonce == 1}) >= 2)
        node.drops = 0.0
        assert [(await each).nonce for each in (first, second)] == [0, 1]
    assert len(node.succeeded()) == 2
    assert all(each.to == REGISTRY for each in node.broadcasts)


async def test_a_node_of_another_chain_signs_nothing() -> None:
    node = WeatherNode()
    node.served_chain = CHAIN_ID + 1
    async with running(node) as app, asyncio.timeout(TIMEOUT_S):
        handle = await app.begin_run("send-1", send_transaction, intent())
        while not (await _steps(app, "prepare_transaction")):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        assert not await handle.done()
        assert not await _steps(app, "sign_transaction")
    assert node.broadcasts == []


async def _steps(app: Orchestrator, name: str) -> list[PromiseRecord]:
    page = await app.promises.search(limit=1000)
    return [each for each in page.promises if (each.param.headers or {}).get("func") == name]


async def test_what_no_node_takes_does_not_jam_the_key() -> None:
    node = WeatherNode()
    node.refusal = refused("transaction type not supported")
    async with running(node) as app:
        sent = await send(app)
        node.refusal = None
        following = await send(app, 2)
    assert sent.status is SentStatus.REFUSED
    assert (following.status, following.nonce) == (SentStatus.CONFIRMED, 1)
    assert [each.data for each in node.succeeded()] == [b"\x00\x02"]


async def test_a_second_one_with_the_same_effect_is_refused_with_the_registrys_words() -> None:
    node = WeatherNode()
    async with running(node) as app:
        await send(app)
        async with asyncio.timeout(TIMEOUT_S):
            again = await app.run(
                "again", send_transaction, Intent(**{**_fields(intent()), "logical_id": "other"})
            )
    assert again.status is SentStatus.REFUSED
    assert (again.reason or "").startswith("AlreadySubmitted(")
    assert len(node.mined()) == 1


async def test_a_mined_revert_is_a_recorded_failure() -> None:
    node = WeatherNode(automine=False)
    async with running(node) as app:
        first = asyncio.create_task(send(app))
        second = asyncio.create_task(
            app.run("twin", send_transaction, Intent(**{**_fields(intent()), "logical_id": "twin"}))
        )
        await until(lambda: len(node.pool) == 2)
        node.mine()
        ended = sorted([(await first).status, (await second).status])
    assert ended == [SentStatus.CONFIRMED, SentStatus.REVERTED]
    assert len(node.succeeded()) == 1


async def test_an_answer_lost_after_the_broadcast_sends_nothing_twice() -> None:
    node = WeatherNode()
    lost = iter([True])
    deliver = node.send_raw

    async def send_and_lose(raw: bytes) -> bytes:
        transaction_hash = await deliver(raw)
        if next(lost, False):
            raise NodeUnavailable(node.endpoint, "the answer was lost")
        return transaction_hash

    node.send_raw = send_and_lose  # type: ignore[method-assign]
    async with running(node) as app:
        assert (await send(app)).status is SentStatus.CONFIRMED
    assert len({each.raw for each in node.broadcasts}) == 1
    assert len(node.mined()) == 1


@pytest.mark.parametrize("nonce", [0])
async def test_the_claim_names_its_transaction_for_everyone_to_read(nonce: int) -> None:
    async with running(WeatherNode()) as app:
        sent = await send(app)
        claim = await app.promises.get(nonce_promise_id(CHAIN_ID, SENDER, nonce))
    headers = claim.param.headers or {}
    assert (headers["logical-transaction"], headers["workflow"]) == ("submit-1", "send-1")
    assert int(headers["cost-max"]) > 0
    assert (claim.value.headers or {})["transaction"] == sent.transaction_hash
    assert not claim.pending
    assert sent.nonce == nonce


def _fields(of: Intent) -> dict[str, object]:
    return {
        name: getattr(of, name) for name in ("chain_id", "sender", "to", "data_hex", "logical_id", "value")
    }
