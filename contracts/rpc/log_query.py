"""What eth_getLogs is asked for, and whether an answer is one to that question.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

import msgspec

from contracts.bindings import Log
from contracts.rpc import quantities as q
from contracts.rpc.connection import Outcome, Request
from contracts.rpc.log_records import decode_logs
from contracts.rpc.reading import senseless

METHOD = "eth_getLogs"
Topic = bytes | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """The logs of the blocks `first` to `last`, both included, as one endpoint gave them."""

    first: int
    last: int
    logs: tuple[Log, ...]
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Addresses in lower case, and topics in their text form: None for any, a list for one of several."""

    addresses: tuple[str, ...]
    topics: tuple[str | list[str | None] | None, ...]
    single: bool

    @classmethod
    def of(cls, address: str | Sequence[str], topics: Sequence[Topic | Sequence[Topic]]) -> Self:
        """Return the query. Raises ValueError for what is no address."""
        single = isinstance(address, str)
        addresses = [address] if isinstance(address, str) else address
        return cls(
            addresses=tuple(sorted({q.encode_address(each) for each in addresses})),
            topics=tuple(_encode_topic(topic) for topic in topics),
            single=single,
        )

    def request(self, first: int, last: int) -> Request:
        """Return the request for the blocks `first` to `last`."""
        return METHOD, [
            self._filter({"fromBlock": q.encode_quantity(first), "toBlock": q.encode_quantity(last)})
        ]

    def request_of_block(self, block_hash: bytes) -> Request:
        """Return the request for one block by its hash."""
        return METHOD, [self._filter({"blockHash": q.encode_data(block_hash)})]

    def _filter(self, where: dict[str, str]) -> dict[str, object]:
        address: object = self.addresses[0] if self.single else list(self.addresses)
        return {"address": address, **where, "topics": list(self.topics)}

    def fits(self, log: Log) -> bool:
        """Tell whether a log is one of those that are asked for."""
        if log.address not in self.addresses or len(log.topics) < len(self.topics):
            return False
        return all(
            _admits(wanted, q.encode_data(topic))
            for topic, wanted in zip(log.topics, self.topics, strict=False)
        )

    def read(self, endpoint: str, outcome: Outcome, first: int, last: int) -> list[Log]:
        """Return the logs of an answer about a range.

        Raises NodeUnavailable for logs that were not asked for, or of two blocks with one number.
        """
        logs = _decoded(endpoint, outcome)
        hashes: dict[int, bytes] = {}
        for log in logs:
            if not (first <= log.block_number <= last and log.address in self.addresses):
                raise senseless(endpoint, METHOD, f"a log of {log.address} in block {log.block_number}")
            if hashes.setdefault(log.block_number, log.block_hash) != log.block_hash:
                raise senseless(
                    endpoint, METHOD, f"a log of another block {log.block_number}: 0x{log.block_hash.hex()}"
                )
        return logs

    def read_block(self, endpoint: str, outcome: Outcome, block_hash: bytes) -> list[Log]:
        """Return the logs of an answer about one block. Raises NodeUnavailable for those of another."""
        logs = read_whole(endpoint, outcome, block_hash)
        for log in logs:
            if log.address not in self.addresses:
                raise senseless(endpoint, METHOD, f"a log of {log.address} in block {log.block_number}")
        return logs


def request_of_whole(block_hash: bytes) -> Request:
    """Return the request for all logs of one block."""
    return METHOD, [{"blockHash": q.encode_data(block_hash)}]


def read_whole(endpoint: str, outcome: Outcome, block_hash: bytes) -> list[Log]:
    """Return the logs of an answer about one block. Raises NodeUnavailable for those of another."""
    logs = _decoded(endpoint, outcome)
    for log in logs:
        if log.block_hash != block_hash:
            raise senseless(endpoint, METHOD, f"a log of {log.address} in block {log.block_number}")
    return logs


def digest(logs: Sequence[Log]) -> str:
    """Return in short what is compared of endpoints' logs: how many there are, and a hash over all."""
    lines = (
        f"{log.address}{log.topics}{log.data!r}{log.block_hash!r}{log.transaction_hash!r}{log.log_index}"
        for log in logs
    )
    return f"{len(logs)} logs ({sha256(chr(10).join(lines).encode()).hexdigest()[:12]})"


def _decoded(endpoint: str, outcome: Outcome) -> list[Log]:
    try:
        return decode_logs(outcome) if isinstance(outcome, msgspec.Raw) else []
    except ValueError as error:  # DecodeError and UnicodeDecodeError are ValueErrors.
        raise senseless(endpoint, METHOD, str(error)) from error


def _admits(wanted: str | list[str | None] | None, topic: str) -> bool:
    if isinstance(wanted, str):
        return wanted == topic
    return not wanted or topic in wanted or None in wanted


def _encode_topic(topic: Topic | Sequence[Topic]) -> str | list[str | None] | None:
    if topic is None or isinstance(topic, (str, bytes)):
        return _text(topic)
    return [_text(each) for each in topic]


def _text(topic: Topic) -> str | None:
    return topic.lower() if isinstance(topic, str) else None if topic is None else q.encode_data(topic)
