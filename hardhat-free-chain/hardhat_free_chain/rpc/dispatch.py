"""From a request body to an answer body: envelope, batches, the table of methods.

D1 every request with an id gets exactly one answer; one without (a notification) is run and gets none.
D2 an error in one request of a batch harms no other.

The caller decides where requests run: `Envelope` values go in, answer values come out.
"""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from hardhat_free_chain.errors import InvalidParams, InvalidRequest, MethodNotFound, ParseError, RpcError
from hardhat_free_chain.rpc import (
    accounts,
    control,
    forks,
    log_queries,
    mempool,
    reading,
    sending,
    signing,
)
from hardhat_free_chain.rpc.node import MethodTable, Node

METHODS: MethodTable = {
    **reading.METHODS,
    **log_queries.METHODS,
    **sending.METHODS,
    **signing.METHODS,
    **mempool.METHODS,
    **control.METHODS,
    **accounts.METHODS,
    **forks.METHODS,
}

DEPTH_MAX = 500
# A string, whose brackets do not count, or one bracket. A string that does not end runs to the end of the
# text, so that no text is scanned twice.
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)

RequestId = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One well-formed request; `answered` is false for a notification."""

    id: RequestId
    method: str
    arguments: list[Any]
    answered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """What stands in a batch where a request should; it is answered with its error."""

    id: RequestId
    error: RpcError


Envelope = Request | Malformed


def parse(body: bytes | str, batch_max: int) -> Envelope | list[Envelope]:
    """Read a body: one request, or a batch of them. Raises ParseError or InvalidRequest."""
    try:
        _check_depth(body)
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParseError(f"parse error: {error}") from error
    if not isinstance(value, list):
        return _envelope(value)
    if not value:
        raise InvalidRequest("empty batch")
    if len(value) > batch_max:
        raise InvalidRequest(f"batch too large: {len(value)} requests, at most {batch_max} are taken")
    return [_envelope(each) for each in value]


def _check_depth(body: bytes | str) -> None:
    """Refuse JSON that is nested deeper than any request is.

    A deep EVM needs a high recursion limit, and under that limit the decoder's C stack may overflow before
    the limit stops it. Counting brackets is enough for all but long batches.
    """
    text = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    if text.count(b"[") + text.count(b"{") <= DEPTH_MAX:
        return
    depth = 0
    for match in TOKEN.finditer(text):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(match.group(), 0)
        if depth > DEPTH_MAX:
            raise ParseError(f"parse error: nested deeper than {DEPTH_MAX} levels")


def _envelope(value: Any) -> Envelope:
    if not isinstance(value, dict):
        return Malformed(id=None, error=InvalidRequest("invalid request: give an object"))
    identity = value.get("id")
    if isinstance(identity, bool | dict | list):
        return Malformed(id=None, error=InvalidRequest("invalid request: id is neither text nor number"))
    method = value.get("method")
    if not isinstance(method, str) or value.get("jsonrpc", "2.0") != "2.0":
        return Malformed(id=identity, error=InvalidRequest("invalid request: no method, or not JSON-RPC 2.0"))
    arguments = value.get("params")
    if arguments is not None and not isinstance(arguments, list):
        return Malformed(id=identity, error=InvalidParams("non-array args: give params as an array"))
    return Request(id=identity, method=method, arguments=arguments or [], answered="id" in value)


def execute(node: Node, method: str, arguments: list[Any]) -> object:
    """Run one method alone on the chain. Raises RpcError."""
    row = METHODS.get(method)
    if row is None:
        raise MethodNotFound(f"the method {method} does not exist/is not available")
    if len(arguments) < row.least:
        raise InvalidParams(f"missing value for required argument {len(arguments)}")
    if len(arguments) > row.most:
        raise InvalidParams(f"too many arguments, want at most {row.most}")
    with node.chain.lock:
        return row.handler(node, arguments)


def result(identity: RequestId, value: object) -> dict[str, object]:
    """The answer to a request that succeeded."""
    return {"jsonrpc": "2.0", "id": identity, "result": value}


def failure(identity: RequestId, error: RpcError) -> dict[str, object]:
    """The answer to a request that failed."""
    return {"jsonrpc": "2.0", "id": identity, "error": error.as_json()}
