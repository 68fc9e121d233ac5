"""What the tests of the local chain share: the probe contract, signed transactions, a server in a thread."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_utils.address import to_checksum_address
from web3 import HTTPProvider, Web3
from web3.contract import Contract

from hardhat_free_chain import ChainServer, ChainSettings, LocalChain, deterministic_accounts

CHAIN_ID = 31337
GWEI = 10**9
PROBE: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "chain_probe.json").read_text())
ACCOUNTS = deterministic_accounts(10)
TRANSFER_GAS = 21_000
codec = Web3().eth.contract(abi=PROBE["abi"], bytecode=PROBE["bytecode"])


def signed(index: int = 0, **fields: Any) -> bytes:
    """A signed transfer of 1 wei from a development account; `fields` change or complete it."""
    transaction = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": 0,
        "to": ACCOUNTS[1][0],
        "value": 1,
        "gas": TRANSFER_GAS,
        "maxFeePerGas": 3 * GWEI,
        "maxPriorityFeePerGas": GWEI,
        **fields,
    }
    if transaction["to"] is None:
        del transaction["to"]
    else:
        transaction["to"] = to_checksum_address(transaction["to"])
    return bytes(Account.sign_transaction(transaction, ACCOUNTS[index][1]).raw_transaction)


def legacy(index: int = 0, **fields: Any) -> bytes:
    """A signed legacy transfer."""
    transaction = {
        "nonce": 0,
        "to": ACCOUNTS[1][0],
        "value": 1,
        "gas": TRANSFER_GAS,
        "gasPrice": 3 * GWEI,
        **fields,
    }
    return bytes(Account.sign_transaction(transaction, ACCOUNTS[index][1]).raw_transaction)


def call_data(function: str, *args: Any) -> str:
    """The probe's call data."""
    return str(codec.encode_abi(function, args=list(args)))


def deploy_on(chain: LocalChain, index: int = 0) -> bytes:
    """Deploy the probe on a chain in process as the account's first transaction; returns its address."""
    raw = signed(index, to=None, value=0, gas=2_000_000, data=PROBE["bytecode"])
    receipt = chain.ledger.transaction(chain.send_raw_transaction(raw))
    assert receipt is not None
    return bytes.fromhex(receipt.receipt["contractAddress"][2:])


def deploy(client: Web3, index: int = 0) -> Contract:
    """Deploy the probe through a client."""
    contract = client.eth.contract(abi=PROBE["abi"], bytecode=PROBE["bytecode"])
    transaction = contract.constructor().transact({"from": ACCOUNTS[index][0]})
    receipt = client.eth.wait_for_transaction_receipt(transaction, timeout=10)
    assert receipt["contractAddress"] is not None
    return client.eth.contract(address=receipt["contractAddress"], abi=PROBE["abi"])


@contextmanager
def served(settings: ChainSettings | None = None) -> Iterator[ChainServer]:
    """A server on a loop in a thread of its own, for synchronous clients."""
    ready = threading.Event()
    started: list[ChainServer] = []
    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        async with ChainServer(settings or ChainSettings()) as server:
            stop = asyncio.Event()
            started.append(server)
            stops.append((asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert ready.wait(20), "the chain did not start"
        yield started[0]
    finally:
        for loop, stop in stops:
            loop.call_soon_threadsafe(stop.set)
        thread.join(20)
    assert not thread.is_alive()


@contextmanager
def connected(server: ChainServer) -> Iterator[Web3]:
    """A synchronous web3 client that closes its connections."""
    provider = HTTPProvider(server.url, request_kwargs={"timeout": 20})
    client = Web3(provider)
    try:
        yield client
    finally:
        for session in provider._request_session_manager.session_cache._data.values():
            session.close()


def rpc(client: Web3, method: str, *params: Any) -> Any:
    """One raw JSON-RPC call; returns its whole answer."""
    return client.provider.make_request(method, list(params))  # type: ignore[arg-type]
