"""Reading of a pool what became of transactions, and what one would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from contracts.rpc import quantities as q
from contracts.rpc.connection import Outcome, Request
from contracts.rpc.errors import BlockMissing, RpcError
from contracts.rpc.pool import NobodyAnswered, Pool, passes_on
from contracts.rpc.reading import Judge, answered, parsed, senseless
from contracts.rpc.records import Receipt, parse_receipt
from contracts.rpc.refusals import ErrorObject, Kind, error_of_call, kind_of

RECEIPT = "eth_getTransactionReceipt"
_T = TypeVar("_T")


async def read_receipts(pool: Pool, hashes: Sequence[bytes]) -> list[Receipt | None]:
    """Return the receipts of transactions, in their order; None for what is not mined.

    None is believed where every endpoint that answers says so, of those that have come as far as the reader:
    one may lag by a block, or have pruned.
    """

    async def attempt() -> list[Receipt | None]:
        found: dict[bytes, Receipt] = {}
        errors: list[RpcError] = []
        asked = 0
        for endpoint in pool.ranked():
            missing = [each for each in hashes if each not in found]
            if not missing:
                break
            requests: list[Request] = [(RECEIPT, [q.encode_data(each)]) for each in missing]
            try:
                await pool.require(endpoint, "latest")
                found |= await endpoint.ask(requests, _receipts_judge(missing))
            except RpcError as error:
                if not passes_on(error):
                    raise
                errors.append(error)
            else:
                asked += 1
        if hashes and not asked:
            raise NobodyAnswered(errors)
        return [found.get(each) for each in hashes]

    return await pool.patiently(attempt)


def _receipts_judge(hashes: Sequence[bytes]) -> Judge[dict[bytes, Receipt]]:
    def judge(name: str, outcomes: list[Outcome]) -> dict[bytes, Receipt]:
        found = {}
        for asked, outcome in zip(hashes, outcomes, strict=True):
            receipt = answered(name, RECEIPT, parse_receipt, outcome)
            if receipt is None:
                continue
            if receipt.transaction_hash != asked:
                raise senseless(name, RECEIPT, "the receipt of another transaction")
            found[asked] = receipt
        return found

    return judge


async def read_attempt(
    pool: Pool,
    method: str,
    transaction: Mapping[str, str],
    parse: Callable[[Any], _T],
    *,
    block: q.BlockReference | None = None,
) -> _T:
    """Return what a node makes of a transaction that is not sent. Raises CallReverted, BlockMissing.

    Without a block the node's newest one is meant, and none is named.
    """

    def judge(name: str, outcomes: list[Outcome]) -> _T:
        if not isinstance(outcomes[0], ErrorObject):
            return parsed(name, method, parse, outcomes[0])
        if block is not None and kind_of(method, outcomes[0]) is Kind.UNKNOWN_BLOCK:
            raise BlockMissing(q.describe_block(block))
        raise error_of_call(transaction.get("to", "in deployment"), name, method, outcomes[0])

    at = [] if block is None else [q.encode_block(block)]
    request = (method, [transaction, *at])
    return await pool.read([request], judge, block="latest" if block is None else block)
