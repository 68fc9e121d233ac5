"""Several endpoints as one node: who is asked, who is believed, and what is said when nobody can be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from eth_utils.crypto import keccak
from prometheus_client import CollectorRegistry, generate_latest

from contracts.rpc import (
    BlockMissing,
    CallReverted,
    Disagreement,
    HistoryPruned,
    Node,
    NodeUnavailable,
    RpcRefused,
    WrongChain,
    logs_between,
)
from contracts.rpc.circuit import CircuitState
from contracts.rpc.metrics import PoolCollector
from contracts.rpc.refusals import ErrorObject
from orchestrator.testing import VirtualClock
from tests.rpc_node import Raw, scripted_node
from tests.rpc_truth import CHAIN_ID, DAO, FINALITY, Truth, Voice, failing, pool_of

Story = Callable[[], Awaitable[None]]


def away(name: str) -> NodeUnavailable:
    return NodeUnavailable(name, "it is away")


def voices(count: int, truth: Truth | None = None) -> list[Voice]:
    chain = truth or Truth()
    return [
        Voice(endpoint=name, truth=chain, latency_s=0.01 * (1 + place))
        for place, name in enumerate("abc"[:count])
    ]


def told(story: Callable[[], Awaitable[None]]) -> None:
    """Run a story in virtual time."""

    async def main() -> None:
        await story()

    VirtualClock().run(main())


def test_a_read_goes_on_when_the_endpoint_fails_and_not_when_the_request_does() -> None:
    async def story() -> None:
        a, b = voices(2)
        async with pool_of(a, b) as node:
            a.fault = failing(away, "eth_call")
            assert await node.call(DAO, b"\x01", 7) == a.truth.hash(7)
            assert (a.asked["eth_call"], b.asked["eth_call"]) == (1, 1)

            revert = ErrorObject(code=3, message="execution reverted")
            a.fault = lambda voice, method, _: revert if method == "eth_call" else None
            b.asked.clear()
            node.pool._favourite = node.pool.endpoints[0]
            with pytest.raises(CallReverted):
                await node.call(DAO, b"\x01", 7)
            assert not b.asked["eth_call"], "a revert is an answer"

    told(story)


ENDPOINTS_OWN = {
    "pruned": ErrorObject(code=4444, message="Pruned history unavailable"),
    "no archive": ErrorObject(
        code=-32000, message="missing trie node 12 (path ) state 0x56 is not available"
    ),
    "no method": ErrorObject(code=-32601, message="the method eth_getLogs does not exist"),
    "limited": ErrorObject(code=-32005, message="daily request count exceeded, request rate limited"),
    "behind": ErrorObject(code=-32000, message="header not found"),
    "no backend": ErrorObject(code=-32011, message="no backends available for method"),
}


@pytest.mark.parametrize("error", ENDPOINTS_OWN.values(), ids=ENDPOINTS_OWN.keys())
def test_what_one_endpoint_lacks_another_may_have(error: ErrorObject) -> None:
    async def story() -> None:
        a, b = voices(2)
        async with pool_of(a, b) as node:
            a.fault = lambda voice, method, _: error if method == "eth_getLogs" else None
            assert [log.block_number for log in await node.logs(DAO, [], 3, 8)] == [3, 6]
            assert b.asked["eth_getLogs"] == 1

    told(story)


def test_the_range_is_the_requests_own_fault() -> None:
    async def story() -> None:
        a, b = voices(2)
        wide = ErrorObject(code=-32005, message="query returned more than 10000 results")
        async with pool_of(a, b) as node:
            a.fault = lambda voice, method, _: wide if method == "eth_getLogs" else None
            with pytest.raises(RpcRefused, match="10000 results"):
                await node.logs(DAO, [], 3, 8)
            assert not b.asked["eth_getLogs"]

    told(story)


def test_history_that_everybody_has_pruned_is_named() -> None:
    async def story() -> None:
        async with pool_of(*(both := voices(2))) as node:
            for voice in both:
                voice.fault = lambda voice, method, _: (
                    ENDPOINTS_OWN["pruned"] if method == "eth_getLogs" else None
                )
            with pytest.raises(HistoryPruned, match="add one that keeps it"):
                await node.logs(DAO, [], 3, 8)

    told(story)


def test_an_endpoint_is_not_asked_for_blocks_that_it_does_not_have() -> None:
    async def story() -> None:
        a, b = voices(2)
        a.lag = 20
        async with pool_of(a, b) as node:
            assert [log.block_number for log in await node.logs(DAO, [], 40, 50)] == [42, 45, 48]
            assert not a.asked["eth_getLogs"], "an empty list of it would look like an empty range"
            assert (await node.header("latest")).number == 50
            b.fault = failing(away)
            with pytest.raises(NodeUnavailable, match="b: it is away"):
                await node.logs(DAO, [], 40, 45)
            b.fault = None
            with pytest.raises(BlockMissing, match="51"):
                await node.logs(DAO, [], 40, 51)

    told(story)


def test_a_lagging_endpoint_serves_what_it_has() -> None:
    async def story() -> None:
        a, b = voices(2)
        a.lag = 20
        async with pool_of(a, b) as node:
            b.fault = failing(away)
            assert [log.block_number for log in await node.logs(DAO, [], 3, 8)] == [3, 6]

    told(story)


def test_a_read_at_a_block_goes_to_an_endpoint_that_has_that_very_block() -> None:
    async def story() -> None:
        truth = Truth()
        a, b = voices(2, truth)
        async with pool_of(a, b) as node:
            shown = await node.header(45)
            a.truth = truth.copy()
            a.truth.reorg(10)
            node.pool.endpoints[0]._blocks.clear()
            assert await node.call(DAO, b"\x01", 45) == shown.hash, "and not what the fork's block says"
            assert [log.block_hash for log in await node.logs(DAO, [], 45, 45)] == [shown.hash]
            assert node.pool.endpoints[0].numbers.contradictions

    told(story)


def test_a_reorg_that_all_endpoints_tell_of_is_shown() -> None:
    async def story() -> None:
        both = voices(2)
        async with pool_of(*both) as node:
            before = await node.header(48)
            both[0].truth.reorg(4)
            after = await node.header(48)
            assert before.hash != after.hash == both[0].truth.hash(48)
            assert await node.call(DAO, b"\x01", 48) == after.hash

    told(story)


def test_one_endpoint_alone_is_not_believed_against_a_final_block() -> None:
    async def story() -> None:
        a, b = voices(2)
        async with pool_of(a, b) as node:
            final = await node.header("finalized")
            assert (await node.header(final.number)).hash == final.hash
            a.truth = a.truth.copy()
            a.truth.reorg(30)
            b.fault = failing(away)
            with pytest.raises(Disagreement, match=f"about block {final.number}: a says 0x"):
                await node.header(final.number)
            b.fault, b.truth = None, a.truth
            await asyncio.sleep(40)
            assert (await node.header(final.number)).hash == a.truth.hash(final.number)

    told(story)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("read", ["logs", "call", "pages", "headers"])
def test_what_was_shown_before_it_was_final_is_given_up_when_replaced(read: str, alone: bool) -> None:
    """A number that finality has passed since may have been shown as a block that a reorg took back."""

    async def story() -> None:
        both = voices(2)
        async with pool_of(*both) as node:
            truth = both[0].truth
            before = await node.header(48)
            truth.reorg(4)
            truth.head += 2 * FINALITY
            assert (await node.header("finalized")).number > 48
            await asyncio.sleep(2 * node.pool.settings.probe_interval_s)
            both[0].fault = failing(away) if alone else None
            if read == "call":
                assert await node.call(DAO, b"\x01", 48) == truth.hash(48) != before.hash
            elif read == "headers":
                assert (await node.headers([47, 48]))[1].hash == truth.hash(48)
            else:
                asked = logs_between(node, DAO, [], 45, 48) if read == "pages" else node.logs(DAO, [], 45, 48)
                assert [log.block_hash for log in await asked] == [truth.hash(45), truth.hash(48)]

    told(story)


def test_a_tag_never_goes_back_while_anybody_has_come_as_far() -> None:
    async def story() -> None:
        a, b = voices(2)
        a.lag = 2
        async with pool_of(a, b, lag_blocks=3) as node:
            node.pool._favourite = node.pool.endpoints[1]
            b.latency_s = 0.001
            node.pool.endpoints[1].latency_s = 0.0001
            assert (await node.header("latest")).number == 50
            node.pool.endpoints[1].latency_s = 9.0
            for _ in range(3):
                assert (await node.header("latest")).number == 50
            b.lag = 5
            assert (await node.header("latest")).number == 48, "a chain that goes back is believed of all"

    told(story)


def test_the_newest_state_is_none_that_the_reader_has_left_behind() -> None:
    async def story() -> None:
        a, b = voices(2)
        b.lag = 10
        async with pool_of(a, b) as node:
            assert (await node.header("latest")).number == 50
            a.fault = failing(away)
            with pytest.raises((BlockMissing, NodeUnavailable)):
                await node.call(DAO, b"\x01", "latest")
            assert b.asked["eth_call"] == 0
            b.lag = 0
            assert await node.call(DAO, b"\x01", "latest") == b.truth.hash(50)

    told(story)


def test_a_quorum_finds_the_one_that_lies() -> None:
    async def story() -> None:
        a, b, c = voices(3)
        async with pool_of(a, b, c, quorum=2) as node:
            a.fault = lambda voice, method, _: [] if method == "eth_getLogs" else None
            assert len(await node.logs(DAO, [], 0, 30)) == 11
            assert node.pool.endpoints[0].numbers.contradictions == 1
            c.fault = a.fault
            b.fault = failing(away, "eth_getLogs")
            assert await node.logs(DAO, [], 0, 30) == [], "two of three say so: a quorum is what is asked for"

    told(story)


def test_a_quorum_that_cannot_be_had_says_who_said_what() -> None:
    async def story() -> None:
        a, b = voices(2)
        async with pool_of(a, b, quorum=2) as node:
            a.fault = lambda voice, method, _: [] if method == "eth_getLogs" else None
            with pytest.raises(Disagreement) as caught:
                await node.logs(DAO, [], 0, 30)
            assert caught.value.retryable
            assert caught.value.answers["a"].startswith("0 logs")
            assert caught.value.answers["b"].startswith("11 logs")
            assert "the logs of blocks 0 to 30: a says 0 logs" in str(caught.value)
            assert [each.numbers.disagreements > 0 for each in node.pool.endpoints] == [True, True]
            a.fault = failing(away)
            with pytest.raises(NodeUnavailable, match="1 of 2 endpoints that must agree about block 30"):
                await node.header(30)

    told(story)


def test_a_quorum_is_asked_for_some_reads_alone() -> None:
    async def story() -> None:
        a, b = voices(2)
        a.fault = lambda voice, method, _: [] if method == "eth_getLogs" else None
        async with pool_of(a, b) as node:
            assert await node.logs(DAO, [], 0, 30) == [], "one endpoint alone is believed"
            with pytest.raises(Disagreement):
                await node.with_quorum(2).logs(DAO, [], 0, 30)
            assert (await node.with_quorum(2).header(30)).hash == a.truth.hash(30)
            assert node.requests_by_method["eth_getLogs"] == 2
            with pytest.raises(ValueError, match="quorum of 3"):
                node.with_quorum(3)

    told(story)


def test_finality_is_what_a_quorum_has_reached() -> None:
    async def story() -> None:
        a, b, c = voices(3)
        a.truth = a.truth.copy()
        a.truth.head = 90  # It calls final what nobody else has seen.
        b.lag, c.lag = 1, 3
        async with pool_of(a, b, c, quorum=2) as node:
            assert (await node.header("finalized")).number == 41

    told(story)


def test_a_wrong_chain_is_told_at_the_start_and_taken_out_later() -> None:
    async def story() -> None:
        a, b = voices(2)
        other = lambda voice, method, _: "0x1" if method == "eth_chainId" else None  # noqa: E731
        a.fault = other
        with pytest.raises(WrongChain, match="a serves chain 1, not 31337"):
            async with pool_of(a, b):
                pass
        a.fault = None
        async with pool_of(a, b, chain_check_s=30.0) as node:
            await node.call(DAO, b"\x01", 7)
            a.fault = other
            await asyncio.sleep(40)
            assert node.pool.endpoints[0].circuit.state is not CircuitState.CLOSED
            asked = a.asked["eth_call"]
            for _ in range(5):
                await node.call(DAO, b"\x01", 7)
            assert a.asked["eth_call"] == asked
            assert (await node.examine())[0].fault == (
                "the node at a serves chain 1, not 31337: correct the RPC URL or the chain id"
            )
            a.fault = None
            await asyncio.sleep(80)
            assert node.pool.endpoints[0].circuit.state is CircuitState.CLOSED, "it is back"

    told(story)


def test_endpoints_of_any_chain_must_serve_one() -> None:
    async def story() -> None:
        a, b = voices(2)
        b.fault = lambda voice, method, _: "0x1" if method == "eth_chainId" else None
        with pytest.raises(WrongChain, match=f"b serves chain 1, not {CHAIN_ID}"):
            async with pool_of(a, b, chain_id=None):
                pass

    told(story)


def test_the_chain_of_a_single_endpoint_is_checked_again() -> None:
    async def story() -> None:
        (a,) = voices(1)
        async with pool_of(a) as node:
            await node.header(7)
            a.fault = lambda voice, method, _: "0x1" if method == "eth_chainId" else None
            await node.header(7)
            await asyncio.sleep(61)
            with pytest.raises(WrongChain, match="a serves chain 1"):
                await node.header(7)
            a.fault = None
            await asyncio.sleep(31)
            await node.header(7)

    told(story)


def test_many_reads_ask_for_the_chain_once() -> None:
    async def story() -> None:
        (a,) = voices(1)
        async with pool_of(a) as node:
            await asyncio.sleep(61)
            await asyncio.gather(*(node.call(DAO, b"\x01", 7) for _ in range(20)))
        assert a.asked["eth_chainId"] == 2, "at the start, and when it was due"

    told(story)


def test_a_circuit_opens_and_one_probe_closes_it() -> None:
    async def story() -> None:
        a, b = voices(2)
        async with pool_of(a, b, failures_max=3, probe_interval_s=1000.0) as node:
            (first, _) = node.pool.endpoints
            a.fault = failing(away)
            for _ in range(9):
                await node.call(DAO, b"\x01", 7)
            assert first.circuit.state is CircuitState.OPEN
            assert sum(a.asked.values()) < 20
            asked = sum(a.asked.values())
            await node.call(DAO, b"\x01", 7)
            assert sum(a.asked.values()) == asked, "it is left alone"
            a.fault = None
            await asyncio.sleep(60)
            b.fault = failing(away)
            answers = await asyncio.gather(*(node.call(DAO, b"\x01", 7) for _ in range(5)))
            assert answers == [a.truth.hash(7)] * 5
            assert first.circuit.state is CircuitState.CLOSED

    told(story)


def test_whoever_answers_fastest_is_asked_while_that_lasts() -> None:
    async def story() -> None:
        a, b = voices(2)
        a.latency_s, b.latency_s = 0.5, 0.01
        async with pool_of(a, b, probe_interval_s=1.0) as node:
            for _ in range(5):
                await node.call(DAO, b"\x01", 7)
            assert (a.asked["eth_call"], b.asked["eth_call"]) == (0, 5)
            a.latency_s, b.latency_s = 0.01, 0.5
            await asyncio.sleep(60)
            for _ in range(5):
                await node.call(DAO, b"\x01", 7)
            assert (a.asked["eth_call"], b.asked["eth_call"]) == (5, 5)
            b.latency_s = 0.011
            await asyncio.sleep(60)
            a.latency_s = 0.012
            await asyncio.sleep(60)
            for _ in range(5):
                await node.call(DAO, b"\x01", 7)
            assert a.asked["eth_call"] == 10, "a hair's breadth moves nobody"

    told(story)


def test_what_one_endpoint_is_busy_with_another_does() -> None:
    async def story() -> None:
        a, b = voices(2)
        b.latency_s = 1.2 * a.latency_s
        async with pool_of(a, b, concurrency=8) as node:
            await asyncio.gather(*(node.call(DAO, b"\x01", 7) for _ in range(80)))
        assert min(a.asked["eth_call"], b.asked["eth_call"]) > 20

    told(story)


def timed_out(name: str) -> NodeUnavailable:
    error = NodeUnavailable(name, "no answer within 10 s")
    error.__cause__ = TimeoutError()
    return error


def test_one_that_lets_others_wait_for_nothing_is_slow() -> None:
    """What it answered fast it has answered; what it never answered took as long as anybody waited."""

    async def story() -> None:
        a, b = voices(2)
        b.latency_s = 0.2
        async with pool_of(a, b, probe_interval_s=1000.0, failures_max=100) as node:
            await node.call(DAO, b"\x01", 7)
            a.latency_s, a.fault = 10.0, failing(timed_out, "eth_call")
            for _ in range(5):
                await node.call(DAO, b"\x01", 7)
            assert (a.asked["eth_call"], b.asked["eth_call"]) == (2, 5)
            assert node.pool.endpoints[0].numbers.errors["timeout"] == 1

    told(story)


def test_an_endpoint_that_asks_for_a_pause_gets_it() -> None:
    async def story() -> None:
        a, b = voices(2)
        async with pool_of(a, b) as node:
            a.fault = failing(lambda name: NodeUnavailable(name, "429", retry_after_s=20, limited=True))
            await node.call(DAO, b"\x01", 7)
            a.fault, asked = None, sum(a.asked.values())
            for _ in range(5):
                await node.call(DAO, b"\x01", 7)
            await asyncio.sleep(15)
            assert sum(a.asked.values()) == asked
            await asyncio.sleep(10)
            assert sum(a.asked.values()) > asked, "the watch asks it again"
            assert node.pool.endpoints[0].numbers.rested_s == 20
            b.fault = a.fault = failing(
                lambda name: NodeUnavailable(name, "429", retry_after_s=20, limited=True)
            )
            with pytest.raises(NodeUnavailable) as caught:
                await node.call(DAO, b"\x01", 7)
            assert caught.value.retry_after_s is not None
            assert caught.value.limited

    told(story)


def test_a_rate_is_kept_and_spreads_over_endpoints() -> None:
    async def story() -> None:
        a, b = voices(2)
        a.latency_s = b.latency_s = 0.001
        loop = asyncio.get_running_loop()
        async with pool_of(a, b, requests_per_s=10.0, probe_interval_s=1000.0) as node:
            began = loop.time()
            for _ in range(120):
                await node.call(DAO, b"\x01", 7)
            took = loop.time() - began
        assert 4.0 < took < 7.0, "120 requests at 2 x 10 a second, 20 of them at once"
        assert min(a.asked["eth_call"], b.asked["eth_call"]) > 40

    told(story)


def test_no_more_requests_at_once_than_an_endpoint_is_to_have() -> None:
    async def story() -> None:
        (a,) = voices(1)
        async with pool_of(a, concurrency=4) as node:
            await asyncio.gather(*(node.call(DAO, b"\x01", 7) for _ in range(40)))
        assert a.in_flight_most == 4

    told(story)


RAW = b"\x02signed"


def sent(voice: Voice, method: str, params: Sequence[Any]) -> object:
    return "0x" + keccak(RAW).hex() if method == "eth_sendRawTransaction" else None


def test_a_transaction_is_never_sent_twice_by_itself() -> None:
    async def story() -> None:
        a, b = voices(2)
        a.fault, b.fault = failing(away, "eth_sendRawTransaction"), sent
        async with pool_of(a, b) as node:
            with pytest.raises(NodeUnavailable):
                await node.send_raw(RAW)
            assert not b.asked["eth_sendRawTransaction"]
            a.fault = failing(lambda name: NodeUnavailable(name, "refused", unsent=True))
            assert await node.send_raw(RAW) == keccak(RAW), "what was not carried out may go elsewhere"

    told(story)


def test_a_broadcast_to_all_succeeds_where_one_takes_it() -> None:
    async def story() -> None:
        a, b, c = voices(3)
        a.fault, b.fault = failing(away), sent
        c.fault = lambda *_: ErrorObject(code=-32000, message="already known")
        async with pool_of(a, b, c, chain_id=None, broadcast="all") as node:
            c.fault = lambda *_: ErrorObject(code=-32000, message="already known")
            assert await node.send_raw(RAW) == keccak(RAW)
            b.fault = lambda *_: ErrorObject(code=-32000, message="nonce too low")
            c.fault = b.fault
            with pytest.raises(NodeUnavailable):
                await node.send_raw(RAW)  # a may have taken it.

    told(story)


def test_a_receipt_is_missing_only_if_nobody_has_it() -> None:
    async def story() -> None:
        a, b = voices(2)
        mined = {
            "transactionHash": "0x" + "11" * 32,
            "blockNumber": "0x5",
            "blockHash": "0x" + a.truth.hash(5).hex(),
            "status": "0x1",
            "gasUsed": "0x5208",
            "logs": [],
        }
        b.fault = lambda voice, method, _: mined if method == "eth_getTransactionReceipt" else None
        async with pool_of(a, b) as node:
            receipt = await node.receipt(b"\x11" * 32)
            assert receipt is not None
            assert receipt.block_number == 5
            assert await node.receipts([]) == []

    told(story)


def test_endpoints_of_one_host_are_told_apart_without_their_keys() -> None:
    node = Node(["https://rpc.example/v3/s3cr3t", "https://rpc.example/v3/0ther"])
    assert node.endpoint == "https://rpc.example#1, https://rpc.example#2"


def test_what_cannot_be_a_pool_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one URL"):
        Node([])
    with pytest.raises(ValueError, match="quorum of 2 needs as many endpoints"):
        pool_of(*voices(1), quorum=2)


def test_one_host_may_serve_several_chains() -> None:
    nodes = [
        Node(f"https://rpc.example/{chain}", chain_id=number) for chain, number in (("eth", 1), ("op", 10))
    ]
    registry = CollectorRegistry()
    registry.register(PoolCollector(*(node.pool for node in nodes)))
    text = generate_latest(registry).decode()
    assert text.count("# TYPE rpc_circuit_opened_total counter") == 1
    for chain in ("1", "10"):
        assert f'rpc_circuit_opened_total{{chain="{chain}",endpoint="https://rpc.example"}} 0.0' in text


def test_the_numbers_of_each_endpoint_are_shown() -> None:
    async def story() -> None:
        a, b = voices(2)
        async with pool_of(a, b) as node:
            registry = CollectorRegistry()
            registry.register(PoolCollector(node.pool))
            a.fault = failing(away, "eth_call")
            await node.call(DAO, b"\x01", 7)
            text = generate_latest(registry).decode()
        for line in (
            'rpc_requests_total{chain="31337",endpoint="b",method="eth_call"} 1.0',
            'rpc_errors_total{chain="31337",endpoint="a",error="unavailable"} 1.0',
            'rpc_head_block{chain="31337",endpoint="b"} 50.0',
            'rpc_circuit_state{chain="31337",endpoint="a",state="closed"} 1.0',
            'rpc_rate_limited_seconds_total{chain="31337",endpoint="a"} 0.0',
            'rpc_failovers_total{chain="31337",endpoint="a"} 1.0',
            'rpc_failovers_total{chain="31337",endpoint="b"} 0.0',
            'rpc_disagreements_total{chain="31337",endpoint="b"} 0.0',
        ):
            assert line in text
        assert 'rpc_request_duration_seconds_bucket{chain="31337",endpoint="b",le="0.025"}' in text

    told(story)


async def test_over_http_a_pool_survives_its_first_endpoint() -> None:
    async with scripted_node() as first, scripted_node() as second:
        for script in (first, second):
            script.result("eth_chainId", "0x7a69")
            script.result("eth_blockNumber", "0x5")
            script.result("eth_getBalance", "0x7")
        async with Node([first.url, second.url], chain_id=CHAIN_ID, timeout_s=2.0) as node:
            first.queue = [Raw(drop=True)] * 50
            assert [await node.balance(DAO, 5) for _ in range(9)] == [7] * 9
            assert len(node.pool.endpoints) == 2
