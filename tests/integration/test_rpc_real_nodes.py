"""`Node` against real nodes: this project's local chain, and anvil where it is installed."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from eth_account import Account

from contracts.artifacts import load
from contracts.bindings import deploy_data, reputation_dao
from contracts.bindings.reputation_dao import CLOCK, PROPOSAL_CREATED, PROPOSAL_DEADLINE, PROPOSE
from contracts.rpc import (
    BlockMissing,
    CallReverted,
    NoCode,
    Node,
    NodeUnavailable,
    Receipt,
    RpcRefused,
    WrongChain,
    bloom,
)
from hardhat_free_chain import ChainServer, ChainSettings

CHAIN_ID = 31337
EMPTY = "0x" + "ee" * 20
BINARY = "contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
KEY = "0x" + "42" * 32


def anvil_binary() -> str | None:
    """Return anvil's path, from npm's folder or the search path."""
    local = Path(__file__).parents[2] / BINARY
    return str(local) if local.exists() and os.access(local, os.X_OK) else shutil.which("anvil")


async def _anvil() -> AsyncIterator[str]:
    binary = anvil_binary()
    if binary is None:
        pytest.skip("anvil is not installed: npm ci in contracts/")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([binary, "--port", str(port), "--silent"])  # noqa: ASYNC220
    try:
        await _ready(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


async def _ready(url: str) -> None:
    async with asyncio.timeout(20), Node(url) as node:
        while True:
            try:
                await node.chain_id()
            except NodeUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.fixture(params=["hardhat_free_chain", "anvil"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    if request.param == "anvil":
        async for url in _anvil():
            async with Node(url, chain_id=CHAIN_ID) as node:
                yield node
    else:
        settings = ChainSettings(chain_id=CHAIN_ID)
        async with ChainServer(settings) as server, Node(server.url, chain_id=CHAIN_ID) as node:
            yield node


async def transact(node: Node, to: str | None, data: bytes) -> Receipt:
    (sender, *_) = await node.request("eth_accounts", [])
    gas = await node.estimate_gas(sender, to, data)
    fields = {"from": sender, "data": "0x" + data.hex(), "gas": hex(gas)} | ({"to": to} if to else {})
    return await mined(node, bytes.fromhex((await node.request("eth_sendTransaction", [fields]))[2:]))


async def mined(node: Node, transaction_hash: bytes) -> Receipt:
    """Wait for a receipt: anvil answers before it mines."""
    async with asyncio.timeout(10):
        while (receipt := await node.receipt(transaction_hash)) is None:  # noqa: ASYNC110 - a node tells no event
            await asyncio.sleep(0.01)
    return receipt


async def deploy(node: Node) -> Receipt:
    (admin, *_) = await node.request("eth_accounts", [])
    return await transact(node, None, deploy_data(load(reputation_dao.NAME), admin, 5, 0))


async def test_blocks(node: Node) -> None:
    deployed = await deploy(node)
    latest = await node.header("latest")
    assert latest == await node.header(latest.number) == await node.header(latest.hash)
    assert (latest.number, latest.hash) == (deployed.block_number, deployed.block_hash)
    assert latest.parent_hash == (await node.header(latest.number - 1)).hash
    assert 1_600_000_000 < latest.timestamp < 5_000_000_000, "seconds"
    assert (await node.header("earliest")).number == 0
    assert (await node.header("finalized")).number <= (await node.header("safe")).number <= latest.number
    for missing in (latest.number + 1_000, b"\x77" * 32):
        with pytest.raises(BlockMissing):
            await node.header(missing)


async def test_contracts_calls_and_reverts(node: Node) -> None:
    dao = (await deploy(node)).contract_address
    assert dao is not None
    head = (await node.header("latest")).number
    assert len(await node.code(dao)) > 1_000
    assert await node.code(EMPTY) == b""
    assert CLOCK.decode(await node.call(dao, CLOCK.encode(), head)) == head
    with pytest.raises(CallReverted, match="NonexistentProposal"):
        await node.call(dao, PROPOSAL_DEADLINE.encode(9))
    with pytest.raises(NoCode):
        await node.call(EMPTY, CLOCK.encode())
    with pytest.raises(NoCode):
        await node.call(dao, CLOCK.encode(), 0)
    with pytest.raises(BlockMissing):
        await node.call(dao, CLOCK.encode(), head + 1_000)
    with pytest.raises(CallReverted, match="InvalidContentHash"):
        await node.estimate_gas(EMPTY, dao, PROPOSE.encode(bytes(32)))
    outcomes = await node.call_each([(dao, CLOCK.encode()), (dao, PROPOSAL_DEADLINE.encode(9))], "latest")
    assert CLOCK.decode(outcomes[0]) == head if isinstance(outcomes[0], bytes) else False
    assert isinstance(outcomes[1], CallReverted)


async def test_filters_and_all_logs_of_a_block(node: Node) -> None:
    dao = (await deploy(node)).contract_address
    assert dao is not None
    for number in range(1, 4):
        await transact(node, dao, PROPOSE.encode(number.to_bytes(32, "big")))
    head = (await node.header("latest")).number
    headers = await node.headers(range(head + 1))
    assert headers == [await node.header(number) for number in range(head + 1)]
    logs = await node.logs(dao, [PROPOSAL_CREATED.topic0], 0, head)
    complete = [await node.complete_logs(dao, [PROPOSAL_CREATED.topic0], header) for header in headers]
    assert [log for each in complete for log in each] == logs
    told = {log.block_number for log in logs}
    for header in headers:
        allowed = bloom.may_contain(header.logs_bloom or b"", dao, [PROPOSAL_CREATED.topic0])
        assert allowed is (header.number in told)


async def test_logs_and_receipts(node: Node) -> None:
    dao = (await deploy(node)).contract_address
    assert dao is not None
    receipts = [await transact(node, dao, PROPOSE.encode(bytes([number]) * 32)) for number in (1, 2, 3)]
    first, last = receipts[0].block_number, receipts[-1].block_number
    logs = await node.logs(dao, [[PROPOSAL_CREATED.topic0]], first, last)
    assert logs == [receipt.logs[0] for receipt in receipts]
    assert [PROPOSAL_CREATED.decode(log).proposal_id for log in logs] == [1, 2, 3]
    assert await node.logs([EMPTY, dao], [PROPOSAL_CREATED.topics(proposal_id=2)[0]], last, last) == logs[-1:]
    assert await node.logs(EMPTY, [], first, last) == []
    assert await node.receipt(b"\x77" * 32) is None


async def test_sending(node: Node) -> None:
    account = Account.from_key(KEY)
    (funder, *_) = await node.request("eth_accounts", [])
    fees = await node.fees()
    assert fees.base_fee > 0
    fields = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": 0,
        "to": bytes.fromhex(EMPTY[2:]),
        "value": 1,
        "gas": 21_000,
        "maxFeePerGas": fees.base_fee * 2 + fees.priority_fee,
        "maxPriorityFeePerGas": fees.priority_fee,
        "data": "0x",
    }
    raw = bytes(account.sign_transaction(fields).raw_transaction)
    with pytest.raises(RpcRefused):
        await node.send_raw(raw)
    funding = {"from": funder, "to": account.address, "value": hex(10**18), "gas": hex(21_000)}
    await mined(node, bytes.fromhex((await node.request("eth_sendTransaction", [funding]))[2:]))
    assert await node.balance(account.address) == 10**18

    sent = await node.send_raw(raw)

    receipt = await mined(node, sent)
    assert (receipt.transaction_hash, receipt.status) == (sent, 1)
    assert await node.nonce(account.address) == await node.nonce(account.address, "pending") == 1
    with pytest.raises(RpcRefused, match=r"(?i)nonce"):
        await node.send_raw(bytes(account.sign_transaction(fields | {"value": 2}).raw_transaction))


async def test_the_chain_is_checked(node: Node) -> None:
    port = node.endpoint.rsplit(":", 1)[1]
    with pytest.raises(WrongChain, match=f"serves chain {CHAIN_ID}, not 1"):
        async with Node(f"http://127.0.0.1:{port}", chain_id=1):
            pass
