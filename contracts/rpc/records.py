"""What a node answers, parsed once at the edge.

Pure. Each `parse_*` raises ValueError or MalformedLogError for an answer that is not of its shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.bindings import Log
from contracts.rpc.quantities import decode_address, decode_data, decode_hash, decode_quantity

BLOOM_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockHeader:
    """A block's place in its chain. `timestamp` is in Unix seconds, never milliseconds.

    `logs_bloom` is the filter of its logs (`contracts.rpc.bloom`), None where the node gave none.
    """

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    logs_bloom: bytes | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """What gas costs now, in wei a gas: the base fee of the newest block, and the tip that nodes suggest."""

    base_fee: int
    priority_fee: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A mined transaction. `status` is 1 for success, 0 for a revert; wei a gas, where the node tells it."""

    transaction_hash: bytes
    block_number: int
    block_hash: bytes
    status: int
    gas_used: int
    contract_address: str | None
    logs: tuple[Log, ...]
    effective_gas_price: int | None = None


def mapping(answer: object) -> Mapping[str, object]:
    """Return a JSON object as what it is."""
    if not isinstance(answer, dict):
        raise ValueError(f"an object was expected, not {answer!r:.100}")
    return answer


def parse_header(answer: object) -> BlockHeader:
    """Parse a block of eth_getBlockBy…; a pending block, which has no hash, is refused."""
    block = mapping(answer)
    bloom = block.get("logsBloom")
    return BlockHeader(
        number=decode_quantity(block.get("number")),
        hash=decode_hash(block.get("hash")),
        parent_hash=decode_hash(block.get("parentHash")),
        timestamp=decode_quantity(block.get("timestamp")),
        logs_bloom=None if bloom is None else decode_data(bloom, BLOOM_BYTES),
    )


def parse_logs(answer: object) -> list[Log]:
    """Parse the answer of eth_getLogs, in order of block and index."""
    if not isinstance(answer, list):
        raise ValueError(f"a list of logs was expected, not {answer!r:.100}")
    logs = [_parse_log(entry) for entry in answer]
    return sorted(logs, key=lambda log: (log.block_number, log.log_index))


def _parse_log(answer: object) -> Log:
    entry = mapping(answer)
    if entry.get("removed") is True:
        raise ValueError("a log of a removed block was answered")
    return Log.from_rpc(entry)


def parse_block_logs(answer: object) -> list[Log] | None:
    """Parse the receipts of one block for their logs, in order of index; None where there is no block."""
    if answer is None:
        return None
    if not isinstance(answer, list):
        raise ValueError(f"a list of receipts was expected, not {answer!r:.100}")
    found = [parse_logs(mapping(receipt).get("logs")) for receipt in answer]
    return sorted((log for logs in found for log in logs), key=lambda log: log.log_index)


def parse_receipt(answer: object) -> Receipt | None:
    """Parse a receipt; None for what is not mined, which some nodes answer as a receipt without a block."""
    if answer is None:
        return None
    receipt = mapping(answer)
    if receipt.get("blockHash") is None or receipt.get("blockNumber") is None:
        return None
    created = receipt.get("contractAddress")
    price = receipt.get("effectiveGasPrice")
    return Receipt(
        transaction_hash=decode_hash(receipt.get("transactionHash")),
        block_number=decode_quantity(receipt.get("blockNumber")),
        block_hash=decode_hash(receipt.get("blockHash")),
        status=decode_quantity(receipt.get("status")),
        gas_used=decode_quantity(receipt.get("gasUsed")),
        contract_address=None if created is None else decode_address(created),
        logs=tuple(parse_logs(receipt.get("logs"))),
        effective_gas_price=None if price is None else decode_quantity(price),
    )
