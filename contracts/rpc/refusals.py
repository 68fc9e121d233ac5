"""What a node's error means: the one place that knows the codes and texts of the clients in use.

Codes are those of JSON-RPC 2.0, EIP-1474 and geth; texts are matched only where clients share no code.
"""

from __future__ import annotations

import msgspec

from contracts.rpc.errors import CallReverted, NodeUnavailable, RpcError, RpcRefused
from contracts.rpc.quantities import decode_data

METHOD_NOT_FOUND = -32601
_REVERTED_CODES = frozenset({3, -32015})
_BUSY_CODES = frozenset({-32002, -32005, 429})
_MISSING_TEXTS = (
    "header not found",
    "block not found",
    "unknown block",
    "blockoutofrange",
    "block out of range",
    "could not find block",
    "header for hash not found",
)
_KNOWN_TEXTS = (
    "already known",
    "alreadyknown",
    "known transaction",
    "already imported",
    "existing tx with same hash",
)
# A limit on one answer's size is a refusal of that very request: asking again as it was cannot help.
_TOO_LARGE_TEXTS = ("result", "range", "response size")


class ErrorObject(msgspec.Struct, frozen=True, kw_only=True):
    """The `error` member of a JSON-RPC answer."""

    code: int = 0
    message: str = ""
    data: object = None


def means_known(error: RpcRefused) -> bool:
    """Tell whether a refused transaction is one that the node already holds."""
    text = error.message.lower()
    return any(known in text for known in _KNOWN_TEXTS)


def means_missing_block(error: ErrorObject) -> bool:
    """Tell whether the node does not know the block that a read names."""
    text = error.message.lower()
    return any(missing in text for missing in _MISSING_TEXTS)


def means_reverted(error: ErrorObject) -> bool:
    """Tell whether a call ran and the contract refused it."""
    return error.code in _REVERTED_CODES or "revert" in error.message.lower()


def revert_data(error: ErrorObject) -> bytes:
    """Return the ABI-encoded reason of a revert, wherever the client put it; empty if it told none.

    Seen: plain data, data without 0x, `{"data": …}` and `{"result": …}` around it, `Reverted 0x…` before it.
    """
    found = error.data
    while isinstance(found, dict):
        found = found.get("data", found.get("result"))
    if not isinstance(found, str):
        return b""
    text = found.removeprefix("Reverted").strip()
    try:
        return decode_data(text if text.startswith("0x") else "0x" + text)
    except ValueError:
        return b""


def error_of_call(to: str, endpoint: str, method: str, error: ErrorObject) -> RpcError:
    """Return what the error of a state read means, the missing block apart."""
    if means_reverted(error):
        return CallReverted(to, revert_data(error), error.message or "no reason given")
    return error_of(endpoint, method, error)


def error_of(endpoint: str, method: str, error: ErrorObject) -> RpcError:
    """Return what an error means: a node that is busy, or a refusal."""
    text = error.message.lower()
    if error.code in _BUSY_CODES and not any(large in text for large in _TOO_LARGE_TEXTS):
        return NodeUnavailable(endpoint, f"{method}: {error.message} (code {error.code})")
    data = error.data if isinstance(error.data, str) else None
    return RpcRefused(method, error.code, error.message or "no reason given", data=data)
