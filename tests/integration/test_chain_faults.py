"""Every fault of the local chain as a client meets it, set from Python and from outside."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from hardhat_free_chain import ChainServer, ChainSettings, Endpoint
from hardhat_free_chain.faults import (
    BrokenBatch,
    ConnectionReset,
    CutReply,
    Finality,
    FixedResult,
    ForgottenTransactions,
    HttpFailure,
    Latency,
    LostReply,
    OtherChain,
    OtherMempool,
    PrunedHistory,
    PrunedState,
    RangeLimit,
    RateLimit,
    Refusal,
    Rule,
    SilentSocket,
    SkewedClock,
    StaleHead,
    TruncatedLogs,
    WrongHashes,
)
from tests.chain_support import ACCOUNTS, CHAIN_ID, call_data, deploy_on, signed

WAIT_S = 10
ADDRESS = ACCOUNTS[0][0]


@pytest.fixture
async def server() -> AsyncIterator[ChainServer]:
    """Eleven blocks; the probe in the first, two logs in each of the others."""
    async with ChainServer(ChainSettings(finality_lag=2)) as running:
        probe = await running.run(deploy_on, running.chain)
        for number in range(10):
            data = call_data("tick", 2 * number, 2)
            raw = signed(nonce=1 + number, to=probe, value=0, gas=200_000, data=data)
            await running.run(running.chain.send_raw_transaction, raw)
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WAIT_S)) as open_session:
        yield open_session


def envelope(method: str, *params: Any, identity: int = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "method": method, "params": list(params)}


class Client:
    """Asks one endpoint over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def post(self, body: Any) -> tuple[int, Any, Any]:
        async with self.session.post(self.url, json=body) as response:
            return response.status, await response.json(content_type=None), response.headers

    async def ask(self, method: str, *params: Any) -> Any:
        _, answer, _ = await self.post(envelope(method, *params))
        return answer["result"]

    async def refused(self, method: str, *params: Any) -> Any:
        _, answer, _ = await self.post(envelope(method, *params))
        return answer["error"]

    async def logs(self, start: int, stop: int | str) -> Any:
        bound = stop if isinstance(stop, str) else hex(stop)
        return await self.ask("eth_getLogs", {"fromBlock": hex(start), "toBlock": bound})


@pytest.fixture
async def client(server: ChainServer, session: aiohttp.ClientSession) -> Client:
    return Client(session, server.url)


# -- the way -------------------------------------------------------------------------------------------


async def test_latency_delays_and_changes_nothing(server: ChainServer, client: Client) -> None:
    server.weather.replace(Latency(seconds=0.2, jitter=0.1))
    started = time.monotonic()
    assert await client.ask("eth_blockNumber") == "0xb"
    assert time.monotonic() - started >= 0.2
    server.weather.replace(Latency(seconds=0.5, where="request"))
    async with asyncio.TaskGroup() as tasks:
        late = tasks.create_task(client.ask("eth_blockNumber"))
        await server.request("evm_mine")
    assert late.result() == "0xc", "it was late on its way in"


@pytest.mark.parametrize("executed", [True, False])
@pytest.mark.parametrize("rule", [LostReply, ConnectionReset])
async def test_a_missing_reply_says_nothing_about_the_request(
    server: ChainServer, client: Client, rule: type[LostReply | ConnectionReset], executed: bool
) -> None:
    fields: dict[str, Any] = {"hold": 0.05} if rule is LostReply else {}
    server.weather.replace(rule(methods=("evm_*",), executed=executed, **fields))
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.ask("evm_mine")
    assert await client.ask("eth_blockNumber") == ("0xc" if executed else "0xb")


