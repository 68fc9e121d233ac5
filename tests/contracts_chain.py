"""An in-process chain for the tests of the contracts: eth-tester on py-evm, without RPC or client library."""

import ast
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed

from contracts.artifacts import load
from contracts.bindings import ContractError, Function, Log, decode_error, deploy_data

R = TypeVar("R")
GAS = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a mined transaction left behind."""

    succeeded: bool
    gas_used: int
    logs: tuple[Log, ...]
    block_number: int
    contract: str


class Chain:
    """One tester with typed calls. `accounts` are funded, the first is the admin by convention."""

    def __init__(self) -> None:
        self.tester = EthereumTester(PyEVMBackend())
        self.accounts: list[str] = [account.lower() for account in self.tester.get_accounts()]

    def deploy(self, name: str, *arguments: object) -> str:
        receipt = self._mined(self.transmit(self.accounts[0], None, deploy_data(load(name), *arguments)))
        assert receipt.succeeded
        return receipt.contract

    def deploy_refused(self, name: str, *arguments: object) -> ContractError:
        data = deploy_data(load(name), *arguments)
        assert not self._mined(self.transmit(self.accounts[0], None, data)).succeeded
        return self._reason(self.accounts[0], None, data)

    def send(
        self, sender: str, to: str, function: Function[Any], *arguments: object, value: int = 0
    ) -> Receipt:
        data = function.encode(*arguments)
        receipt = self._mined(self.transmit(sender, to, data, value))
        assert receipt.succeeded, self._reason(sender, to, data, value)
        return receipt

    def refused(
        self, sender: str, to: str, function: Function[Any], *arguments: object, value: int = 0
    ) -> ContractError:
        """Mine the transaction, see it fail, and say why: a call at its block sees the clock that it saw."""
        data = function.encode(*arguments)
        assert not self._mined(self.transmit(sender, to, data, value)).succeeded
        return self._reason(sender, to, data, value)

    def call(self, to: str, function: Function[R], *arguments: object, sender: str | None = None) -> R:
        return function.decode(self._call(sender or self.accounts[0], to, function.encode(*arguments)))

    def call_refused(
        self, to: str, function: Function[Any], *arguments: object, sender: str | None = None
    ) -> ContractError:
        return self._reason(sender or self.accounts[0], to, function.encode(*arguments))

    def transmit(self, sender: str, to: str | None, data: bytes, value: int = 0) -> str:
        transaction = {
            "from": sender,
            "data": "0x" + data.hex(),
            "gas": GAS,
            "gas_price": 10**10,
            "value": value,
        }
        return str(self.tester.send_transaction({**transaction, "to": to} if to else transaction))

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Take back, at the end, whatever happens inside."""
        snapshot = self.tester.take_snapshot()
        yield
        self.tester.revert_to_snapshot(snapshot)

    @contextmanager
    def one_block(self) -> Iterator[Callable[..., str]]:
        """Mine everything sent inside in a single block."""
        self.tester.disable_auto_mine_transactions()

        def send(sender: str, to: str, function: Function[Any], *arguments: object) -> str:
            return self.transmit(sender, to, function.encode(*arguments))

        yield send
        self.tester.enable_auto_mine_transactions()

    def receipt(self, transaction_hash: str) -> Receipt:
        return self._mined(transaction_hash)

    def pass_time(self, seconds: int) -> None:
        """Mine one block that many seconds after the head."""
        target = self.timestamp + seconds
        # The tester means the pending block, which stands one second after the one it mines.
        self.tester.time_travel(target + 1)
        assert self.timestamp == target

    def mine(self, blocks: int) -> None:
        self.tester.mine_blocks(blocks)

    @property
    def chain_id(self) -> int:
        return int(self.tester.backend.chain.chain_id)

    @property
    def timestamp(self) -> int:
        return int(self.tester.get_block_by_number("latest")["timestamp"])

    def balance(self, account: str) -> int:
        return int(self.tester.get_balance(account))

    def _call(self, sender: str, to: str | None, data: bytes, value: int = 0) -> bytes:
        transaction = {"from": sender, "data": "0x" + data.hex(), "gas": GAS, "value": value}
        answer = self.tester.call({**transaction, "to": to} if to else transaction)
        return bytes.fromhex(answer[2:])

    def _reason(self, sender: str, to: str | None, data: bytes, value: int = 0) -> ContractError:
        with pytest.raises(TransactionFailed) as caught:
            self._call(sender, to, data, value)
        # The tester gives the bytes of a custom error as their representation.
        reason = decode_error(ast.literal_eval(str(caught.value)))
        assert reason is not None, caught.value
        return reason

    def _mined(self, transaction_hash: str) -> Receipt:
        receipt = self.tester.get_transaction_receipt(transaction_hash)
        return Receipt(
            succeeded=receipt["status"] == 1,
            gas_used=receipt["gas_used"],
            logs=tuple(_log(each) for each in receipt["logs"]),
            block_number=receipt["block_number"],
            contract=(receipt["contract_address"] or "").lower(),
        )


def _log(log: dict[str, Any]) -> Log:
    """Parse the tester's log through the shape that a node sends."""
    return Log.from_rpc(
        {
            "address": log["address"],
            "topics": list(log["topics"]),
            "data": log["data"],
            "blockNumber": hex(log["block_number"]),
            "blockHash": log["block_hash"],
            "transactionHash": log["transaction_hash"],
            "logIndex": hex(log["log_index"]),
        }
    )


def only(logs: Sequence[Log]) -> Log:
    """The one log there is."""
    assert len(logs) == 1, logs
    return logs[0]


def refusal(name: str, **arguments: object) -> ContractError:
    """The refusal that a test expects."""
    return ContractError(name=name, arguments=arguments)
