"""The bloom filter of a block's logs: what a node's empty answer is held against.

Pure. A filter never misses what it holds, and seldom claims what it does not: a block whose filter rules an
event out has no such log, one whose filter allows it is worth a second look where the logs are empty: all
logs of the block together must set every bit of it. Some roll-ups leave the filter full or empty; `is_used`
tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from eth_utils.crypto import keccak

from contracts.bindings import Log
from contracts.rpc.quantities import decode_data
from contracts.rpc.records import BLOOM_BYTES

Topic = bytes | str | None


def may_contain(
    bloom: bytes, address: str | Sequence[str], topics: Sequence[Topic | Sequence[Topic]] = ()
) -> bool:
    """Tell whether a block of this filter may hold a log of one of the addresses with topics as asked for.

    `topics` are those of eth_getLogs: None stands for any, a sequence for one of several. Raises ValueError
    for a filter that is not 256 bytes long.
    """
    if len(bloom) != BLOOM_BYTES:
        raise ValueError(f"a bloom filter has {BLOOM_BYTES} bytes, not {len(bloom)}")
    bits = int.from_bytes(bloom, "big")
    addresses = [address] if isinstance(address, str) else list(address)
    if addresses and not any(_holds(bits, decode_data(each)) for each in addresses):
        return False
    return all(_holds_one_of(bits, topic) for topic in topics)


def accounts_for(bloom: bytes, logs: Iterable[Log]) -> bool:
    """Tell whether these logs set every bit of a block's filter, as all of its logs do: none was left out.

    They may set more: some chains add logs of their own to a block and not to its filter. What sets no bit
    that others do not set as well can still be missing, which happens by chance alone.
    """
    bits = int.from_bytes(bloom, "big")
    return not bits & ~int.from_bytes(of_logs(logs), "big")


def of_logs(logs: Iterable[Log]) -> bytes:
    """Return the filter of a block with these logs."""
    bits = 0
    for log in logs:
        bits |= _mask(decode_data(log.address))
        for topic in log.topics:
            bits |= _mask(topic)
    return bits.to_bytes(BLOOM_BYTES, "big")


def is_used(bloom: bytes) -> bool:
    """Tell whether a filter says anything: an empty or a full one is what chains write that keep none."""
    return any(bloom) and any(byte != 0xFF for byte in bloom)


def _holds_one_of(bits: int, topic: Topic | Sequence[Topic]) -> bool:
    if topic is None:
        return True
    if isinstance(topic, (bytes, str)):
        return _holds(bits, topic if isinstance(topic, bytes) else decode_data(topic))
    return any(_holds_one_of(bits, each) for each in topic) or not topic


def _holds(bits: int, value: bytes) -> bool:
    mask = _mask(value)
    return bits & mask == mask


@lru_cache(maxsize=8192)
def _mask(value: bytes) -> int:
    """Return a value's three bits, which are eleven bits each of the first three pairs of its hash."""
    digest = keccak(value)
    places = (int.from_bytes(digest[start : start + 2], "big") & 2047 for start in (0, 2, 4))
    return sum(1 << place for place in set(places))
