"""The errors of chain access, split first by who must act.

    RpcError
    ├── NodeUnavailable     nobody, try again: network, time-out, 5xx, 429, or an answer that makes no sense
    │   └── LogsIncomplete  nobody, try again; an operator if it lasts: a block's filter tells of more logs
    ├── BlockMissing        nobody, try again: the node does not know the block (it is behind, or has another)
    │   └── BlockReplaced   nobody, try again: it has another than the reader was shown
    ├── Disagreement        nobody, try again; an operator if it lasts: endpoints answer differently
    ├── RpcRefused          the caller: the node understood the request and will not do it (code, message)
    │   ├── RangeRefused    the caller: too many blocks or results at once; ask for less
    │   ├── HistoryPruned   the operator: the node has deleted these blocks or logs
    │   ├── StateMissing    the operator: the node keeps no state of so old a block (no archive)
    │   └── TagUnsupported  the operator: the node knows no such finality tag
    ├── CallReverted        the caller: the contract refused the call; `data` is its ABI-encoded error
    ├── NoCode              the operator: no contract lives at the address
    ├── WrongChain          the operator: the node serves another chain than was configured
    └── InvalidEndpoint     the operator: the URL of the node is none

Endpoints are named without their path and query, which may hold an access key.
"""

from __future__ import annotations

from collections.abc import Mapping

from contracts.bindings import decode_error


class RpcError(Exception):
    """The root of every error of this package; `retryable` says whether asking again may help."""

    retryable = False


class NodeUnavailable(RpcError):
    """There was no usable answer. What was asked may or may not have been done, unless it is `unsent`.

    `retry_after_s` is the pause that the node asked for, if any. `limited` says that the node was there and
    would not answer so many requests. `unsent` says that the request has surely not been carried out.
    """

    retryable = True

    def __init__(
        self,
        endpoint: str,
        reason: str,
        *,
        retry_after_s: float | None = None,
        limited: bool = False,
        unsent: bool = False,
    ) -> None:
        super().__init__(endpoint, reason)
        self.endpoint = endpoint
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.limited = limited
        self.unsent = unsent

    def __str__(self) -> str:
        return f"no usable answer from the node at {self.endpoint}: {self.reason}"


class LogsIncomplete(NodeUnavailable):
    """What the node answers as all logs of a block cannot be all of them, by the block's own filter."""

    def __init__(self, endpoint: str, block_number: int, block_hash: bytes) -> None:
        described = f"block {block_number} (0x{block_hash.hex()})"
        super().__init__(endpoint, f"the filter of {described} tells of more logs than it gives")
        self.block_number = block_number
        self.block_hash = block_hash


class BlockMissing(RpcError, LookupError):
    """The node does not know this block."""

    retryable = True

    def __init__(self, block: str) -> None:
        super().__init__(block)
        self.block = block

    def __str__(self) -> str:
        return f"the node does not know block {self.block}: it is behind, or the block was replaced"


class Disagreement(RpcError):
    """Endpoints of one pool answer differently; `answers` holds in short what each of them said."""

    retryable = True

    def __init__(self, question: str, answers: Mapping[str, str]) -> None:
        super().__init__(question, dict(answers))
        self.question = question
        self.answers = dict(answers)

    def __str__(self) -> str:
        said = ", ".join(f"{endpoint} says {answer}" for endpoint, answer in sorted(self.answers.items()))
        return f"the endpoints disagree about {self.question}: {said}: remove the wrong one if it lasts"


class BlockReplaced(BlockMissing):
    """The node has another block under this number than the reader was shown; `shown` is that one's hash."""

    def __init__(self, number: int, shown: bytes) -> None:
        super().__init__(f"{number} (0x{shown.hex()})")
        self.number = number
        self.shown = shown


class RpcRefused(RpcError):
    """The node refused a request; `code` is JSON-RPC's, or the HTTP status where there was no JSON-RPC.

    `elsewhere` says that another node may well do it: the refusal is of the node and not of the request.
    """

    advice = ""

    def __init__(
        self, method: str, code: int, message: str, *, data: str | None = None, elsewhere: bool = False
    ) -> None:
        super().__init__(method, code, message)
        self.method = method
        self.code = code
        self.message = message
        self.data = data
        self.elsewhere = elsewhere

    def __str__(self) -> str:
        return f"the node refused {self.method}: {self.message} (code {self.code}){self.advice}"


class RangeRefused(RpcRefused):
    """The range of blocks is too wide, or holds too many logs, for one answer.

    `suggested` is the range that the node says it would take, first and last block; `blocks_max` the width.
    """

    suggested: tuple[int, int] | None = None
    blocks_max: int | None = None


class HistoryPruned(RpcRefused):
    """The node has deleted the blocks, receipts or logs that were asked for; no waiting brings them back."""

    advice = ": this node has pruned that history, add one that keeps it"


class StateMissing(RpcRefused):
    """The node keeps no state of the block that was asked for: it is no archive node."""

    advice = ": this node keeps no state so old, add an archive node"


class TagUnsupported(RpcRefused):
    """The node does not know the block tag: the chain has no finality, or the node no consensus client."""

    advice = ": this node serves no such tag, use one that does or configure a depth"


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
