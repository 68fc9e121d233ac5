"""The errors of the listener. Each of them needs an operator: what heals by itself is waited for.

    ListenerError
    ├── InvalidSettings         the configuration contradicts itself
    ├── NotADao                 the contract does not answer as the DAO that this listener reads
    ├── StartBeyondHead         the configured start block lies beyond the chain
    ├── StartBeforeCursor       the configured start block lies before the one that the cursor began at
    ├── ReorgBeyondFinality     the node replaced a block that it had called final
    ├── ContentMismatch         a promise of this id was made for another content
    ├── UnreadableLog           a log of the DAO is not what its event promises
    ├── DispatchRefused         the orchestrator will not take what is sent to it
    └── CursorStoreError        the listener's own file cannot be used

Failures of the chain node are `contracts.rpc.RpcError`, those of the server `orchestrator.domain.errors`.
"""

from __future__ import annotations


class ListenerError(Exception):
    """The root of every error of this package. None of them goes away by trying again."""

    retryable = False


class InvalidSettings(ListenerError, ValueError):
    """A setting is outside of what it may be."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(setting, reason)
        self.setting = setting
        self.reason = reason

    def __str__(self) -> str:
        return f"listener setting {self.setting}: {self.reason}"


class NotADao(ListenerError):
    """There is a contract at the address, but none that this listener can read."""

    def __init__(self, dao: str, reason: str) -> None:
        super().__init__(dao, reason)
        self.dao = dao
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"the contract {self.dao} does not answer clock() as a DAO does: {self.reason}; check the address"
        )


class StartBeyondHead(ListenerError):
    """Back-fill would start at a block that the chain does not have."""

    def __init__(self, start_block: int, head: int) -> None:
        super().__init__(start_block, head)
        self.start_block = start_block
        self.head = head

    def __str__(self) -> str:
        return (
            f"start block {self.start_block} lies beyond the chain's head {self.head}: "
            "set it to the block in which the DAO was deployed"
        )


class StartBeforeCursor(ListenerError):
    """The start block was moved back: the blocks before the old one were never read, and would never be."""

    def __init__(self, start_block: int, first_block: int) -> None:
        super().__init__(start_block, first_block)
        self.start_block = start_block
        self.first_block = first_block

    def __str__(self) -> str:
        return (
            f"start block {self.start_block} lies before block {self.first_block}, where the cursor's scan "
            "began: remove the cursor file to scan again from there (nothing is dispatched twice), or set "
            "the old start block"
        )


class ReorgBeyondFinality(ListenerError):
    """A finalised block has another hash than the one that was dispatched up to."""

    def __init__(self, block_number: int, recorded_hash: bytes, node_hash: bytes) -> None:
        super().__init__(block_number, recorded_hash, node_hash)
        self.block_number = block_number
        self.recorded_hash = recorded_hash
        self.node_hash = node_hash

    def __str__(self) -> str:
        return (
            f"block {self.block_number} was final with hash 0x{self.recorded_hash.hex()}, the node now has "
            f"0x{self.node_hash.hex()}: compare with another node; if the chain was really replaced, "
            "or this is another chain, remove the cursor file to scan again from the start block"
        )


class ContentMismatch(ListenerError):
    """The same proposal id stands for two contents: two chains or contracts share one identity."""

    def __init__(self, promise_id: str, recorded: str, logged: str) -> None:
        super().__init__(promise_id, recorded, logged)
        self.promise_id = promise_id
        self.recorded = recorded
        self.logged = logged

    def __str__(self) -> str:
        return (
            f"{self.promise_id} was invoked for content {self.recorded}, the chain now logs {self.logged}: "
            "the store belongs to another chain with this identity; give this one a store of its own"
        )


class UnreadableLog(ListenerError):
    """A log carries the event's topic and something else than the event."""

    def __init__(self, block_number: int, log_index: int, reason: str) -> None:
        super().__init__(block_number, log_index, reason)
        self.block_number = block_number
        self.log_index = log_index
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"log {self.log_index} of block {self.block_number} cannot be read: {self.reason}; "
            "the contract is not the DAO that was configured"
        )


class DispatchRefused(ListenerError):
    """The orchestrator refused a request; `status` is the protocol's."""

    def __init__(self, promise_id: str, status: int, message: str) -> None:
        super().__init__(promise_id, status, message)
        self.promise_id = promise_id
        self.status = status
        self.message = message

    def __str__(self) -> str:
        return (
            f"the orchestrator refused {self.promise_id} with status {self.status}: {self.message}; "
            "check its URL, its token and that its version is this one's"
        )


class CursorStoreError(ListenerError):
    """The cursor's file cannot be opened, read or written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cursor store {self.path}: {self.reason}"
