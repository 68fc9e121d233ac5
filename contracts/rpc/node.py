"""A chain node as typed reads and one write, whether one endpoint stands behind it or several.

Owns what each method asks and how its answer is read; who is asked is the pool's business. Reads are repeated
a few times at once when nobody answers; whoever needs more patience brings it. A write and the raw door are
sent once. It must not import the orchestrator: durability is its callers' business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from copy import copy
from types import TracebackType
from typing import Any, Self, TypeVar

from eth_utils.crypto import keccak

from contracts.bindings import Log
from contracts.rpc import log_reader, refusals
from contracts.rpc import quantities as q
from contracts.rpc.call_reader import Call, answers_of, read_calls
from contracts.rpc.connection import Outcome
from contracts.rpc.errors import NoCode, RpcError, RpcRefused, WrongChain
from contracts.rpc.examination import Examined, examine
from contracts.rpc.log_query import LogPage, LogQuery, Topic
from contracts.rpc.multicall import Multicall
from contracts.rpc.pool import Pool
from contracts.rpc.quorum import read_header, read_headers
from contracts.rpc.reading import answered, judge, senseless
from contracts.rpc.records import BlockHeader, Fees, Receipt, mapping
from contracts.rpc.settings import PoolSettings
from contracts.rpc.transaction_reader import RECEIPT, read_attempt, read_receipts

PRIORITY_FEE_DEFAULT = 10**9
_T = TypeVar("_T")
_Block = TypeVar("_Block", q.BlockReference, q.BlockReference | None)


class Node:
    """One node, or several of one chain. Enter it before use; share it freely within one event loop.

    `urls` is one URL or a sequence of them. `chain_id`, where given, is checked on entering and after that
    now and then. `timeout_s` bounds each request. `settings` say how several endpoints work together.
    `requests_by_method` counts what was asked, each call of a batch as one, and not how often it had to be
    repeated or of how many endpoints.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        chain_id: int | None = None,
        timeout_s: float = 10.0,
        settings: PoolSettings | None = None,
    ) -> None:
        several = [urls] if isinstance(urls, str) else list(urls)
        self.pool = Pool(several, chain_id=chain_id, timeout_s=timeout_s, settings=settings or PoolSettings())
        self._expected_chain_id = chain_id
        self._multicall = Multicall(self.pool)
        self._finality_depth: int | None = None
        self.requests_by_method: Counter[str] = Counter()

    @property
    def endpoint(self) -> str:
        """The endpoints' addresses for messages, without what may be secret in them."""
        return self.pool.endpoint

    async def __aenter__(self) -> Self:
        """Open the connections. Raises WrongChain, NodeUnavailable or RpcRefused."""
        if self._expected_chain_id is not None:
            self.requests_by_method["eth_chainId"] += 1
        await self.pool.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.pool.__aexit__(kind, error, trace)

    def with_quorum(self, quorum: int) -> Self:
        """Return this node for reads on which so many endpoints must agree: headers, finality and logs.

        It lives as long as this one, which opens and closes it. Raises ValueError for too few endpoints.
        """
        twin = copy(self)
        twin.pool = self.pool.with_quorum(quorum)
        return twin

    def with_finality(self, depth: int | None) -> Self:
        """Return this node with `finalized` so many blocks below its head; None leaves it to the node's tag.

        For chains without the tag, or whose tag is not real. It is otherwise as `with_quorum` returns one.
        """
        twin = copy(self)
        twin._finality_depth = depth
        return twin

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
        return await self._ask("eth_chainId", q.decode_quantity)

    async def header(self, block: q.BlockReference) -> BlockHeader:
        """Return the block of a number, a tag or a hash. Raises BlockMissing where the node has none.

        Of several endpoints, a quorum agrees where one is set; Disagreement tells who said what. A tag never
        goes back behind what was answered before while any endpoint has come as far.
        """
        if block == "finalized" and self._finality_depth is not None:
            head = await self.header("latest")
            return await self.header(max(head.number - self._finality_depth, 0))
        if not isinstance(block, bytes):
            q.encode_number(block)
        method = "eth_getBlockByHash" if isinstance(block, bytes) else "eth_getBlockByNumber"
        self.requests_by_method[method] += 1
        return await read_header(self.pool, block)

    async def headers(self, numbers: Sequence[int]) -> list[BlockHeader]:
        """Return the blocks of these numbers, in their order, by one batch. Raises BlockMissing."""
        self.requests_by_method["eth_getBlockByNumber"] += len(numbers)
        return await read_headers(self.pool, numbers)

    async def examine(self) -> list[Examined]:
        """Ask every endpoint by itself for its chain and its head, and tell what came of it."""
        return await examine(self.pool)

    # -- logs

    async def logs(
        self,
        address: str | Sequence[str],
        topics: Sequence[Topic | Sequence[Topic]],
        first: int,
        last: int,
    ) -> list[Log]:
        """Return the logs of the blocks `first` to `last`, both included, in the order of the chain.

        A node that does not yet know `last` may answer less than there is: ask only for what its head covers;
        of several endpoints, only those are asked that have that block. An answer outside of what was asked
        is taken for no answer (NodeUnavailable). Raises RangeRefused for a range that is too wide.
        """
        self.requests_by_method["eth_getLogs"] += 1
        return await log_reader.read_range(self.pool, LogQuery.of(address, topics), first, last)

    async def logs_from(
        self,
        address: str | Sequence[str],
        topics: Sequence[Topic | Sequence[Topic]],
        first: int,
        last: int,
    ) -> LogPage:
        """Return the logs from `first` on, of as many blocks up to `last` as the endpoint gives at once.

        The endpoint shows that it has the last of them. Each one's limits are learnt from answers and
        refusals. Raises RangeRefused only where one block is too much for it.
        """
        self.requests_by_method["eth_getLogs"] += 1
        return await log_reader.read_page(self.pool, LogQuery.of(address, topics), first, last)

    async def logs_of_block(
        self, address: str | Sequence[str], topics: Sequence[Topic | Sequence[Topic]], block_hash: bytes
    ) -> list[Log]:
        """Return the logs of the block of a hash: a node without it says so, and does not answer none.

        Raises BlockMissing.
        """
        self.requests_by_method["eth_getLogs"] += 1
        return await log_reader.read_block(self.pool, LogQuery.of(address, topics), block_hash)

    async def complete_logs(
        self,
        address: str | Sequence[str],
        topics: Sequence[Topic | Sequence[Topic]],
        header: BlockHeader,
    ) -> list[Log]:
        """Return the logs of a block, taken from all of its logs, which account for its bloom filter.

        Raises LogsIncomplete where no endpoint gives so many, BlockMissing, and RpcRefused where none can be
        asked for all logs of a block.
        """
        self.requests_by_method["eth_getLogs"] += 1
        return await log_reader.read_complete(self.pool, LogQuery.of(address, topics), header)

    # -- contracts and accounts

    async def call(self, to: str, data: bytes, block: q.BlockReference = "latest") -> bytes:
        """Return what a call answers. Raises CallReverted, NoCode, BlockMissing."""
        outcome = (await self.call_each([(to, data)], block))[0]
        if isinstance(outcome, RpcError):
            raise outcome
        return outcome

    async def call_many(self, calls: Sequence[Call], block: q.BlockReference = "latest") -> list[bytes]:
        """Return the answers of many calls at one block, in their order; the first failure is raised."""
        return answers_of(await self.call_each(calls, block))

    async def call_each(
        self, calls: Sequence[Call], block: q.BlockReference = "latest"
    ) -> list[bytes | RpcError]:
        """Return the outcome of each call: its answer, or CallReverted, NoCode or RpcRefused as a value.

        What concerns the node and not one call (NodeUnavailable, BlockMissing) is raised.
        """
        block = await self._resolved(block)
        self.requests_by_method["eth_call"] += len(calls)
        outcomes = await read_calls(self.pool, calls, block)
        return await self._told_from_nothing(calls, outcomes, block)

    async def multicall(
        self, calls: Sequence[Call], block: q.BlockReference = "latest"
    ) -> list[bytes | RpcError]:
        """Return the outcomes of any number of calls at one block, as `call_each` does, by few requests.

        Multicall3 carries them, or what stands in for it. The contracts see another sender than in a single
        call; a tag stands for the block that it names when this begins.
        """
        if isinstance(block, str) and block != "pending":
            block = (await self.header(block)).number
        self.requests_by_method["eth_call"] += len(calls)
        outcomes = await self._multicall.read(calls, block)
        return await self._told_from_nothing(calls, outcomes, block)

    async def _told_from_nothing(
        self, calls: Sequence[Call], outcomes: Sequence[bytes | RpcError], block: q.BlockReference
    ) -> list[bytes | RpcError]:
        """Tell an empty answer of a contract from that of an address without code, asked once each."""
        silent = {to for (to, _), outcome in zip(calls, outcomes, strict=True) if outcome == b""}
        empty = {to for to in silent if not await self.code(to, block)}
        return [
            NoCode(to) if outcome == b"" and to in empty else outcome
            for (to, _), outcome in zip(calls, outcomes, strict=True)
        ]

    async def code(self, address: str, block: q.BlockReference = "latest") -> bytes:
        """Return the code at an address, empty if there is none."""
        return await self._ask("eth_getCode", q.decode_data, q.encode_address(address), block=block)

    async def balance(self, address: str, block: q.BlockReference = "latest") -> int:
        """Return an account's balance in wei."""
        return await self._ask("eth_getBalance", q.decode_quantity, q.encode_address(address), block=block)

    async def nonce(self, address: str, block: q.BlockReference = "latest") -> int:
        """Return how many transactions an account has sent, with `pending` those of the mempool too."""
        method = "eth_getTransactionCount"
        return await self._ask(method, q.decode_quantity, q.encode_address(address), block=block)

    # -- transactions

    async def estimate_gas(self, sender: str, to: str | None, data: bytes, value: int = 0) -> int:
        """Return the gas that a transaction would use; `to` is None for a deployment. Raises CallReverted."""
        method = "eth_estimateGas"
        self.requests_by_method[method] += 1
        transaction = _transaction(sender, to, data, value)
        return await read_attempt(self.pool, method, transaction, q.decode_quantity)

    async def simulate(
        self, sender: str, to: str, data: bytes, value: int = 0, block: q.BlockReference = "latest"
    ) -> bytes:
        """Return what a transaction of `sender` would answer at a block.

        Raises CallReverted, BlockMissing.
        """
        block = await self._resolved(block)
        self.requests_by_method["eth_call"] += 1
        transaction = _transaction(sender, to, data, value)
        return await read_attempt(self.pool, "eth_call", transaction, q.decode_data, block=block)

    async def fees(self) -> Fees:
        """Return what gas costs now. Raises RpcRefused on a chain without a base fee (before EIP-1559)."""
        method = "eth_getBlockByNumber"
        base_fee = await self._ask(method, _base_fee, "latest", False)
        if base_fee is None:
            raise RpcRefused(method, 0, "this chain has no base fee (EIP-1559)")
        return Fees(base_fee=base_fee, priority_fee=await self._priority_fee())

    async def _priority_fee(self) -> int:
        try:
            return await self._ask("eth_maxPriorityFeePerGas", q.decode_quantity)
        except RpcRefused as error:
            if error.code != refusals.METHOD_NOT_FOUND:
                raise
            return PRIORITY_FEE_DEFAULT

    async def send_raw(self, raw: bytes) -> bytes:
        """Broadcast a signed transaction and return its hash; one that the node already holds is a success.

        Sent once, to one endpoint or to all (`PoolSettings.broadcast`). After NodeUnavailable the transaction
        may be known or not, unless the error is `unsent`. Raises RpcRefused with the node's own words (nonce
        too low or too high, underpriced, insufficient funds).
        """
        method, transaction_hash = "eth_sendRawTransaction", keccak(raw)

        def judged(name: str, outcomes: list[Outcome]) -> bytes:
            try:
                answer = answered(name, method, q.decode_hash, outcomes[0])
            except RpcRefused as error:
                if not refusals.means_known(error):
                    raise
                return transaction_hash
            if answer != transaction_hash:
                raise senseless(name, method, f"the hash of another transaction, {q.encode_data(answer)}")
            return answer

        self.requests_by_method[method] += 1
        return await self.pool.broadcast((method, [q.encode_data(raw)]), judged)

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """Return the receipt of a mined transaction, None while there is none.

        Of several endpoints, none that answers may have one, and each has come as far as what was read
        before.
        """
        return (await self.receipts([transaction_hash]))[0]

    async def receipts(self, transaction_hashes: Sequence[bytes]) -> list[Receipt | None]:
        """Return the receipts of many transactions, in their order, as `receipt` does."""
        self.requests_by_method[RECEIPT] += len(transaction_hashes)
        return await read_receipts(self.pool, transaction_hashes)

    # -- asking

    async def request(self, method: str, params: Sequence[object]) -> Any:
        """Send any request, once, and return its JSON result. Raises NodeUnavailable or RpcRefused."""
        self.requests_by_method[method] += 1
        return await self.pool.send((method, params), judge(method, _as_it_is))

    async def _resolved(self, block: _Block) -> _Block:
        """Return the number that `finalized` stands for where a depth says so, else the block as it is."""
        if block != "finalized" or self._finality_depth is None:
            return block
        return (await self.header(block)).number

    async def _ask(
        self,
        method: str,
        parse: Callable[[Any], _T],
        *params: object,
        block: q.BlockReference | None = None,
    ) -> _T:
        """Read; `block`, the last parameter where given, is what may be missing."""
        block = await self._resolved(block)
        self.requests_by_method[method] += 1
        at = [] if block is None else [q.encode_block(block)]
        return await self.pool.read(
            [(method, [*params, *at])], judge(method, parse, block=block), block=block
        )


def _transaction(sender: str, to: str | None, data: bytes, value: int) -> dict[str, str]:
    transaction = {
        "from": q.encode_address(sender),
        "data": q.encode_data(data),
        "value": q.encode_quantity(value),
    }
    return transaction if to is None else transaction | {"to": q.encode_address(to)}


def _as_it_is(answer: Any) -> Any:
    return answer


def _base_fee(answer: object) -> int | None:
    base_fee = mapping(answer).get("baseFeePerGas")
    return None if base_fee is None else q.decode_quantity(base_fee)