async def test_a_lost_reply_is_waited_for_until_the_client_gives_up(
    server: ChainServer, client: Client
) -> None:
    server.weather.replace(LostReply(methods=("eth_chainId",)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.ask("eth_chainId"), 0.1)
    started = time.monotonic()
    await server.__aexit__(None, None, None)
    assert time.monotonic() - started < 5, "a reply that is held keeps no server open"


async def test_a_reply_is_cut_in_half(server: ChainServer, client: Client) -> None:
    server.weather.replace(CutReply(methods=("eth_getBlockByNumber",), times=1))
    with pytest.raises(aiohttp.ClientPayloadError):
        await client.ask("eth_getBlockByNumber", "latest", False)
    assert (await client.ask("eth_getBlockByNumber", "latest", False))["number"] == "0xb"


async def test_a_gateway_answers_with_a_page(server: ChainServer, client: Client) -> None:
    server.weather.replace(HttpFailure(status=503, retry_after=2), HttpFailure(status=200, times=1))
    async with client.session.post(client.url, json=envelope("eth_chainId")) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "2")
        assert response.content_type == "text/html"
        assert "503" in await response.text()


async def test_a_rate_limit_lets_so_many_pass(server: ChainServer, client: Client) -> None:
    server.weather.replace(RateLimit(requests=2, seconds=60, retry_after=7))
    assert [(await client.post(envelope("eth_chainId")))[0] for _ in range(4)] == [200, 200, 429, 429]
    status, answer, headers = await client.post(envelope("eth_chainId"))
    assert (status, headers["Retry-After"], answer["error"]["code"]) == (429, "7", -32005)
    status, answer, _ = await client.post([envelope("eth_chainId"), envelope("eth_chainId")])
    assert (status, answer["error"]["code"]) == (429, -32005)
    record = server.weather.records()[1]
    assert (record.seen, record.struck) == (7, 5)


async def test_a_rate_limit_forgets_what_is_long_ago(server: ChainServer, client: Client) -> None:
    server.weather.replace(RateLimit(requests=1, seconds=0.2))
    statuses = []
    async with asyncio.timeout(WAIT_S):
        while statuses[-2:] != [429, 200]:
            statuses.append((await client.post(envelope("eth_chainId")))[0])
    assert statuses[0] == 200


# -- nodes that are behind -----------------------------------------------------------------------------


async def test_a_replica_does_not_know_what_is_above_its_head(server: ChainServer, client: Client) -> None:
    newest = (await client.ask("eth_getBlockByNumber", "latest", False))["hash"]
    sent = (await client.ask("eth_getBlockByNumber", "latest", False))["transactions"][0]
    server.weather.replace(StaleHead(blocks=3))
    assert await client.ask("eth_blockNumber") == "0x8"
    assert (await client.ask("eth_getBlockByNumber", "latest", False))["number"] == "0x8"
    assert (await client.ask("eth_getBlockByNumber", "finalized", False))["number"] == "0x6"
    assert await client.ask("eth_getBlockByNumber", "0x9", False) is None
    assert await client.ask("eth_getBlockByHash", newest, False) is None
    assert await client.ask("eth_getBlockTransactionCountByHash", newest) is None
    assert await client.ask("eth_getTransactionReceipt", sent) is None
    assert await client.ask("eth_getTransactionByHash", sent) is None
    assert await client.ask("eth_getTransactionCount", ADDRESS) == "0x8"
    assert await client.ask("eth_getTransactionCount", ADDRESS, "pending") == "0x8"
    assert (await client.ask("eth_feeHistory", "0x1", "latest", []))["oldestBlock"] == "0x8"
    assert (await client.refused("eth_getBalance", ADDRESS, "0x9"))["message"] == "header not found"
    missing = await client.refused("eth_getBalance", ADDRESS, {"blockHash": newest})
    assert missing["message"] == "header for hash not found"
    assert (await client.refused("eth_getLogs", {"blockHash": newest}))["message"] == "unknown block"
    assert len(await client.logs(2, "latest")) == len(await client.logs(2, 11)) == 14
    assert await client.logs(9, 11) == [], "an empty list that looks like an empty range"
    server.weather.replace(StaleHead(at=5))
    assert await client.ask("eth_blockNumber") == "0x5"
    assert len(await client.logs(4, "latest")) == 4


async def test_a_load_balancer_answers_from_replicas_of_different_height(
    server: ChainServer, client: Client
) -> None:
    server.weather.replace(StaleHead(blocks=4, probability=0.5), seed=1)
    heads = [await client.ask("eth_blockNumber") for _ in range(30)]
    assert set(heads) == {"0xb", "0x7"}
    server.weather.replace(StaleHead(blocks=4, probability=0.5), seed=1)
    assert [await client.ask("eth_blockNumber") for _ in range(30)] == heads, "equal seeds, equal faults"


