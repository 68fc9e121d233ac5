"""The local chain over WebSocket: subscriptions, frames, bounds; through web3 and bare aiohttp."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from web3 import AsyncHTTPProvider, AsyncWeb3, WebSocketProvider

from hardhat_free_chain import ChainServer, ChainSettings, deterministic_accounts
from hardhat_free_chain import subscriptions as subscriptions_module
from tests.chain_support import ACCOUNTS, CHAIN_ID, call_data, deploy_on, signed

WAIT_S = 10
ADDRESS = ACCOUNTS[0][0]


@pytest.fixture
async def server() -> AsyncIterator[ChainServer]:
    async with ChainServer(ChainSettings(body_bytes_max=100_000)) as running:
        yield running


@pytest.fixture
async def socket(server: ChainServer) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with aiohttp.ClientSession() as session, session.ws_connect(server.ws_url) as connection:
        yield connection


def request(identity: int, method: str, *params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "method": method, "params": list(params)}


async def receive(socket: aiohttp.ClientWebSocketResponse) -> Any:
    return json.loads(await socket.receive_str(timeout=WAIT_S))


async def ask(socket: aiohttp.ClientWebSocketResponse, method: str, *params: Any) -> Any:
    await socket.send_json(request(1, method, *params))
    return await receive(socket)


async def test_web3_subscribes_to_heads_and_logs(server: ChainServer) -> None:
    probe = await server.run(deploy_on, server.chain)
    async with AsyncWeb3(WebSocketProvider(server.ws_url)) as client:
        heads = await client.eth.subscribe("newHeads")
        logs = await client.eth.subscribe("logs", {"address": AsyncWeb3.to_checksum_address(probe)})
        assert await client.eth.chain_id == CHAIN_ID
        note = {
            "from": ADDRESS,
            "to": AsyncWeb3.to_checksum_address(probe),
            "data": call_data("note", 5, b"hi"),
        }
        sent = await client.eth.send_transaction(note)  # type: ignore[arg-type]
        received = []
        async with asyncio.timeout(WAIT_S):
            async for message in client.socket.process_subscriptions():
                received.append(message)
                if len(received) == 2:
                    break
        assert [message["subscription"] for message in received] == [heads, logs]
        assert received[0]["result"]["number"] == 2
        assert received[1]["result"]["transactionHash"] == sent
        assert await client.eth.unsubscribe(heads) is True


async def test_text_and_binary_frames_are_answered_alike(socket: aiohttp.ClientWebSocketResponse) -> None:
    body = json.dumps(request(1, "eth_chainId"))
    await socket.send_str(body)
    text = await receive(socket)
    await socket.send_bytes(body.encode())
    assert await receive(socket) == text == {"jsonrpc": "2.0", "id": 1, "result": hex(CHAIN_ID)}


async def test_the_subscription_is_answered_before_anything_is_pushed(
    server: ChainServer, socket: aiohttp.ClientWebSocketResponse
) -> None:
    """Blocks are mined all the while; the first thing that arrives must be the answer, every time."""
    stop = asyncio.Event()

    async def mine() -> None:
        while not stop.is_set():
            await server.request("evm_mine")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(mine())
        for round_number in range(10):
            await socket.send_json(request(round_number, "eth_subscribe", "newHeads"))
            first = await receive(socket)
            assert first["id"] == round_number
            assert (await receive(socket))["params"]["subscription"] == first["result"]
            await socket.send_json(request(100, "eth_unsubscribe", first["result"]))
            while (answer := await receive(socket)).get("id") != 100:
                assert answer["method"] == "eth_subscription"
            assert answer["result"] is True
        stop.set()


async def test_heads_come_in_order_and_without_holes(
    server: ChainServer, socket: aiohttp.ClientWebSocketResponse
) -> None:
    await ask(socket, "eth_subscribe", "newHeads")
    await server.request("hardhat_mine", "0x32")
    heads = [(await receive(socket))["params"]["result"] for _ in range(50)]
    assert [int(head["number"], 16) for head in heads] == list(range(1, 51))
    assert heads[-1]["hash"] == (await server.request("eth_getBlockByNumber", "latest"))["hash"]


async def test_log_subscriptions_are_filtered(
    server: ChainServer, socket: aiohttp.ClientWebSocketResponse
) -> None:
    probe = await server.run(deploy_on, server.chain)
    wanted = {"address": "0x" + probe.hex(), "topics": [None, [f"0x{2:064x}", f"0x{4:064x}"]]}
    await ask(socket, "eth_subscribe", "logs", wanted)
    raw = signed(nonce=1, to=probe, value=0, gas=200_000, data=call_data("tick", 0, 5))
    await server.request("eth_sendRawTransaction", "0x" + raw.hex())
    logs = [(await receive(socket))["params"]["result"] for _ in range(2)]
    assert [int(log["topics"][1], 16) for log in logs] == [2, 4]
    assert (await ask(socket, "eth_blockNumber"))["result"] == "0x2"


async def test_subscriptions_in_a_batch_start_after_its_answer(
    server: ChainServer, socket: aiohttp.ClientWebSocketResponse
) -> None:
    await socket.send_json([request(1, "eth_subscribe", "newHeads"), request(2, "evm_mine")])
    answers = await receive(socket)
    assert [answer["id"] for answer in answers] == [1, 2]
    await server.request("evm_mine")
    assert (await receive(socket))["params"]["subscription"] == answers[0]["result"]


async def test_bad_subscriptions_and_requests_are_answered(socket: aiohttp.ClientWebSocketResponse) -> None:
    assert (await ask(socket, "eth_subscribe", "nothing"))["error"]["code"] == -32602
    assert (await ask(socket, "eth_subscribe"))["error"]["code"] == -32602
    assert (await ask(socket, "eth_subscribe", "logs", {"address": "0x1"}))["error"]["code"] == -32602
    assert (await ask(socket, "eth_unsubscribe", "0x99"))["result"] is False
    assert (await ask(socket, "eth_unsubscribe"))["result"] is False
    await socket.send_str("{")
    assert (await receive(socket))["error"]["code"] == -32700


async def test_a_client_that_sends_too_much_is_closed_and_others_are_not(
    server: ChainServer, socket: aiohttp.ClientWebSocketResponse
) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(server.ws_url) as flood:
        await flood.send_str(" " * 100_001)
        message = await flood.receive(timeout=WAIT_S)
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    assert (await ask(socket, "eth_chainId"))["result"] == hex(CHAIN_ID)


async def test_a_client_that_does_not_read_is_closed_and_the_chain_goes_on(
    server: ChainServer, socket: aiohttp.ClientWebSocketResponse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions_module, "OUTBOX_MAX", 3)
    async with aiohttp.ClientSession() as session, session.ws_connect(server.ws_url) as deaf:
        for identity in range(20):
            await ask(deaf, "eth_subscribe", "newHeads")
            assert identity < 20
        # One block is twenty notifications at once, more than the outbox of three holds.
        await server.request("evm_mine")
        async with asyncio.timeout(WAIT_S):
            while (message := await deaf.receive()).type == aiohttp.WSMsgType.TEXT:
                pass
        assert message.type == aiohttp.WSMsgType.CLOSE
        assert (message.data, message.extra) == (1008, "too slow")
    assert (await ask(socket, "eth_blockNumber"))["result"] == "0x1"


async def test_closing_the_server_closes_its_connections() -> None:
    async with ChainServer(ChainSettings()) as server, aiohttp.ClientSession() as session:
        connection = await session.ws_connect(server.ws_url)
        await ask(connection, "eth_subscribe", "newHeads")
        await server.__aexit__(None, None, None)
        assert (await connection.receive(timeout=WAIT_S)).type == aiohttp.WSMsgType.CLOSE
        with pytest.raises(aiohttp.ClientError):
            await session.post(server.url, json=request(1, "eth_chainId"))


async def test_blocks_are_mined_at_the_interval() -> None:
    settings = ChainSettings(block_interval_s=0.05, auto_mine=False)
    async with (
        ChainServer(settings) as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.ws_url) as connection,
    ):
        await ask(connection, "eth_subscribe", "newHeads")
        await connection.send_json(request(7, "eth_sendRawTransaction", "0x" + signed().hex()))
        mined = False
        async with asyncio.timeout(WAIT_S):
            while not mined:
                head = (await receive(connection)).get("params", {})
                mined = bool(head) and int(head["result"]["gasUsed"], 16) == 21_000


async def test_four_clients_send_and_read_at_once(server: ChainServer) -> None:
    """Two HTTP and two WebSocket clients, each its own account; every transaction lands exactly once."""
    probe = await server.run(deploy_on, server.chain, 9)
    each = 25

    async def work(client: AsyncWeb3[Any], index: int) -> None:
        for nonce in range(each):
            raw = signed(
                index, nonce=nonce, to=probe, value=0, gas=100_000, data=call_data("note", nonce, b"")
            )
            sent = await client.eth.send_raw_transaction(raw)
            receipt = await client.eth.get_transaction_receipt(sent)
            assert receipt["status"] == 1
            assert receipt["from"] == ACCOUNTS[index][0]
            assert await client.eth.get_transaction_count(ACCOUNTS[index][0]) == nonce + 1

    providers = [AsyncHTTPProvider(server.url) for _ in range(2)]
    async with (
        AsyncWeb3(WebSocketProvider(server.ws_url)) as third,
        AsyncWeb3(WebSocketProvider(server.ws_url)) as fourth,
        asyncio.TaskGroup() as tasks,
    ):
        for index, client in enumerate([*map(AsyncWeb3, providers), third, fourth]):
            tasks.create_task(work(client, index))
    for provider in providers:
        await provider.disconnect()
    logs = await server.request("eth_getLogs", {"fromBlock": "0x0"})
    assert len({log["transactionHash"] for log in logs}) == len(logs) == 4 * each
    assert int(await server.request("eth_blockNumber"), 16) == 1 + 4 * each


async def test_the_event_loop_runs_while_the_chain_works(server: ChainServer) -> None:
    beats = 0
    async with asyncio.TaskGroup() as tasks:
        work = tasks.create_task(server.request("hardhat_mine", "0xc8"))
        while not work.done():
            await asyncio.sleep(0)
            beats += 1
    assert beats > 20


async def test_too_many_waiting_requests_are_refused() -> None:
    async with ChainServer(ChainSettings(waiting_requests_max=2)) as server:
        tasks = [asyncio.create_task(server.request("hardhat_mine", "0x14")) for _ in range(5)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [result for result in results if isinstance(result, Exception)]
    assert len(refused) == 3
    assert all("the chain is busy: 2 requests are waiting" in str(error) for error in refused)


def test_the_accounts_are_the_same_everywhere() -> None:
    assert deterministic_accounts(10) == ACCOUNTS


async def test_a_reorganisation_takes_logs_back(
    server: ChainServer, socket: aiohttp.ClientWebSocketResponse
) -> None:
    probe = await server.run(deploy_on, server.chain)
    await ask(socket, "eth_subscribe", "logs", {"address": "0x" + probe.hex()})
    heads = (await ask(socket, "eth_subscribe", "newHeads"))["result"]
    for nonce in (1, 2):
        raw = signed(nonce=nonce, to=probe, value=0, gas=200_000, data=call_data("tick", nonce, 1))
        await server.request("eth_sendRawTransaction", "0x" + raw.hex())
    before = [(await receive(socket))["params"]["result"] for _ in range(4)]
    await server.request("hardhatfree_reorg", 2)
    told = [(await receive(socket))["params"] for _ in range(6)]
    removed = [each["result"] for each in told[:2]]
    assert [(log["removed"], int(log["topics"][1], 16)) for log in removed] == [(True, 2), (True, 1)]
    olds = [each for each in before if "topics" in each]
    assert [{**log, "removed": False} for log in removed] == olds[::-1]
    assert [each["result"]["number"] for each in told if each["subscription"] == heads] == ["0x2", "0x3"]
    again = [each["result"] for each in told[2:] if each["subscription"] != heads]
    assert [(log["removed"], int(log["topics"][1], 16)) for log in again] == [(False, 1), (False, 2)]
    assert {log["transactionHash"] for log in again} == {log["transactionHash"] for log in removed}
    assert not {log["blockHash"] for log in again} & {log["blockHash"] for log in removed}


async def test_waiting_transactions_are_announced(
    server: ChainServer, socket: aiohttp.ClientWebSocketResponse
) -> None:
    await server.request("evm_setAutomine", False)
    await ask(socket, "eth_subscribe", "newPendingTransactions")
    sent = await server.request("eth_sendRawTransaction", "0x" + signed().hex())
    assert (await receive(socket))["params"]["result"] == sent


async def test_the_interval_between_blocks_is_changed_while_it_runs(
    server: ChainServer, socket: aiohttp.ClientWebSocketResponse
) -> None:
    await ask(socket, "eth_subscribe", "newHeads")
    await server.request("evm_setIntervalMining", 20)
    for number in (1, 2, 3):
        assert (await receive(socket))["params"]["result"]["number"] == hex(number)
    await server.request("evm_setIntervalMining", 0)
    height = await server.request("eth_blockNumber")
    await asyncio.sleep(0.1)
    assert await server.request("eth_blockNumber") in (height, hex(int(height, 16) + 1))
