"""The log of a contract's event, as a node returns it, parsed once at the edge."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Log", "MalformedLogError"]

_QUANTITY = re.compile("0x[0-9a-fA-F]{1,64}")
_DATA = re.compile("0x(?:[0-9a-fA-F]{2})*")


class MalformedLogError(Exception):
    """A node's log lacks a field or holds one that is not what JSON-RPC says."""

    def __init__(self, field: str, value: object) -> None:
        super().__init__(field, value)
        self.field = field
        self.value = value

    def __str__(self) -> str:
        return f"malformed log from the node: field {self.field} is {self.value!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One mined log: address in lower case, hashes and topics of 32 bytes, numbers counted from zero."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    log_index: int

    @classmethod
    def from_rpc(cls, mapping: Mapping[str, object]) -> "Log":
        """Parse a log object of eth_getLogs, eth_getTransactionReceipt or a subscription.

        Raises:
            MalformedLogError: a field is missing or malformed, as in a pending log, which has no block.

        """
        topics = mapping.get("topics")
        if not isinstance(topics, (list, tuple)):
            raise MalformedLogError("topics", topics)
        address = "0x" + _bytes("address", mapping.get("address"), 20).hex()
        return cls(
            address=address,
            topics=tuple(_bytes("topics", topic, 32) for topic in topics),
            data=_bytes("data", mapping.get("data")),
            block_number=_quantity("blockNumber", mapping.get("blockNumber")),
            block_hash=_bytes("blockHash", mapping.get("blockHash"), 32),
            transaction_hash=_bytes("transactionHash", mapping.get("transactionHash"), 32),
            log_index=_quantity("logIndex", mapping.get("logIndex")),
        )


def _bytes(field: str, value: object, length: int | None = None) -> bytes:
    # bytes.fromhex() alone would skip white space.
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise MalformedLogError(field, value)
    data = bytes.fromhex(value[2:])
    if length is not None and len(data) != length:
        raise MalformedLogError(field, value)
    return data


def _quantity(field: str, value: object) -> int:
    # int() alone would take signs and underscores too.
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise MalformedLogError(field, value)
    return int(value, 16)