async def test_finality_stands_still_lags_or_is_missing(server: ChainServer, client: Client) -> None:
    server.weather.replace(Finality(at=4))
    await server.request("evm_mine")
    assert (await client.ask("eth_getBlockByNumber", "finalized", False))["number"] == "0x4"
    assert len(await client.logs(2, "finalized")) == 6
    server.weather.replace(Finality(lag=10))
    assert (await client.ask("eth_getBlockByNumber", "safe", False))["number"] == "0x2"
    assert await client.ask("eth_getTransactionCount", ADDRESS, "finalized") == "0x2"
    server.weather.replace(Finality(missing=True))
    error = await client.refused("eth_getBlockByNumber", "finalized", False)
    assert error == {"code": -32000, "message": "finalized block not found"}
    assert (await client.ask("eth_getBlockByNumber", "latest", False))["number"] == "0xc"


# -- logs ----------------------------------------------------------------------------------------------

RANGES = [
    (RangeLimit(provider="alchemy", blocks=10), 400, -32600, "this block range should work: [0x0, 0x9]"),
    (RangeLimit(provider="alchemy", results=5), 400, -32602, "this block range should work: [0x0, 0x3]"),
    (RangeLimit(provider="ankr", blocks=10), 200, -32062, "Block range is too large"),
    (RangeLimit(provider="besu", blocks=10), 200, -32005, "exceeds maximum RPC range limit"),
    (RangeLimit(provider="bsc", blocks=10), 200, -32000, "exceed maximum block range: 10"),
    (RangeLimit(provider="cloudflare", blocks=10), 200, -32047, "Max range: 10"),
    (RangeLimit(provider="drpc", blocks=10), 200, 35, "ranges over 10 blocks are not supported on freetier"),
    (RangeLimit(results=19), 200, -32005, "query returned more than 19 results"),
    (RangeLimit(provider="infura", results=5), 200, -32005, "Try with this block range [0x0, 0x3]."),
    (RangeLimit(provider="publicnode", blocks=11), 200, -32701, "exceed maximum block range: 11"),
    (RangeLimit(provider="quicknode", blocks=10), 413, -32614, "eth_getLogs is limited to a 10 range"),
    (RangeLimit(provider="reth", blocks=10), 200, -32602, "query exceeds max block range 10"),
    (RangeLimit(provider="reth", results=5), 200, -32602, "max results 5, retry with the range 0-3"),
]


@pytest.mark.parametrize("case", RANGES, ids=lambda case: f"{case[0].provider}-{case[3][:20]}")
async def test_a_range_is_refused_in_the_words_of_its_provider(
    server: ChainServer, client: Client, case: tuple[RangeLimit, int, int, str]
) -> None:
    rule, status, code, text = case
    server.weather.replace(rule)
    seen, answer, _ = await client.post(envelope("eth_getLogs", {"fromBlock": "0x0", "toBlock": "0xb"}))
    assert (seen, answer["error"]["code"]) == (status, code)
    assert text in answer["error"]["message"]
    if rule.provider == "infura":
        assert answer["error"]["data"] == {"from": "0x0", "limit": 5, "to": "0x3"}
    assert len(await client.logs(0, 3)) == 4, "what fits is served"


async def test_logs_are_missing_without_a_word(server: ChainServer, client: Client) -> None:
    everything = await client.logs(0, "latest")
    server.weather.replace(TruncatedLogs(keep=3))
    assert await client.logs(0, "latest") == everything[:3]
    server.weather.replace(TruncatedLogs(keep=0, times=1))
    assert [await client.logs(0, "latest") for _ in range(2)] == [[], everything]
    server.weather.replace(TruncatedLogs(share=0.5), seed=3)
    some = await client.logs(0, "latest")
    assert 0 < len(some) < len(everything)
    assert [log for log in everything if log in some] == some


