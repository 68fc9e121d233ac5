"""Many logs at once, from the text of an answer to `Log`s: the fast path of bulk reads.

Pure. Each field is checked like those of a single log (`Log.from_rpc`), by one pass for all logs of an
answer.
"""

from __future__ import annotations

from operator import attrgetter

import msgspec

from contracts.bindings import Log

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
    # Most logs of an answer share their addresses, topics, blocks and transactions: each text is read once.
    addresses, hashes, numbers = _Addresses(), _Hashes(), _Quantities()
    logs = []
    for entry in _decoder.decode(text):
        if entry.removed:
            raise ValueError("a log of a removed block was answered")
        logs.append(
            Log(
                address=addresses[entry.address],
                topics=tuple([hashes[topic] for topic in entry.topics]),
                data=_bytes(entry.data),
                block_number=numbers[entry.block_number],
                block_hash=hashes[entry.block_hash],
                transaction_hash=hashes[entry.transaction_hash],
                log_index=numbers[entry.log_index],
            )
        )
    logs.sort(key=_place)
    return logs


class _Hashes(dict[str, bytes]):
    def __missing__(self, value: str) -> bytes:
        found = self[value] = _bytes(value, 32)
        return found


class _Addresses(dict[str, str]):
    def __missing__(self, value: str) -> str:
        found = self[value] = "0x" + _bytes(value, 20).hex()
        return found


class _Quantities(dict[str, int]):
    def __missing__(self, value: str) -> int:
        digits = value[2:]
        # int() alone would take signs, spaces and underscores too.
        if not (value.startswith("0x") and digits.isascii() and digits.isalnum() and len(digits) <= 64):
            raise _malformed(value)
        found = self[value] = int(digits, 16)
        return found


def _bytes(value: str, length: int | None = None) -> bytes:
    if not value.startswith("0x"):
        raise _malformed(value)
    data = bytes.fromhex(value[2:])
    # fromhex() skips white space: then there are fewer bytes than the text is long.
    if 2 * len(data) != len(value) - 2 or length not in (None, len(data)):
        raise _malformed(value)
    return data


def _malformed(value: str) -> ValueError:
    return ValueError(f"malformed log from the node: {value!r:.100}")
