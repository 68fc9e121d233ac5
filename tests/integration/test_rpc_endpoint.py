"""One endpoint over HTTP: how many requests it takes at once, when it is left alone, and for how long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from contracts.rpc import Node, NodeUnavailable, PoolSettings, RpcRefused, WrongChain, connection
from contracts.rpc import pool as pool_module
from contracts.rpc.circuit import Circuit, CircuitState, TokenBucket
from tests.rpc_node import Raw, ScriptedNode, scripted_node

DAO = "0x" + "aa" * 20
CHAIN_ID = 31337


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "READ_PAUSES_S", (0.001, 0.001))


@pytest.fixture
async def script() -> AsyncIterator[ScriptedNode]:
    async with scripted_node() as script:
        script.result("eth_call", "0x2a")
        script.result("eth_chainId", "0x7a69")
        yield script


def sizes(script: ScriptedNode) -> list[int]:
    """How many requests each body held."""
    return [len(body) if isinstance(body, list) else 1 for body in script.bodies]


def refusing_beyond(script: ScriptedNode, most: int, answer: dict[str, Any], status: int = 200) -> None:
    """Let a node refuse batches of more than so many requests, in these words."""
    serve = script.answers["eth_call"]

    def judged(request: dict[str, Any]) -> Any:
        body = script.bodies[-1]
        if isinstance(body, list) and len(body) > most:
            return Raw(body=json.dumps(answer).encode() if answer else b"too much", status=status)
        return serve(request)

    script.answers["eth_call"] = judged


def error(code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}


async def test_batches_shrink_to_what_is_taken_and_stay_there(script: ScriptedNode) -> None:
    refusing_beyond(script, 20, error(-32600, "Batch of more than 20 requests"))
    calls = [(DAO, bytes([number])) for number in range(90)]
    async with Node(script.url) as node:
        assert await node.call_many(calls, 1) == [b"\x2a"] * 90
        refused = sizes(script).count(90)
        script.bodies.clear()
        assert await node.call_many(calls, 1) == [b"\x2a"] * 90
    assert refused == 1
    assert sum(size for size in sizes(script) if size <= 20) == 90
    assert len(sizes(script)) <= 9


@pytest.mark.parametrize(
    ("answer", "status"), [(error(-32600, "batch too large"), 200), ({}, 413)], ids=["geth", "HTTP 413"]
)
async def test_other_words_for_the_same(script: ScriptedNode, answer: dict[str, Any], status: int) -> None:
    refusing_beyond(script, 10, answer, status)
    async with Node(script.url) as node:
        assert await node.call_many([(DAO, b"\x01")] * 45, 1) == [b"\x2a"] * 45


async def test_geth_tells_it_in_the_first_answer_alone(script: ScriptedNode) -> None:
    refusing_beyond(script, 10, {})
    serve = script.answers["eth_call"]

    def first_alone(request: dict[str, Any]) -> Any:
        body = script.bodies[-1]
        if isinstance(body, list) and len(body) > 10:
            told = error(-32600, "batch too large") | {"id": body[0]["id"]}
            return Raw(body=json.dumps([told]).encode())
        return serve(request)

    script.answers["eth_call"] = first_alone
    async with Node(script.url) as node:
        assert await node.call_many([(DAO, b"\x01")] * 45, 1) == [b"\x2a"] * 45


async def test_a_node_without_batches_is_not_asked_for_them_again(script: ScriptedNode) -> None:
    refusing_beyond(script, 1, error(-32600, "Batch requests are not supported"))
    async with Node(script.url) as node:
        for _ in range(2):
            assert await node.call_many([(DAO, b"\x01")] * 12, 1) == [b"\x2a"] * 12
    assert sizes(script) == [12, *[1] * 24]


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_pause_is_kept_however_it_is_written(script: ScriptedNode, form: str) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    async with Node(script.url) as node:
        script.queue = [Raw(status=429, headers={"Retry-After": "60" if form == "seconds" else later})]
        for _ in range(3):
            with pytest.raises(NodeUnavailable) as caught:
                await node.call(DAO, b"\x01", 1)
            assert 50 < (caught.value.retry_after_s or 0) <= 60
            assert caught.value.limited or caught.value.unsent
    assert len(script.bodies) == 1, "it is left alone for as long"


@pytest.mark.parametrize("header", ["soon", "-5", "nan", ""])
async def test_a_pause_that_is_none_is_our_own(script: ScriptedNode, header: str) -> None:
    async with Node(script.url, settings=PoolSettings(patience_s=5.0)) as node:
        script.queue = [Raw(status=429, headers={"Retry-After": header})]
        assert await node.call(DAO, b"\x01", 1) == b"\x2a"


async def test_no_pause_is_longer_than_an_hour(script: ScriptedNode) -> None:
    async with Node(script.url) as node:
        script.queue = [Raw(status=503, headers={"Retry-After": "1000000000"})]
        with pytest.raises(NodeUnavailable) as caught:
            await node.call(DAO, b"\x01", 1)
        assert 3590 < (caught.value.retry_after_s or 0) <= 3600


async def test_a_limit_that_names_no_pause_is_left_alone_for_longer_each_time(script: ScriptedNode) -> None:
    async with Node(script.url, settings=PoolSettings(patience_s=5.0)) as node:
        script.queue = [Raw(status=429), Raw(status=429)]
        assert await node.call(DAO, b"\x01", 1) == b"\x2a"
        assert node.pool.endpoints[0].numbers.rested_s == pytest.approx(0.25 + 0.5)


async def test_whoever_waits_for_a_place_waits_no_longer_than_for_an_answer(script: ScriptedNode) -> None:
    async with Node(script.url, timeout_s=0.3, settings=PoolSettings(concurrency=1)) as node:
        (endpoint,) = node.pool.endpoints
        async with endpoint._turn(1):
            with pytest.raises(NodeUnavailable, match="too many requests in flight") as caught:
                await node.call(DAO, b"\x01", 1)
        assert caught.value.unsent
        assert await node.call(DAO, b"\x01", 1) == b"\x2a"
    assert len(script.bodies) == 1


async def test_a_rate_that_cannot_be_had_in_time_is_told_and_costs_nothing(script: ScriptedNode) -> None:
    async with Node(
        script.url, timeout_s=0.5, settings=PoolSettings(requests_per_s=1.0, patience_s=0)
    ) as node:
        assert await node.call(DAO, b"\x01", 1) == b"\x2a"
        for _ in range(9):
            with pytest.raises(NodeUnavailable, match="rate of requests is used up") as caught:
                await node.call(DAO, b"\x01", 1)
        assert caught.value.unsent
        assert 0.5 < (caught.value.retry_after_s or 0) <= 1.0, "those that were refused took nothing of it"


async def test_an_answer_has_a_bound(script: ScriptedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_BYTES_MAX", 1000)
    script.result("eth_call", "0x" + "2a" * 1000)
    async with Node(script.url) as node:
        with pytest.raises(RpcRefused, match="larger than 1000 bytes"):
            await node.call(DAO, b"\x01", 1)


async def test_an_endpoint_leads_nowhere_else(script: ScriptedNode) -> None:
    """A redirect would carry what is asked, and a signed transaction, to whom nobody has named."""
    async with scripted_node() as other, Node(script.url) as node:
        other.result("eth_call", "0x2b")
        script.queue = [Raw(status=307, headers={"Location": other.url})]
        with pytest.raises(RpcRefused, match="HTTP 307"):
            await node.call(DAO, b"\x01", 1)
    assert other.bodies == []


async def test_after_a_failure_the_chain_is_asked_for_first(script: ScriptedNode) -> None:
    async with Node(script.url, chain_id=CHAIN_ID) as node:
        assert await node.call(DAO, b"\x01", 1) == b"\x2a"
        script.result("eth_chainId", "0x5")
        assert await node.call(DAO, b"\x01", 1) == b"\x2a", "it is believed for a minute"
        script.queue = [Raw(drop=True)]
        with pytest.raises(WrongChain):
            await node.call(DAO, b"\x01", 1)


async def test_batches_grow_again_up_to_what_was_refused(script: ScriptedNode) -> None:
    refusing_beyond(script, 20, error(-32600, "Batch of more than 20 requests"))
    calls = [(DAO, bytes([number])) for number in range(90)]
    async with Node(script.url, settings=PoolSettings(batch_calls_max=48)) as node:
        await node.call_many(calls, 1)
        assert max(size for size in sizes(script)[-2:]) > 12, (
            "48 and 24 were too many, 12 is not all it takes"
        )
        assert node.pool.endpoints[0].batch_calls < 24


async def test_a_key_that_is_refused_opens_the_circuit(script: ScriptedNode) -> None:
    async with Node(script.url, settings=PoolSettings(failures_max=3, open_s_min=60, open_s_max=60)) as node:
        script.queue = [Raw(status=401, body=b"no")] * 9
        for _ in range(3):
            with pytest.raises(RpcRefused, match="check the RPC URL and its key"):
                await node.call(DAO, b"\x01", 1)
        with pytest.raises(NodeUnavailable, match=r"not asked for .* s: .*HTTP 401") as caught:
            await node.call(DAO, b"\x01", 1)
        assert caught.value.unsent
    assert len(script.bodies) == 3


async def test_a_request_that_never_left_says_so() -> None:
    async with scripted_node() as script:
        url = script.url
    async with Node(url) as node:
        with pytest.raises(NodeUnavailable) as caught:
            await node.send_raw(b"\x02")
    assert caught.value.unsent


async def test_a_cancelled_read_leaves_no_trace(script: ScriptedNode) -> None:
    async with Node(script.url, settings=PoolSettings(concurrency=1)) as node:
        script.queue = [Raw(hang=True)]
        reading = asyncio.create_task(node.call(DAO, b"\x01", 1))
        while not script.bodies:  # noqa: ASYNC110 - the script tells no event
            await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await node.call(DAO, b"\x01", 1) == b"\x2a", "its place is free again"
        assert node.pool.endpoints[0].circuit.state is CircuitState.CLOSED


def test_a_probe_that_is_given_up_is_made_again() -> None:
    circuit = Circuit(PoolSettings(failures_max=1, open_s_min=2.0, open_s_max=5.0))
    waits = []
    circuit.failed(0.0)
    for _ in range(3):
        waits.append(circuit.wait_s(0.0))
        circuit.enter()
        assert (circuit.state, circuit.wait_s(9.0)) == (CircuitState.HALF_OPEN, 2.0)
        circuit.failed(0.0)
    assert waits == [2.0, 4.0, 5.0]
    circuit.enter()
    circuit.abandoned()
    assert circuit.wait_s(0.0) == 0.0
    circuit.enter()
    circuit.succeeded()
    circuit.failed(0.0)
    assert circuit.wait_s(0.0) == 2.0, "an answer starts the pauses anew"


def test_a_rate_lets_a_second_through_at_once_and_the_rest_in_time() -> None:
    bucket = TokenBucket(10.0)
    assert [bucket.take(0.0) for _ in range(12)] == pytest.approx([0.0] * 10 + [0.1, 0.2])
    assert bucket.take(5.0, 30) == 0.0, "a batch goes when the bucket is full, and is paid for afterwards"
    assert bucket.wait_s(5.0) == pytest.approx(2.1)
    slow = TokenBucket(0.5)
    assert [slow.take(0.0), slow.take(0.0)] == pytest.approx([0.0, 2.0])
    assert TokenBucket(None).take(0.0, 1000) == 0.0