# -- history, identity, refusals -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        ("geth", 200, -32000, "missing trie node"),
        ("geth-path", 200, -32000, "historical state"),
        ("besu", 200, -32000, "World state unavailable"),
        ("erigon", 200, -32000, "old data not available due to pruning"),
        ("infura", 403, -32002, "does not have access to archive state"),
        ("nethermind", 200, -32002, "No state available for block 0x"),
        ("publicnode", 403, -32602, "Archive requests require a personal token"),
        ("reth", 200, -32000, "state at block #6 is pruned"),
    ],
)
async def test_old_states_are_gone(
    server: ChainServer, client: Client, case: tuple[str, int, int, str]
) -> None:
    words, status, code, text = case
    server.weather.replace(PrunedState(keep=5, words=words))
    seen, answer, _ = await client.post(envelope("eth_getBalance", ADDRESS, "0x6"))
    assert (seen, answer["error"]["code"]) == (status, code)
    assert text in answer["error"]["message"]
    assert await client.ask("eth_getBalance", ADDRESS, "0x7") != "0x0"
    assert (await client.ask("eth_getBlockByNumber", "0x6", False))["number"] == "0x6", "history is kept"


async def test_old_history_is_gone(server: ChainServer, client: Client) -> None:
    old = await client.ask("eth_getBlockByNumber", "0x3", False)
    server.weather.replace(PrunedHistory(before=5))
    pruned = {"code": 4444, "message": "pruned history unavailable"}
    assert await client.refused("eth_getBlockByNumber", "0x4", False) == pruned
    assert await client.refused("eth_getBlockByHash", old["hash"], False) == pruned
    assert await client.refused("eth_getLogs", {"fromBlock": "0x4", "toBlock": "latest"}) == pruned
    assert await client.refused("eth_getLogs", {"blockHash": old["hash"]}) == pruned
    assert await client.ask("eth_getTransactionReceipt", old["transactions"][0]) is None
    assert len(await client.logs(5, "latest")) == 14
    assert await client.ask("eth_getTransactionCount", ADDRESS, "0x3") == "0x3", "states are kept"
    server.weather.replace(PrunedHistory(before=5, words="silent"))
    assert await client.ask("eth_getBlockByNumber", "0x4", False) is None
    assert len(await client.logs(0, "latest")) == 14


async def test_two_endpoints_disagree_about_hashes(
    server: ChainServer, client: Client, session: aiohttp.ClientSession
) -> None:
    forked = Client(session, (await server.open_endpoint(WrongHashes(since=6))).url)
    blocks = [
        [await each.ask("eth_getBlockByNumber", hex(height), True) for height in range(12)]
        for each in (client, forked)
    ]
    differs = [one["hash"] != other["hash"] for one, other in zip(*blocks, strict=True)]
    assert differs == [False] * 6 + [True] * 6
    assert all(
        child["parentHash"] == parent["hash"] for parent, child in zip(blocks[1], blocks[1][1:], strict=False)
    )
    there = blocks[1][8]
    assert there["transactions"][0]["blockHash"] == there["hash"]
    assert there["transactions"][0]["hash"] == blocks[0][8]["transactions"][0]["hash"]
    receipt = await forked.ask("eth_getTransactionReceipt", there["transactions"][0]["hash"])
    assert receipt["blockHash"] == receipt["logs"][0]["blockHash"] == there["hash"]
    assert (await forked.logs(8, 8))[0]["blockHash"] == there["hash"]
    assert await forked.ask("eth_getLogs", {"blockHash": there["hash"]}) == await forked.logs(8, 8)
    assert await forked.ask("eth_getBlockByHash", there["hash"], True) == there
    assert await client.ask("eth_getBlockByHash", there["hash"], True) is None


async def test_the_chain_changes_behind_the_url(server: ChainServer, client: Client) -> None:
    server.weather.replace(OtherChain(chain_id=5, skip=1))
    before = await client.ask("eth_getBlockByNumber", "0x0", False)
    assert await client.ask("eth_chainId") == "0x5"
    assert await client.ask("net_version") == "5"
    assert (await client.ask("eth_getBlockByNumber", "0x0", False))["hash"] != before["hash"]
    error = await client.refused("eth_sendRawTransaction", "0x" + signed(nonce=11).hex())
    assert error["message"] == f"invalid sender: invalid chain id for signer: have {CHAIN_ID} want 5"


