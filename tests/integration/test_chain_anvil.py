"""The local chain against anvil: the same random requests get equal answers, for what both define.

Not compared, because each is free there: block hashes (anvil's headers differ), state roots (anvil deploys
contracts of its own at genesis), gas estimates (each searches in its own way), and the words of refusals, of
which only the kind is compared.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import aiohttp
import pytest

from hardhat_free_chain import ChainServer, ChainSettings
from tests.anvil_node import anvil
from tests.chain_support import ACCOUNTS, GWEI, PROBE, call_data, signed

BASE_TIMESTAMP = 1_700_000_000
WAIT_S = 20.0
RECORD = os.environ.get("DAO_SCORER_RECORDS") == "1"
SEEDS = range(200) if RECORD else range(4)
STEPS = 120
SENDERS = 4
PROBE_ADDRESS = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
KINDS = {
    "nonce too low": ("nonce too low",),
    "known": ("already known", "already imported"),
    "underpriced": ("underpriced",),
    "funds": ("insufficient funds",),
    "gas": ("intrinsic gas too low",),
    "chain": ("invalid chain id", "chain id"),
    "revert": ("execution reverted",),
    "fees": ("max priority fee per gas higher",),
    "range": ("range",),
}
BLOCK_FIELDS = (
    *("number", "timestamp", "gasUsed", "gasLimit", "baseFeePerGas", "transactions", "logsBloom"),
    *("transactionsRoot", "receiptsRoot", "miner"),
)
RECEIPT_FIELDS = (
    *("status", "gasUsed", "cumulativeGasUsed", "effectiveGasPrice", "contractAddress", "type", "from", "to"),
    *("transactionHash", "transactionIndex", "blockNumber", "logsBloom"),
)
LOG_FIELDS = ("address", "topics", "data", "blockNumber", "transactionHash", "transactionIndex", "logIndex")
TRANSACTION_FIELDS = (
    *("hash", "nonce", "from", "to", "value", "gas", "input", "blockNumber", "transactionIndex", "type"),
    *("maxFeePerGas", "maxPriorityFeePerGas", "gasPrice", "r", "s", "chainId"),
)


async def ask(session: aiohttp.ClientSession, url: str, method: str, *params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with session.post(url, json=body) as response:
        return await response.json()


def kind(error: Any) -> str:
    """What an error means, whatever its words."""
    text = error["message"].lower()
    return next((name for name, words in KINDS.items() if any(word in text for word in words)), text)


def picked(value: Any, fields: tuple[str, ...]) -> Any:
    return None if value is None else {name: value.get(name) for name in fields}


def log_facts(logs: Any) -> Any:
    return [picked(log, LOG_FIELDS) for log in logs]


def receipt_facts(receipt: Any) -> Any:
    return None if receipt is None else (picked(receipt, RECEIPT_FIELDS), log_facts(receipt["logs"]))


def differences(ours: Any, theirs: Any) -> str:
    """What is not equal, and no more."""
    one, other = ours[1], theirs[1]
    if isinstance(one, dict) and isinstance(other, dict):
        names = [name for name in one if one[name] != other.get(name)]
        return "\n".join(f"{name}: ours {one[name]}, anvil's {other.get(name)}" for name in names)
    return f"ours:    {ours}\nanvil's: {theirs}"


def transaction_facts(found: Any) -> Any:
    facts = picked(found, TRANSACTION_FIELDS)
    if facts is not None and facts["blockNumber"] is None:
        # go-ethereum shows the maximum fee of a transaction that waits, anvil what it would pay now.
        del facts["gasPrice"]
    return facts


def same(value: Any) -> Any:
    return value


def anything(_: Any) -> Any:
    return "carried out"


def counts(value: Any) -> Any:
    return {name: int(str(number), 16) for name, number in value.items()}


class Pair:
    """Both nodes; each request goes to both, and what is compared of the answers must be equal."""

    def __init__(self, session: aiohttp.ClientSession, ours: str, theirs: str, seed: int) -> None:
        self.session = session
        self.urls = (ours, theirs)
        self.seed = seed
        self.history: list[Any] = []

    async def __call__(self, facts: Callable[[Any], Any], method: str, *params: Any) -> Any:
        self.history.append((method, params))
        answers = [await ask(self.session, url, method, *params) for url in self.urls]
        compared = []
        for answer in answers:
            if "error" in answer:
                compared.append(("refused", kind(answer["error"]), answer["error"].get("data")))
            else:
                compared.append(("result", facts(answer["result"]), None))
        ours, theirs = compared
        if ours[:2] == ("refused", "revert") or ours[0] == "result":
            told = ours == theirs
        else:
            told = ours[:2] == theirs[:2]
        assert told, (
            f"seed {self.seed}, step {len(self.history)}: {method}{params}\n{differences(ours, theirs)}"
        )
        return answers[0].get("result")


class Walk:
    """A random walk over what both nodes can do."""

    def __init__(self, pair: Pair, chance: Random) -> None:
        self.pair = pair
        self.chance = chance
        self.timestamp = BASE_TIMESTAMP
        self.height = 0
        self.sent: list[str] = []
        self.beyond_gaps: set[tuple[int, int]] = set()
        self.raw: list[str] = []
        # (numbers of the snapshot at each node, height, timestamp)
        self.snapshots: list[tuple[list[str], int, int]] = []
        self.actions: list[tuple[int, Callable[[], Any]]] = [
            (8, self.send),
            (2, self.send_again),
            (2, self.send_badly),
            (5, self.mine),
            (1, self.mine_many),
            (1, self.drop),
            (2, self.alter),
            (1, self.snapshot),
            (1, self.revert),
            (6, self.read_account),
            (5, self.read_logs),
            (5, self.read_block),
            (4, self.read_transaction),
            (4, self.call),
        ]

    async def step(self) -> None:
        weights = [weight for weight, _ in self.actions]
        (action,) = self.chance.choices([action for _, action in self.actions], weights)
        await action()

    async def deploy(self) -> None:
        raw = signed(9, to=None, value=0, gas=2_000_000, data=PROBE["bytecode"])
        # The first block's base fee is free: anvil does not compute it from genesis.
        await self.pair(anything, "anvil_setNextBlockBaseFeePerGas", hex(GWEI))
        await self.pair(same, "eth_sendRawTransaction", "0x" + raw.hex())
        await self.mine()

    # -- changing --------------------------------------------------------------------------------------

    def data(self) -> str:
        calls = [
            call_data("note", self.chance.randrange(9), b"text"),
            call_data("tick", 0, self.chance.randrange(4)),
            call_data("write", self.chance.randrange(5)),
            call_data("failCustom", self.chance.randrange(20)),
            call_data("failPanic", 0),
        ]
        return self.chance.choice(calls)

    async def send(self) -> None:
        index = self.chance.randrange(SENDERS)
        nonce = int(await self.pair(same, "eth_getTransactionCount", ACCOUNTS[index][0], "pending"), 16)
        gap = self.chance.choice((0, 0, 0, 0, 1, 2, -1))
        nonce = max(0, nonce + gap)
        # anvil keeps a queued transaction beside the one that replaces it.
        if gap > 0 and (index, nonce) in self.beyond_gaps:
            return
        self.beyond_gaps |= {(index, nonce)} if gap > 0 else set()
        fields: dict[str, Any] = {"value": self.chance.randrange(10**15)}
        if self.chance.random() < 0.7:
            fields = {"to": PROBE_ADDRESS, "value": 0, "gas": 300_000, "data": self.data()}
        # go-ethereum orders by tips and anvil by maximum fees, and anvil takes replacements of less than a
        # tenth more: fees of which both think alike.
        tip = (GWEI + 1_000 * index + nonce) * self.chance.choice((10, 10, 10, 13, 17)) // 10
        raw = signed(index, nonce=nonce, **fields, maxFeePerGas=100 * tip, maxPriorityFeePerGas=tip)
        self.raw.append("0x" + raw.hex())
        sent = await self.pair(same, "eth_sendRawTransaction", self.raw[-1])
        if sent is not None:
            self.sent.append(sent)

    async def send_again(self) -> None:
        if self.raw:
            await self.pair(same, "eth_sendRawTransaction", self.chance.choice(self.raw))

    async def send_badly(self) -> None:
        index = self.chance.randrange(SENDERS)
        nonce = int(await self.pair(same, "eth_getTransactionCount", ACCOUNTS[index][0], "pending"), 16)
        fields = self.chance.choice(
            [
                {"value": 20_000 * 10**18},
                {"gas": 20_999},
                {"maxFeePerGas": GWEI, "maxPriorityFeePerGas": 2 * GWEI},
            ]
        )
        raw = signed(index, nonce=nonce, **fields)
        await self.pair(same, "eth_sendRawTransaction", "0x" + raw.hex())

    async def mine(self) -> None:
        self.timestamp += self.chance.randint(1, 1_000)
        await self.pair(anything, "evm_mine", self.timestamp)
        self.height += 1
        await self.pair(lambda block: picked(block, BLOCK_FIELDS), "eth_getBlockByNumber", "latest", False)

    async def mine_many(self) -> None:
        blocks = self.chance.randint(1, 4)
        for _ in range(blocks):
            await self.mine()

    async def drop(self) -> None:
        await self.pair(counts, "txpool_status")
        # anvil drops no queued transactions, and with a pending one all that follow it.
        content = (await ask(self.pair.session, self.pair.urls[0], "txpool_content"))["result"]
        pending = [held[max(held, key=int)]["hash"] for held in content["pending"].values()]
        if pending:
            await self.pair(same, "anvil_dropTransaction", self.chance.choice(sorted(pending)))
            await self.pair(counts, "txpool_status")

    async def alter(self) -> None:
        owner = "0x" + "ab" * 19 + f"{self.chance.randrange(3):02x}"
        changes: list[tuple[Any, ...]] = [
            ("anvil_setBalance", owner, hex(self.chance.randrange(10**18))),
            ("anvil_setCode", owner, self.chance.choice(["0x", "0x60005460005260206000f3"])),
            ("anvil_setStorageAt", owner, "0x0", f"0x{self.chance.randrange(99):064x}"),
        ]
        method, *params = self.chance.choice(changes)
        await self.pair(anything, method, *params)
        await self.pair(same, "eth_getBalance", owner, "latest")
        await self.pair(same, "eth_getCode", owner, "latest")
        await self.pair(same, "eth_getStorageAt", owner, "0x0", "latest")

    async def snapshot(self) -> None:
        numbers = [(await ask(self.pair.session, url, "evm_snapshot"))["result"] for url in self.pair.urls]
        self.snapshots.append((numbers, self.height, self.timestamp))

    async def revert(self) -> None:
        if not self.snapshots or self.chance.random() < 0.5:
            return
        # What waits is restored here and not by anvil: begin with an empty mempool on both.
        await self.pair(anything, "anvil_dropAllTransactions")
        numbers, self.height, self.timestamp = self.snapshots.pop()
        for url, number in zip(self.pair.urls, numbers, strict=True):
            assert (await ask(self.pair.session, url, "evm_revert", number))["result"] is True
        await self.pair(anything, "anvil_dropAllTransactions")
        # Nor does anvil bring back the base fee.
        await self.pair(anything, "anvil_setNextBlockBaseFeePerGas", hex(GWEI))
        await self.pair(same, "eth_blockNumber")

    # -- reading ---------------------------------------------------------------------------------------

    def block(self) -> str:
        return self.chance.choice(["latest", "earliest", hex(self.chance.randint(0, self.height))])

    async def read_account(self) -> None:
        address = self.chance.choice([PROBE_ADDRESS, *(address for address, _ in ACCOUNTS[:SENDERS])])
        method = self.chance.choice(["eth_getBalance", "eth_getTransactionCount", "eth_getCode"])
        await self.pair(same, method, address, self.block())

    async def read_logs(self) -> None:
        start, stop = sorted(self.chance.randint(0, self.height) for _ in range(2))
        query: dict[str, Any] = {"fromBlock": hex(start), "toBlock": hex(stop)}
        if self.chance.random() < 0.5:
            query["address"] = PROBE_ADDRESS
        if self.chance.random() < 0.5:
            topics = [None, [f"0x{number:064x}" for number in range(self.chance.randrange(3))] or None]
            query["topics"] = topics[: self.chance.randint(1, 2)]
        await self.pair(log_facts, "eth_getLogs", query)

    async def read_block(self) -> None:
        number = hex(self.chance.randint(0, self.height + 1))
        if number != "0x0":
            await self.pair(lambda block: picked(block, BLOCK_FIELDS), "eth_getBlockByNumber", number, False)
        # Above the head, go-ethereum answers null and anvil refuses.
        await self.pair(
            same, "eth_getBlockTransactionCountByNumber", hex(self.chance.randint(1, self.height))
        )

    async def read_transaction(self) -> None:
        if self.sent:
            wanted = self.chance.choice(self.sent)
            await self.pair(receipt_facts, "eth_getTransactionReceipt", wanted)
            await self.pair(transaction_facts, "eth_getTransactionByHash", wanted)

    async def call(self) -> None:
        call = {"from": ACCOUNTS[0][0], "to": PROBE_ADDRESS, "data": self.data()}
        await self.pair(same, "eth_call", call, "latest")
        number = hex(self.chance.randint(1, self.height))
        await self.pair(same, "eth_call", {"to": PROBE_ADDRESS, "data": call_data("count")}, number)


@asynccontextmanager
async def pair_of_nodes(seed: int) -> AsyncIterator[Pair]:
    """Both nodes with equal chains, mining on request only."""
    settings = ChainSettings(auto_mine=False, base_timestamp=BASE_TIMESTAMP)
    timeout = aiohttp.ClientTimeout(total=WAIT_S)
    flags = ("--no-mining", "--hardfork", "prague", "--timestamp", str(BASE_TIMESTAMP))
    with anvil(*flags) as theirs:
        async with aiohttp.ClientSession(timeout=timeout) as session, ChainServer(settings) as server:
            yield Pair(session, server.url, theirs, seed)


@pytest.mark.parametrize("seed", SEEDS)
async def test_equal_requests_get_equal_answers(seed: int) -> None:
    async with pair_of_nodes(seed) as pair:
        walk = Walk(pair, Random(seed))  # noqa: S311
        await walk.deploy()
        for _ in range(STEPS):
            await walk.step()
        await pair(log_facts, "eth_getLogs", {"fromBlock": "0x0"})
    assert walk.sent


async def test_anvil_reorg_does_the_same_at_both() -> None:
    async with pair_of_nodes(0) as pair:
        sent = []
        for nonce in range(5):
            raw = signed(nonce=nonce, value=nonce, maxFeePerGas=100 * GWEI)
            sent.append(await pair(same, "eth_sendRawTransaction", "0x" + raw.hex()))
            await pair(anything, "evm_mine", BASE_TIMESTAMP + 10 * (nonce + 1))
        added = [
            ["0x" + signed(1, value=7, maxFeePerGas=100 * GWEI).hex(), 0],
            ["0x" + signed(nonce=2, value=8, maxFeePerGas=100 * GWEI).hex(), 1],
        ]
        await pair(anything, "anvil_reorg", 3, added)
        await pair(same, "eth_blockNumber")
        for height in range(1, 6):
            await pair(height_and_hashes, "eth_getBlockByNumber", hex(height), False)
        for each in sent:
            await pair(height_if_any, "eth_getTransactionReceipt", each)
            await pair(height_if_any, "eth_getTransactionByHash", each)
        for address, _ in ACCOUNTS[:2]:
            await pair(same, "eth_getTransactionCount", address, "latest")
        await pair(counts, "txpool_status")


def height_and_hashes(block: Any) -> Any:
    return picked(block, ("number", "transactions"))


def height_if_any(found: Any) -> Any:
    return found and found["blockNumber"]
