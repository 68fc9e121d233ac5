"""Many calls as one: the call data of Multicall3's aggregate3 and of ReadMany, and what they answer.

Pure. The encodings are written by hand, since they are all of one shape and bulk reads spend their time here;
the tests hold them against eth_abi. Multicall3: https://github.com/mds1/multicall3, at one address on most
chains.
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.artifacts import load
from contracts.rpc.quantities import decode_data

MULTICALL3 = "0xca11bde05977b3631167028862be2a173976ca11"
AGGREGATE3 = bytes.fromhex("82ad56cb")
"""The selector of aggregate3((address,bool,bytes)[])."""
_WORD = 32
_OFFSET = _WORD.to_bytes(_WORD, "big")
_TRUE = (1).to_bytes(_WORD, "big")


def aggregate3_data(calls: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the call data of aggregate3 for calls that may fail each by itself."""
    return AGGREGATE3 + _listed([_call(to, data, allow_failure=True) for to, data in calls])


def read_many_data(calls: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the creation code that answers with the results of the calls."""
    return load("ReadMany").bytecode + _listed([_call(to, data, allow_failure=None) for to, data in calls])


def decode_results(answer: bytes, count: int) -> list[tuple[bool, bytes]]:
    """Return success and answer of each call. Raises ValueError for what is no list of so many results."""
    if _number(answer, 0) != _WORD or _number(answer, _WORD) != count:
        raise ValueError(f"not the results of {count} calls")
    begin = 2 * _WORD
    results = []
    for place in range(count):
        at = begin + _number(answer, begin + place * _WORD)
        success, offset = _number(answer, at), _number(answer, at + _WORD)
        length = _number(answer, at + offset)
        data = answer[at + offset + _WORD : at + offset + _WORD + length]
        if success > 1 or len(data) != length:
            raise ValueError(f"result {place} of {count} is cut off or malformed")
        results.append((success == 1, data))
    return results


def _call(to: str, data: bytes, *, allow_failure: bool | None) -> bytes:
    """Encode one call: address, the flag that only aggregate3 has, and the data behind their offset."""
    flag = b"" if allow_failure is None else _TRUE
    head = bytes(12) + decode_data(to, 20) + flag
    offset = (len(head) + _WORD).to_bytes(_WORD, "big")
    return head + offset + len(data).to_bytes(_WORD, "big") + data + bytes(-len(data) % _WORD)


def _listed(items: Sequence[bytes]) -> bytes:
    """Encode a list of items of any length."""
    offsets, place = [], len(items) * _WORD
    for item in items:
        offsets.append(place.to_bytes(_WORD, "big"))
        place += len(item)
    return b"".join([_OFFSET, len(items).to_bytes(_WORD, "big"), *offsets, *items])


def _number(data: bytes, at: int) -> int:
    word = data[at : at + _WORD]
    if len(word) < _WORD:
        raise ValueError("the results are cut off")
    return int.from_bytes(word, "big")