async def test_requests_are_refused_by_script(server: ChainServer, client: Client) -> None:
    server.weather.replace(
        Refusal(methods=("evm_mine",), code=-32002, message="request timed out", executed=True, times=1),
        Refusal(methods=("eth_get*",), probability=0.0),
        FixedResult(methods=("eth_gasPrice",), result="0x0"),
    )
    assert await client.refused("evm_mine") == {"code": -32002, "message": "request timed out"}
    assert await client.ask("eth_blockNumber") == "0xc", "it was carried out all the same"
    assert await client.ask("eth_getBalance", ADDRESS) != "0x0"
    assert await client.ask("eth_gasPrice") == "0x0"


async def test_a_transaction_is_accepted_and_forgotten(server: ChainServer, client: Client) -> None:
    raw = "0x" + signed(nonce=11).hex()
    server.weather.replace(ForgottenTransactions(times=1))
    sent = await client.ask("eth_sendRawTransaction", raw)
    assert await client.ask("eth_getTransactionByHash", sent) is None
    assert await client.ask("eth_sendRawTransaction", raw) == sent
    assert (await client.ask("eth_getTransactionReceipt", sent))["status"] == "0x1"


async def test_a_transaction_waits_in_the_mempools_of_others(server: ChainServer, client: Client) -> None:
    await client.ask("evm_setAutomine", False)
    sent = await client.ask("eth_sendRawTransaction", "0x" + signed(nonce=11).hex())
    assert await client.ask("eth_getTransactionCount", ADDRESS, "pending") == "0xc"
    server.weather.replace(OtherMempool())
    assert await client.ask("eth_getTransactionCount", ADDRESS, "pending") == "0xb"
    assert await client.ask("eth_getTransactionByHash", sent) is None
    assert await client.ask("txpool_status") == {"pending": "0x0", "queued": "0x0"}
    await client.ask("evm_mine")
    assert (await client.ask("eth_getTransactionByHash", sent))["blockNumber"] == "0xc"


async def test_blocks_are_told_with_another_time(
    server: ChainServer, client: Client, session: aiohttp.ClientSession
) -> None:
    real = await client.ask("eth_getBlockByNumber", "latest", False)
    endpoint = await server.open_endpoint(SkewedClock(seconds=-3_600))
    socket = await listen(endpoint, session)
    told = await Client(session, endpoint.url).ask("eth_getBlockByNumber", "latest", False)
    assert int(told["timestamp"], 16) == int(real["timestamp"], 16) - 3_600
    assert told["hash"] == real["hash"]
    await server.request("evm_mine")
    newest = await server.request("eth_getBlockByNumber", "latest", False)
    assert int((await head(socket))["timestamp"], 16) == int(newest["timestamp"], 16) - 3_600
    await socket.close()


async def test_answers_of_a_batch_come_in_any_order_and_not_all(server: ChainServer, client: Client) -> None:
    batch = [envelope("eth_chainId", identity=number) for number in range(12)]
    server.weather.replace(BrokenBatch(), seed=1)
    _, answers, _ = await client.post(batch)
    identities = [answer["id"] for answer in answers]
    assert sorted(identities) == list(range(12)) != identities
    server.weather.replace(BrokenBatch(shuffled=False, missing=0.5), seed=1)
    _, answers, _ = await client.post(batch)
    identities = [answer["id"] for answer in answers]
    assert 0 < len(identities) < 12
    assert identities == sorted(identities)
    assert await client.ask("eth_chainId") == hex(CHAIN_ID), "a lone request is answered"


async def test_faults_of_one_request_in_a_batch(server: ChainServer, client: Client) -> None:
    """Refusals stay alone; what befalls the way befalls the whole body."""
    batch = [envelope("eth_chainId"), envelope("eth_gasPrice", identity=2)]
    server.weather.replace(Refusal(methods=("eth_gasPrice",), status=403))
    status, answers, _ = await client.post(batch)
    assert status == 200
    assert ["error" in answer for answer in answers] == [False, True]
    server.weather.replace(ConnectionReset(methods=("eth_gasPrice",)))
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.post(batch)


