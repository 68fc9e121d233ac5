"""What a node may answer, and what `Node` makes of it, over real HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from eth_utils.crypto import keccak

from contracts.rpc import (
    BlockHeader,
    BlockMissing,
    CallReverted,
    InvalidEndpoint,
    NoCode,
    Node,
    NodeUnavailable,
    RpcRefused,
    WrongChain,
)
from contracts.rpc import pool as pool_module
from tests.rpc_node import Raw, ScriptedNode, block, log, scripted_node

DAO = "0x" + "aa" * 20
TX = b"\x11" * 32
CUSTOM_ERROR = (
    "08c379a0" + (32).to_bytes(32, "big").hex() + (4).to_bytes(32, "big").hex() + "6e6f7065".ljust(64, "0")
)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "READ_PAUSES_S", (0.001, 0.001))


@pytest.fixture
async def script() -> AsyncIterator[ScriptedNode]:
    async with scripted_node() as script:
        yield script


@pytest.fixture
async def node(script: ScriptedNode) -> AsyncIterator[Node]:
    async with Node(script.url, timeout_s=2.0) as node:
        yield node


TRANSIENT = {
    "500": Raw(status=500, body=b"oops"),
    "502 from a proxy": Raw(status=502, body=b"<html>bad gateway</html>"),
    "429": Raw(status=429, body=b'{"error":"slow down"}'),
    "dropped connection": Raw(drop=True),
    "half an answer": Raw(body=b'{"jsonrpc":"2.0","id":1,"resu'),
    "not JSON": Raw(body=b"<html>welcome</html>"),
    "nothing": Raw(body=b""),
    "another request's answer": Raw(body=b'{"jsonrpc":"2.0","id":999999,"result":"0x1"}'),
    "neither result nor error": Raw(body=b'{"jsonrpc":"2.0","id":1}'),
    "a list to a single request": Raw(body=b"[]"),
    "broken UTF-8": Raw(body=b'{"jsonrpc":"2.0","id":1,"result":"\xff\xfe"}'),
}


@pytest.mark.parametrize("raw", TRANSIENT.values(), ids=TRANSIENT.keys())
async def test_a_read_survives_a_fault_and_reports_a_lasting_one(
    script: ScriptedNode, node: Node, raw: Raw
) -> None:
    script.result("eth_chainId", "0x7a69")
    script.queue = [raw]
    assert await node.chain_id() == 31337

    script.queue = [raw] * 3
    with pytest.raises(NodeUnavailable) as caught:
        await node.chain_id()
    assert caught.value.retryable
    assert "\n" not in str(caught.value)
    assert node.requests_by_method == {"eth_chainId": 2}, "repeats of one request count once"


async def test_a_node_that_does_not_answer_is_given_up_in_time(script: ScriptedNode) -> None:
    script.queue = [Raw(hang=True)]
    async with asyncio.timeout(5), Node(script.url, timeout_s=0.1) as node:
        with pytest.raises(NodeUnavailable, match=r"no answer within 0\.1 s"):
            await node.chain_id()
    assert len(script.bodies) == 1, "a read that used up its time is not repeated here"


async def test_the_pause_that_a_node_asks_for_is_handed_on(script: ScriptedNode, node: Node) -> None:
    script.queue = [Raw(status=429, headers={"Retry-After": "7"})]
    with pytest.raises(NodeUnavailable) as caught:
        await node.chain_id()
    assert caught.value.retry_after_s == 7.0
    assert len(script.bodies) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_wrong_url_is_the_operators(script: ScriptedNode, node: Node, status: int) -> None:
    script.queue = [Raw(status=status, body=b"nothing here")]
    with pytest.raises(RpcRefused, match=f"HTTP {status} from http://127.0.0.1:.*check the RPC URL"):
        await node.chain_id()


async def test_nobody_listening_is_unavailable_and_named() -> None:
    async with scripted_node() as script:
        url = script.url
    async with Node(url) as node:
        with pytest.raises(NodeUnavailable, match=re.escape(url)):
            await node.chain_id()


@pytest.mark.parametrize("url", ["", "localhost:8545", "ws://127.0.0.1:8545", "http://", "http://[::1"])
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidEndpoint, match="give it as http://host:port"):
        Node(url)


async def test_the_key_in_a_url_is_never_shown(script: ScriptedNode) -> None:
    secret = "s3cr3t"
    url = script.url.replace("http://", "http://user:hunter2@") + f"/v3/{secret}?key={secret}"
    script.queue = [Raw(status=500)] * 3 + [Raw(status=401)]
    async with Node(url) as node:
        with pytest.raises(NodeUnavailable) as unavailable:
            await node.chain_id()
        with pytest.raises(RpcRefused) as refused:
            await node.chain_id()
    for error in (unavailable.value, refused.value):
        assert not re.search("s3cr3t|hunter2", f"{error} {error!r} {error.args}")


async def test_another_chain_is_refused_on_entering(script: ScriptedNode) -> None:
    script.result("eth_chainId", "0x1")
    with pytest.raises(WrongChain, match="serves chain 1, not 31337"):
        async with Node(script.url, chain_id=31337):
            pass


REVERTS: dict[str, dict[str, Any]] = {
    "geth": {"code": 3, "message": "execution reverted: nope", "data": "0x" + CUSTOM_ERROR},
    "data without 0x": {"code": 3, "message": "execution reverted", "data": CUSTOM_ERROR},
    "nethermind": {"code": -32015, "message": "VM execution error.", "data": "Reverted 0x" + CUSTOM_ERROR},
    "hardhat": {
        "code": -32603,
        "message": "VM reverted",
        "data": {"message": "x", "data": "0x" + CUSTOM_ERROR},
    },
}


@pytest.mark.parametrize("error", REVERTS.values(), ids=REVERTS.keys())
async def test_the_reason_of_a_revert_is_found_wherever_it_stands(
    script: ScriptedNode, node: Node, error: dict[str, Any]
) -> None:
    script.error("eth_call", **error)
    with pytest.raises(CallReverted) as caught:
        await node.call(DAO, b"\x01")
    assert caught.value.data == bytes.fromhex(CUSTOM_ERROR)
    assert "nope" in str(caught.value)


@pytest.mark.parametrize("data", [None, "0x", "no reason", {"data": None}, "0xzz", ["0x01"]])
async def test_a_revert_without_a_reason_is_a_revert(script: ScriptedNode, node: Node, data: object) -> None:
    script.error("eth_call", 3, "execution reverted", data)
    with pytest.raises(CallReverted) as caught:
        await node.call(DAO, b"\x01")
    assert caught.value.data == b""


async def test_an_empty_answer_of_no_contract_is_told_from_one_of_a_contract(
    script: ScriptedNode, node: Node
) -> None:
    script.result("eth_call", "0x")
    script.result("eth_getCode", "0x")
    with pytest.raises(NoCode, match=DAO):
        await node.call(DAO, b"\x01")
    script.result("eth_getCode", "0x6001")
    assert await node.call(DAO, b"\x01") == b""


async def test_each_call_of_a_batch_has_its_own_outcome(script: ScriptedNode, node: Node) -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        asked = request["params"][0]["data"]
        if asked == "0x07":
            return {"id": request["id"], "error": {"code": 3, "message": "execution reverted"}}
        return {"id": request["id"], "result": asked * 1}

    script.answers["eth_call"] = answer
    calls = [(DAO, bytes([number])) for number in range(250)]
    outcomes = await node.call_each(calls, 5)
    assert [outcome for outcome in outcomes if not isinstance(outcome, CallReverted)] == [
        data for _, data in calls if data != b"\x07"
    ]
    assert isinstance(outcomes[7], CallReverted)
    assert [len(body) for body in script.bodies] == [100, 100, 50]
    assert node.requests_by_method == {"eth_call": 250}
    with pytest.raises(CallReverted):
        await node.call_many(calls, 5)


async def test_a_node_without_batches_is_asked_one_by_one(script: ScriptedNode, node: Node) -> None:
    script.result("eth_call", "0x2a")
    script.queue = [Raw(body=b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no batches"}}')]
    assert await node.call_many([(DAO, b"\x01"), (DAO, b"\x02")], 1) == [b"\x2a", b"\x2a"]


async def test_a_batch_that_lacks_an_answer_is_repeated(script: ScriptedNode, node: Node) -> None:
    script.result("eth_call", "0x2a")
    script.queue = [Raw(body=b"[]")]
    assert await node.call_many([(DAO, b"\x01"), (DAO, b"\x02")], 1) == [b"\x2a", b"\x2a"]


async def test_headers_in_seconds_and_the_missing_block(script: ScriptedNode, node: Node) -> None:
    script.result("eth_getBlockByNumber", block(7))
    header = await node.header(7)
    assert header == BlockHeader(
        number=7,
        hash=(7).to_bytes(32, "big"),
        parent_hash=(6).to_bytes(32, "big"),
        timestamp=1_700_000_007,
    )
    script.result("eth_getBlockByNumber", None)
    with pytest.raises(BlockMissing, match="finalized"):
        await node.header("finalized")
    with pytest.raises(LookupError):
        await node.header(7)


@pytest.mark.parametrize(
    "wrong",
    [
        block(8),
        block(7, hash=None),
        block(7, timestamp="1700000000"),
        block(7) | {"number": "0x-7"},
        block(7) | {"number": "7"},
        block(7, hash="0x" + "00" * 31),
        block(7, parentHash="0x" + "0 " * 32),
        [],
        "0x7",
    ],
)
async def test_a_senseless_block_is_no_answer(script: ScriptedNode, node: Node, wrong: object) -> None:
    script.result("eth_getBlockByNumber", wrong)
    with pytest.raises(NodeUnavailable, match="senseless answer"):
        await node.header(7)


async def test_logs_come_in_the_order_of_the_chain(script: ScriptedNode, node: Node) -> None:
    script.result("eth_getLogs", [log(9), log(5, logIndex="0xa"), log(5, logIndex="0x2"), log(7)])
    logs = await node.logs(DAO.upper().replace("0X", "0x"), [[b"\x01" * 32, None], None], 5, 9)
    assert [(each.block_number, each.log_index) for each in logs] == [(5, 2), (5, 10), (7, 0), (9, 0)]
    asked = script.bodies[-1]["params"][0]
    assert asked == {
        "address": DAO,
        "fromBlock": "0x5",
        "toBlock": "0x9",
        "topics": [["0x" + "01" * 32, None], None],
    }


@pytest.mark.parametrize(
    "wrong",
    [
        log(4),
        log(10),
        log(6, address="0x" + "bb" * 20),
        log(6, removed=True),
        log(6, blockHash=None),
        log(6, topics=["0x01"]),
        None,
    ],
)
async def test_logs_that_were_not_asked_for_are_no_answer(
    script: ScriptedNode, node: Node, wrong: object
) -> None:
    script.result("eth_getLogs", [wrong])
    with pytest.raises(NodeUnavailable):
        await node.logs(DAO, [], 5, 9)


async def test_a_receipt_that_is_not_there(script: ScriptedNode, node: Node) -> None:
    mined = {
        "transactionHash": "0x" + TX.hex(),
        "blockNumber": "0x5",
        "blockHash": "0x" + "22" * 32,
        "status": "0x0",
        "gasUsed": "0x5208",
        "contractAddress": None,
        "logs": [],
    }
    script.result("eth_getTransactionReceipt", None)
    assert await node.receipt(TX) is None
    script.result("eth_getTransactionReceipt", {**mined, "blockNumber": None, "blockHash": None})
    assert await node.receipt(TX) is None
    script.result("eth_getTransactionReceipt", mined)
    receipt = await node.receipt(TX)
    assert receipt is not None
    assert (receipt.status, receipt.gas_used, receipt.contract_address) == (0, 21_000, None)
    script.result("eth_getTransactionReceipt", {**mined, "status": None})
    with pytest.raises(NodeUnavailable):
        await node.receipt(TX)


async def test_an_already_known_transaction_is_sent(script: ScriptedNode, node: Node) -> None:
    raw = b"\x02\xf8signed"
    for text in ("already known", "AlreadyKnown", "Known transaction", "transaction already imported"):
        script.error("eth_sendRawTransaction", -32000, text)
        assert await node.send_raw(raw) == keccak(raw)
    for text in ("nonce too low", "replacement transaction underpriced", "insufficient funds for gas"):
        script.error("eth_sendRawTransaction", -32000, text)
        with pytest.raises(RpcRefused, match=text) as caught:
            await node.send_raw(raw)
        assert (caught.value.code, caught.value.message) == (-32000, text)


async def test_a_broadcast_is_never_repeated_by_itself(script: ScriptedNode, node: Node) -> None:
    script.queue = [Raw(drop=True)]
    with pytest.raises(NodeUnavailable):
        await node.send_raw(b"\x02")
    assert len(script.bodies) == 1


async def test_a_hash_of_another_transaction_is_not_believed(script: ScriptedNode, node: Node) -> None:
    script.result("eth_sendRawTransaction", "0x" + "99" * 32)
    with pytest.raises(NodeUnavailable, match="the hash of another transaction"):
        await node.send_raw(b"\x02")


async def test_a_limit_on_requests_is_waited_for_and_one_on_results_is_not(
    script: ScriptedNode, node: Node
) -> None:
    script.error("eth_getLogs", -32005, "daily request count exceeded, request rate limited")
    with pytest.raises(NodeUnavailable):
        await node.logs(DAO, [], 0, 9)
    script.error("eth_getLogs", -32005, "query returned more than 10000 results")
    with pytest.raises(RpcRefused, match="10000 results"):
        await node.logs(DAO, [], 0, 9)


async def test_state_of_a_block_that_the_node_lacks(script: ScriptedNode, node: Node) -> None:
    script.error("eth_call", -32000, "header not found")
    with pytest.raises(BlockMissing):
        await node.call(DAO, b"\x01", 9)
    script.error("eth_getCode", -32000, "header not found")
    with pytest.raises(BlockMissing):
        await node.code(DAO, 9)


async def test_fees(script: ScriptedNode, node: Node) -> None:
    script.result("eth_getBlockByNumber", block(7, baseFeePerGas="0x3b9aca00"))
    script.result("eth_maxPriorityFeePerGas", "0x5")
    fees = await node.fees()
    assert (fees.base_fee, fees.priority_fee) == (10**9, 5)
    script.error("eth_maxPriorityFeePerGas", -32601, "method not found")
    assert (await node.fees()).priority_fee == 10**9
    script.result("eth_getBlockByNumber", block(7))
    with pytest.raises(RpcRefused, match="EIP-1559"):
        await node.fees()


async def test_a_block_hash_pins_a_read(script: ScriptedNode, node: Node) -> None:
    script.result("eth_call", "0x01")
    await node.call(DAO, b"\x01", TX)
    assert script.bodies[-1]["params"][1] == {"blockHash": "0x" + TX.hex()}
    with pytest.raises(ValueError, match="not a block tag"):
        await node.call(DAO, b"\x01", "newest")


async def test_many_requests_at_once_get_their_own_answers(script: ScriptedNode, node: Node) -> None:
    script.answers["eth_getBalance"] = lambda request: {
        "id": request["id"],
        "result": hex(int(request["params"][0], 16)),
    }
    wanted = list(range(1, 60))
    answers = await asyncio.gather(*(node.balance(f"0x{number:040x}") for number in wanted))
    assert answers == wanted


async def test_a_closed_node_says_so(script: ScriptedNode) -> None:
    node = Node(script.url)
    with pytest.raises(RuntimeError, match="async with"):
        await node.chain_id()
