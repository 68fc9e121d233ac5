"""The errors of chain access, split first by who must act.

    RpcError
    ├── NodeUnavailable     nobody, try again: network, time-out, 5xx, 429, or an answer that makes no sense
    ├── BlockMissing        nobody, try again: the node does not know the block (it is behind, or has another)
    ├── RpcRefused          the caller: the node understood the request and will not do it (code, message)
    ├── CallReverted        the caller: the contract refused the call; `data` is its ABI-encoded error
    ├── NoCode              the operator: no contract lives at the address
    ├── WrongChain          the operator: the node serves another chain than was configured
    └── InvalidEndpoint     the operator: the URL of the node is none

Endpoints are named without their path and query, which may hold an access key.
"""

from __future__ import annotations

from contracts.bindings import decode_error


class RpcError(Exception):
    """The root of every error of this package; `retryable` says whether asking again may help."""

    retryable = False


class NodeUnavailable(RpcError):
    """There was no usable answer. What was asked may or may not have been done.

    `retry_after_s` is the pause that the node asked for, if any.
    """

    retryable = True

    def __init__(self, endpoint: str, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(endpoint, reason)
        self.endpoint = endpoint
        self.reason = reason
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"no usable answer from the node at {self.endpoint}: {self.reason}"


class BlockMissing(RpcError, LookupError):
    """The node does not know this block."""

    retryable = True

    def __init__(self, block: str) -> None:
        super().__init__(block)
        self.block = block

    def __str__(self) -> str:
        return f"the node does not know block {self.block}: it is behind, or the block was replaced"


class RpcRefused(RpcError):
    """The node refused a request; `code` is JSON-RPC's, or the HTTP status where there was no JSON-RPC."""

    def __init__(self, method: str, code: int, message: str, *, data: str | None = None) -> None:
        super().__init__(method, code, message)
        self.method = method
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return f"the node refused {self.method}: {self.message} (code {self.code})"


class CallReverted(RpcError):
    """The contract at `to` reverted; `data` is empty where the node did not tell why."""

    def __init__(self, to: str, data: bytes, message: str) -> None:
        super().__init__(to, data, message)
        self.to = to
        self.data = data
        self.message = message

    def __str__(self) -> str:
        reason = decode_error(self.data) or self.message
        return f"the contract {self.to} reverted: {reason}"


class NoCode(RpcError):
    """The address holds no contract."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address

    def __str__(self) -> str:
        return f"no contract at {self.address}: check the address and the chain"


class WrongChain(RpcError):
    """The node serves another chain."""

    def __init__(self, expected: int, actual: int, endpoint: str) -> None:
        super().__init__(expected, actual, endpoint)
        self.expected = expected
        self.actual = actual
        self.endpoint = endpoint

    def __str__(self) -> str:
        return (
            f"the node at {self.endpoint} serves chain {self.actual}, not {self.expected}: "
            "correct the RPC URL or the chain id"
        )


class InvalidEndpoint(RpcError, ValueError):
    """The configured URL cannot be that of a node."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(endpoint)
        self.endpoint = endpoint

    def __str__(self) -> str:
        return f"not the URL of a node: {self.endpoint!r}: give it as http://host:port or https://…"