async def test_the_first_rule_stands_outermost(server: ChainServer, client: Client) -> None:
    server.weather.replace(TruncatedLogs(keep=1), RangeLimit(results=5))
    assert "more than 5" in (await client.refused("eth_getLogs", {"fromBlock": "0x0"}))["message"]
    server.weather.replace(RangeLimit(results=5), TruncatedLogs(keep=1))
    assert len(await client.logs(0, "latest")) == 1


# -- WebSocket -----------------------------------------------------------------------------------------


async def listen(endpoint: Endpoint, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
    socket = await session.ws_connect(endpoint.ws_url)
    await socket.send_json(envelope("eth_subscribe", "newHeads"))
    assert "result" in json.loads(await socket.receive_str(timeout=WAIT_S))
    return socket


async def head(socket: aiohttp.ClientWebSocketResponse) -> Any:
    return json.loads(await socket.receive_str(timeout=WAIT_S))["params"]["result"]


async def test_a_websocket_falls_silent_and_stays_open(
    server: ChainServer, session: aiohttp.ClientSession
) -> None:
    endpoint = await server.open_endpoint(SilentSocket(skip=2))
    socket = await listen(endpoint, session)
    for _ in range(4):
        await server.request("evm_mine")
    assert [(await head(socket))["number"] for _ in range(2)] == ["0xc", "0xd"]
    await socket.send_json(envelope("eth_blockNumber"))
    assert json.loads(await socket.receive_str(timeout=WAIT_S))["result"] == "0xf", "nothing came between"
    endpoint.weather.clear()
    await server.request("evm_mine")
    assert (await head(socket))["number"] == "0x10"
    await socket.close()


async def test_subscribers_of_a_lagging_or_forked_node(
    server: ChainServer, session: aiohttp.ClientSession
) -> None:
    lagging = await listen(await server.open_endpoint(StaleHead(blocks=2)), session)
    forked = await listen(await server.open_endpoint(WrongHashes()), session)
    await server.request("evm_mine")
    assert (await head(lagging))["number"] == "0xa"
    real = await server.request("eth_getBlockByNumber", "0xc", False)
    told = await head(forked)
    assert told["number"] == "0xc"
    assert told["hash"] != real["hash"]
    await lagging.close()
    await forked.close()


async def test_replies_over_a_websocket_are_lost_refused_and_reset(
    server: ChainServer, session: aiohttp.ClientSession
) -> None:
    endpoint = await server.open_endpoint(
        LostReply(methods=("eth_gasPrice",)),
        RateLimit(methods=("eth_accounts",)),
        CutReply(methods=("net_*",)),
    )
    async with session.ws_connect(endpoint.ws_url) as socket:
        for identity, method in enumerate(("eth_gasPrice", "eth_accounts", "eth_chainId")):
            await socket.send_json(envelope(method, identity=identity))
        answers = [json.loads(await socket.receive_str(timeout=WAIT_S)) for _ in range(2)]
        assert [answer["id"] for answer in answers] == [1, 2]
        assert answers[0]["error"]["code"] == -32005
        await socket.send_json(envelope("net_version"))
        assert (await socket.receive(timeout=WAIT_S)).type in (
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.ERROR,
            aiohttp.WSMsgType.CLOSE,
        )


# -- from outside --------------------------------------------------------------------------------------


async def test_faults_are_set_listed_and_cleared_over_rpc(server: ChainServer, client: Client) -> None:
    rules = [{"kind": "staleHead", "blocks": 2}, {"kind": "rateLimit", "methods": ["eth_gas*"]}]
    assert await client.ask("hardhatfree_setFaults", rules, {"seed": 7}) == [1, 2]
    assert await client.ask("eth_blockNumber") == "0x9"
    assert (await client.post(envelope("eth_gasPrice")))[0] == 429
    added = await client.ask("hardhatfree_addFault", {"kind": "refusal", "message": "no", "code": 1})
    assert added == 3
    assert (await client.refused("eth_chainId"))["code"] == 1
    assert await client.ask("hardhatfree_removeFault", 3) is True
    assert await client.ask("hardhatfree_removeFault", 3) is False
    listed = await client.ask("hardhatfree_listFaults")
    assert [each["fault"] for each in listed] == [{**rules[0]}, {**rules[1]}]
    assert [(each["number"], each["seen"], each["struck"]) for each in listed] == [(1, 1, 1), (2, 1, 1)]
    assert await client.ask("hardhatfree_clearFaults") == 2
    assert await client.ask("eth_blockNumber") == "0xb"


async def test_endpoints_are_opened_and_closed_over_rpc(
    server: ChainServer, client: Client, session: aiohttp.ClientSession
) -> None:
    stale = {"kind": "staleHead", "blocks": 5}
    opened = await client.ask("hardhatfree_openEndpoint", {"faults": [stale]})
    other = Client(session, opened["url"])
    assert await other.ask("eth_blockNumber") == "0x6"
    assert await client.ask("eth_blockNumber") == "0xb"
    await client.ask("hardhatfree_clearFaults", {"endpoint": opened["port"]})
    assert await other.ask("eth_blockNumber") == "0xb"
    async with session.ws_connect(opened["wsUrl"]) as socket:
        # The writer's first answer shows that the connection is being served.
        await socket.send_json(envelope("eth_chainId"))
        await socket.receive_str(timeout=WAIT_S)
        assert await other.ask("hardhatfree_closeSockets") == 1
        assert (await socket.receive(timeout=WAIT_S)).type is aiohttp.WSMsgType.CLOSE
    assert len(await client.ask("hardhatfree_listEndpoints")) == 2
    assert await client.ask("hardhatfree_closeEndpoint", opened["port"]) is True
    assert await client.ask("hardhatfree_closeEndpoint", opened["port"]) is False
    with pytest.raises(aiohttp.ClientConnectionError):
        await other.ask("eth_blockNumber")
    assert "stays open" in (await client.refused("hardhatfree_closeEndpoint", server.port))["message"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "missing required field `kind`"),
        ({"kind": "storm"}, "Invalid value 'storm'"),
        ({"kind": "staleHead", "blokcs": 1}, "unknown field `blokcs`"),
        ({"kind": "staleHead", "blocks": -1}, "blocks is -1; give 0 or more"),
        ({"kind": "latency"}, "missing required field `seconds`"),
        (
            {"kind": "latency", "seconds": 1, "probability": 2},
            "probability is 2.0; give a number from 0 to 1",
        ),
        ({"kind": "rangeLimit", "blocks": 5, "provider": "me"}, "no provider 'me'; give one of alchemy"),
        ({"kind": "rangeLimit", "results": 5, "provider": "ankr"}, "ankr does not limit results"),
        ({"kind": "prunedState", "words": "x"}, "no words 'x'; give one of geth"),
        ({"kind": "finality"}, "give one of lag, at and missing"),
        ({"kind": "truncatedLogs", "keep": 1, "share": 0.5}, "give one of keep and share"),
        ({"kind": "refusal", "times": 0}, "times is 0; give at least 1"),
        ({"kind": "brokenBatch", "missing": 7}, "missing is 7.0; give a number from 0 to 1"),
    ],
)
async def test_a_rule_that_makes_no_sense_is_named(
    client: Client, rule: dict[str, Any], message: str
) -> None:
    error = await client.refused("hardhatfree_addFault", rule)
    assert error["code"] == -32602
    assert message in error["message"]
    assert await client.ask("hardhatfree_listFaults") == []


def test_python_rules_are_checked_alike() -> None:
    def make(kind: type[Rule], **fields: Any) -> None:
        kind(**fields)

    with pytest.raises(ValueError, match="status is 99"):
        make(HttpFailure, status=99)
    with pytest.raises(ValueError, match="requests is -1"):
        make(RateLimit, requests=-1)
    with pytest.raises(ValueError, match="chainId is 0"):
        make(OtherChain, chain_id=0)
