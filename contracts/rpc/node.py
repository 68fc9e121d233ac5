"""A chain node as typed reads and one write. One endpoint now; whatever stands behind it keeps this face.

Owns what each method asks and how its answer is read. Reads are repeated a few times at once when the node is
unavailable; whoever needs more patience brings it. A write and the raw door are sent once. It must not import
the orchestrator: durability is its callers' business.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from eth_utils.crypto import keccak

from contracts.bindings import Log, MalformedLogError
from contracts.rpc import quantities as q
from contracts.rpc import refusals
from contracts.rpc.connection import Connection, Outcome
from contracts.rpc.errors import BlockMissing, NoCode, NodeUnavailable, RpcError, RpcRefused, WrongChain
from contracts.rpc.records import BlockHeader, Fees, Receipt, mapping, parse_header, parse_logs, parse_receipt
from contracts.rpc.refusals import ErrorObject

Topic = bytes | str | None
Call = tuple[str, bytes]
"""An address and the call data for it."""

READ_PAUSES_S = (0.1, 0.4)
BATCH_CALLS_MAX = 100
PRIORITY_FEE_DEFAULT = 10**9
_T = TypeVar("_T")


class Node:
    """One node. Enter it before use; share it freely within one event loop.

    `chain_id`, where given, is checked on entering. `timeout_s` bounds each request. `requests_by_method`
    counts what was asked, each call of a batch as one, and not how often it had to be repeated.
    """

    def __init__(self, url: str, *, chain_id: int | None = None, timeout_s: float = 10.0) -> None:
        self._connection = Connection(url, timeout_s)
        self._expected_chain_id = chain_id
        self.requests_by_method: Counter[str] = Counter()

    @property
    def endpoint(self) -> str:
        """The node's address for messages, without what may be secret in it."""
        return self._connection.endpoint

    async def __aenter__(self) -> Self:
        """Open the connection. Raises WrongChain, NodeUnavailable or RpcRefused."""
        await self._connection.__aenter__()
        try:
            await self.check_chain()
        except BaseException:
            await self._connection.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.__aexit__(kind, error, trace)

    # -- chain and blocks

    async def check_chain(self) -> None:
        """Ask for the chain id and compare it with the expected one, if there is one. Raises WrongChain."""
        if self._expected_chain_id is None:
            return
        actual = await self.chain_id()
        if actual != self._expected_chain_id:
            raise WrongChain(self._expected_chain_id, actual, self.endpoint)

    async def chain_id(self) -> int:
        """Return the id of the chain that the node serves."""
        return self._read("eth_chainId", q.decode_quantity, await self._ask("eth_chainId"))

    async def header(self, block: q.BlockReference) -> BlockHeader:
        """Return the block of a number, a tag or a hash. Raises BlockMissing where the node has none."""
        if isinstance(block, bytes):
            method, key = "eth_getBlockByHash", q.encode_data(block)
        else:
            method, key = "eth_getBlockByNumber", q.encode_number(block)
        answer = await self._ask(method, key, False, block=block)
        if answer is None:
            raise BlockMissing(q.describe_block(block))
        header = self._read(method, parse_header, answer)
        if block not in q.BLOCK_TAGS and block not in (header.number, header.hash):
            raise self._senseless(method, f"block {header.number} was answered for {q.describe_block(block)}")
        return header

    async def logs(
        self,
        address: str | Sequence[str],
        topics: Sequence[Topic | Sequence[Topic]],
        first: int,
        last: int,
    ) -> list[Log]:
        """Return the logs of the blocks `first` to `last`, both included, in the order of the chain.

        A node that does not yet know `last` may answer less than there is: ask only for what its head covers.
        An answer outside of what was asked is taken for no answer (NodeUnavailable).
        """
        addresses = {address.lower()} if isinstance(address, str) else {each.lower() for each in address}
        asked = {
            "address": q.encode_address(address) if isinstance(address, str) else sorted(addresses),
            "fromBlock": q.encode_quantity(first),
            "toBlock": q.encode_quantity(last),
            "topics": [_encode_topic(topic) for topic in topics],
        }
        logs = self._read("eth_getLogs", parse_logs, await self._ask("eth_getLogs", asked, block=last))
        for log in logs:
            if not (first <= log.block_number <= last and log.address in addresses):
                raise self._senseless("eth_getLogs", f"a log of {log.address} in block {log.block_number}")
        return logs

    # -- contracts and accounts

    async def call(self, to: str, data: bytes, block: q.BlockReference = "latest") -> bytes:
        """Return what a call answers. Raises CallReverted, NoCode, BlockMissing."""
        outcome = (await self.call_each([(to, data)], block))[0]
        if isinstance(outcome, RpcError):
            raise outcome
        return outcome

    async def call_many(self, calls: Sequence[Call], block: q.BlockReference = "latest") -> list[bytes]:
        """Return the answers of many calls at one block, in their order; the first failure is raised."""
        answers: list[bytes] = []
        for outcome in await self.call_each(calls, block):
            if isinstance(outcome, RpcError):
                raise outcome
            answers.append(outcome)
        return answers

    async def call_each(
        self, calls: Sequence[Call], block: q.BlockReference = "latest"
    ) -> list[bytes | RpcError]:
        """Return the outcome of each call: its answer, or CallReverted, NoCode or RpcRefused as a value.

        What concerns the node and not one call (NodeUnavailable, BlockMissing) is raised.
        """
        outcomes: list[bytes | RpcError] = []
        for start in range(0, len(calls), BATCH_CALLS_MAX):
            outcomes += await self._call_chunk(calls[start : start + BATCH_CALLS_MAX], block)
        return outcomes

    async def _call_chunk(self, calls: Sequence[Call], block: q.BlockReference) -> list[bytes | RpcError]:
        at = q.encode_block(block)
        requests = [
            ("eth_call", [{"to": q.encode_address(to), "data": q.encode_data(data)}, at])
            for to, data in calls
        ]
        outcomes = await self._ask_many(requests)
        return [
            await self._call_outcome(to, outcome, block)
            for (to, _), outcome in zip(calls, outcomes, strict=True)
        ]

    async def _call_outcome(self, to: str, outcome: Outcome, block: q.BlockReference) -> bytes | RpcError:
        if isinstance(outcome, ErrorObject):
            if refusals.means_missing_block(outcome):
                raise BlockMissing(q.describe_block(block))
            error = refusals.error_of_call(to, self.endpoint, "eth_call", outcome)
            if isinstance(error, NodeUnavailable):
                raise error
            return error
        answer = self._read("eth_call", q.decode_data, outcome)
        if not answer and not await self.code(to, block):
            return NoCode(to)
        return answer

    async def code(self, address: str, block: q.BlockReference = "latest") -> bytes:
        """Return the code at an address, empty if there is none."""
        answer = await self._ask("eth_getCode", q.encode_address(address), q.encode_block(block), block=block)
        return self._read("eth_getCode", q.decode_data, answer)

    async def balance(self, address: str, block: q.BlockReference = "latest") -> int:
        """Return an account's balance in wei."""
        answer = await self._ask(
            "eth_getBalance", q.encode_address(address), q.encode_block(block), block=block
        )
        return self._read("eth_getBalance", q.decode_quantity, answer)

    async def nonce(self, address: str, block: q.BlockReference = "latest") -> int:
        """Return how many transactions an account has sent, with `pending` those of the mempool too."""
        method = "eth_getTransactionCount"
        answer = await self._ask(method, q.encode_address(address), q.encode_block(block), block=block)
        return self._read(method, q.decode_quantity, answer)

    # -- transactions

    async def estimate_gas(self, sender: str, to: str | None, data: bytes, value: int = 0) -> int:
        """Return the gas that a transaction would use; `to` is None for a deployment. Raises CallReverted."""
        transaction = {
            "from": q.encode_address(sender),
            "data": q.encode_data(data),
            "value": q.encode_quantity(value),
        }
        if to is not None:
            transaction["to"] = q.encode_address(to)
        outcome = (await self._ask_many([("eth_estimateGas", [transaction])]))[0]
        if isinstance(outcome, ErrorObject):
            raise refusals.error_of_call(to or "in deployment", self.endpoint, "eth_estimateGas", outcome)
        return self._read("eth_estimateGas", q.decode_quantity, outcome)

    async def simulate(
        self, sender: str, to: str, data: bytes, value: int = 0, block: q.BlockReference = "latest"
    ) -> bytes:
        """Return what a transaction of `sender` would answer at a block.

        Raises CallReverted, BlockMissing.
        """
        transaction = {
            "from": q.encode_address(sender),
            "to": q.encode_address(to),
            "data": q.encode_data(data),
            "value": q.encode_quantity(value),
        }
        outcome = (await self._ask_many([("eth_call", [transaction, q.encode_block(block)])]))[0]
        if isinstance(outcome, ErrorObject):
            if refusals.means_missing_block(outcome):
                raise BlockMissing(q.describe_block(block))
            raise refusals.error_of_call(to, self.endpoint, "eth_call", outcome)
        return self._read("eth_call", q.decode_data, outcome)

    async def fees(self) -> Fees:
        """Return what gas costs now. Raises RpcRefused on a chain without a base fee (before EIP-1559)."""
        block = self._read(
            "eth_getBlockByNumber", mapping, await self._ask("eth_getBlockByNumber", "latest", False)
        )
        if block.get("baseFeePerGas") is None:
            raise RpcRefused("eth_getBlockByNumber", 0, "this chain has no base fee (EIP-1559)")
        base_fee = self._read("eth_getBlockByNumber", q.decode_quantity, block["baseFeePerGas"])
        return Fees(base_fee=base_fee, priority_fee=await self._priority_fee())

    async def _priority_fee(self) -> int:
        method = "eth_maxPriorityFeePerGas"
        try:
            return self._read(method, q.decode_quantity, await self._ask(method))
        except RpcRefused as error:
            if error.code != refusals.METHOD_NOT_FOUND:
                raise
            return PRIORITY_FEE_DEFAULT

    async def send_raw(self, raw: bytes) -> bytes:
        """Broadcast a signed transaction and return its hash; one that the node already holds is a success.

        Sent once. After NodeUnavailable the transaction may be known or not. Raises RpcRefused with the
        node's own words (nonce too low or too high, underpriced, insufficient funds).
        """
        transaction_hash = keccak(raw)
        try:
            answer = await self.request("eth_sendRawTransaction", [q.encode_data(raw)])
        except RpcRefused as error:
            if not refusals.means_known(error):
                raise
            return transaction_hash
        if self._read("eth_sendRawTransaction", q.decode_hash, answer) != transaction_hash:
            raise self._senseless("eth_sendRawTransaction", f"the hash of another transaction, {answer}")
        return transaction_hash

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """Return the receipt of a mined transaction, None while there is none."""
        method = "eth_getTransactionReceipt"
        receipt = self._read(method, parse_receipt, await self._ask(method, q.encode_data(transaction_hash)))
        if receipt is not None and receipt.transaction_hash != transaction_hash:
            raise self._senseless(method, "the receipt of another transaction")
        return receipt

    async def receipts(self, transaction_hashes: Sequence[bytes]) -> list[Receipt | None]:
        """Return the receipts of many transactions, in their order, as `receipt` does."""
        method = "eth_getTransactionReceipt"
        found: list[Receipt | None] = []
        for start in range(0, len(transaction_hashes), BATCH_CALLS_MAX):
            chunk = transaction_hashes[start : start + BATCH_CALLS_MAX]
            outcomes = await self._ask_many([(method, [q.encode_data(each)]) for each in chunk])
            for asked, outcome in zip(chunk, outcomes, strict=True):
                if isinstance(outcome, ErrorObject):
                    raise refusals.error_of(self.endpoint, method, outcome)
                receipt = self._read(method, parse_receipt, outcome)
                if receipt is not None and receipt.transaction_hash != asked:
                    raise self._senseless(method, "the receipt of another transaction")
                found.append(receipt)
        return found

    # -- asking

    async def request(self, method: str, params: Sequence[object]) -> Any:
        """Send any request, once, and return its JSON result. Raises NodeUnavailable or RpcRefused."""
        self.requests_by_method[method] += 1
        outcome = await self._connection.request(method, params)
        if isinstance(outcome, ErrorObject):
            raise refusals.error_of(self.endpoint, method, outcome)
        return outcome

    async def _ask(self, method: str, *params: object, block: q.BlockReference | None = None) -> object:
        """Read once or, while the node is unavailable, a few times; `block` is what may be missing."""
        outcome = (await self._ask_many([(method, params)]))[0]
        if not isinstance(outcome, ErrorObject):
            return outcome
        if block is not None and refusals.means_missing_block(outcome):
            raise BlockMissing(q.describe_block(block))
        raise refusals.error_of(self.endpoint, method, outcome)

    async def _ask_many(self, requests: Sequence[tuple[str, Sequence[object]]]) -> list[Outcome]:
        self.requests_by_method.update(method for method, _ in requests)
        for pause_s in READ_PAUSES_S:
            try:
                return await self._send(requests)
            except NodeUnavailable as error:
                # A node that names its own pause, or has used up its time, is the caller's to wait for.
                if error.retry_after_s is not None or isinstance(error.__cause__, TimeoutError):
                    raise
                await asyncio.sleep(pause_s)
        return await self._send(requests)

    async def _send(self, requests: Sequence[tuple[str, Sequence[object]]]) -> list[Outcome]:
        if len(requests) == 1:
            return [await self._connection.request(*requests[0])]
        return await self._connection.batch(requests)

    def _read(self, method: str, parse: Callable[[Any], _T], answer: object) -> _T:
        try:
            return parse(answer)
        except (ValueError, MalformedLogError) as error:
            raise self._senseless(method, str(error)) from error

    def _senseless(self, method: str, reason: str) -> NodeUnavailable:
        return NodeUnavailable(self.endpoint, f"{method}: senseless answer: {reason}")


def _encode_topic(topic: Topic | Sequence[Topic]) -> object:
    if topic is None or isinstance(topic, str):
        return topic
    return q.encode_data(topic) if isinstance(topic, bytes) else [_encode_topic(each) for each in topic]
