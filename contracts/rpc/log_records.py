"""Many logs at once, from the text of an answer to `Log`s: the fast path of bulk reads.

Pure. Each field is checked like those of a single log (`Log.from_rpc`), by one pass for all logs of an
answer.
"""

from __future__ import annotations

import re
from operator import attrgetter

import msgspec

from contracts.bindings import Log

_HASH = re.compile("0x[0-9a-fA-F]{64}")
_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
_DATA = re.compile("0x(?:[0-9a-fA-F]{2})*")
_QUANTITY = re.compile("0x[0-9a-fA-F]{1,64}")
_place = attrgetter("block_number", "log_index")


class _LogText(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    address: str
    topics: tuple[str, ...]
    data: str
    block_number: str
    block_hash: str
    transaction_hash: str
    log_index: str
    removed: bool | None = False


_decoder = msgspec.json.Decoder(list[_LogText])


def decode_logs(text: bytes | msgspec.Raw) -> list[Log]:
    """Return the logs of an answer to eth_getLogs, in the order of the chain.

    Raises ValueError for an answer that is not of its shape, for a log without a block and for one of a block
    that was removed.
    """
    hashes: dict[str, bytes] = {}

    def hash_of(value: str) -> bytes:
        # Most logs of an answer share their topics, blocks and transactions.
        found = hashes.get(value)
        if found is None:
            found = hashes[value] = _bytes(_HASH, value)
        return found

    addresses: dict[str, str] = {}
    logs = []
    for entry in _decoder.decode(text):
        if entry.removed:
            raise ValueError("a log of a removed block was answered")
        address = addresses.get(entry.address)
        if address is None:
            address = addresses[entry.address] = "0x" + _bytes(_ADDRESS, entry.address).hex()
        logs.append(
            Log(
                address=address,
                topics=tuple([hash_of(topic) for topic in entry.topics]),
                data=_bytes(_DATA, entry.data),
                block_number=_quantity(entry.block_number),
                block_hash=hash_of(entry.block_hash),
                transaction_hash=hash_of(entry.transaction_hash),
                log_index=_quantity(entry.log_index),
            )
        )
    logs.sort(key=_place)
    return logs


def _bytes(pattern: re.Pattern[str], value: str) -> bytes:
    # bytes.fromhex() alone would skip white space.
    if not pattern.fullmatch(value):
        raise ValueError(f"malformed log from the node: {value!r:.100}")
    return bytes.fromhex(value[2:])


def _quantity(value: str) -> int:
    # int() alone would take signs and underscores too.
    if not _QUANTITY.fullmatch(value):
        raise ValueError(f"malformed log from the node: {value!r:.100}")
    return int(value, 16)
