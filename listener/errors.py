"""The errors of the listener. Each of them needs an operator: what heals by itself is waited for.

    ListenerError
    ├── InvalidSettings         the configuration contradicts itself
    ├── NotADao                 the contract does not answer as the DAO that this listener reads
    ├── StartBeyondHead         the configured start block lies beyond the chain
    ├── StartBeforeCursor       the configured start block lies before the one that the cursor began at
    ├── ReorgBeyondFinality     the node replaced a block that it had called final
    ├── FiltersContradicted     a node's logs and the filters of its blocks cannot both be true
    ├── ContentMismatch         a promise of this id was made for another content
    ├── UnreadableLog           a log of the DAO is not what its event promises
    ├── DispatchRefused         the orchestrator will not take what is sent to it
    ├── IncidentError           an incident cannot be decided in this way
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
        return f"the contract {self.dao} cannot be read as a DAO: {self.reason}; check the address"


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
    """A finalised block has another hash than the one that was dispatched up to.

    `ancestor_number` and `ancestor_hash` are the last place of the cursor that the node's chain still has, if
    any; `vanished` are the ids of promises made for logs after it that the node's chain has no more.
    """

    def __init__(
        self,
        block_number: int,
        recorded_hash: bytes,
        node_hash: bytes,
        *,
        ancestor: tuple[int, bytes] | None = None,
        vanished: tuple[str, ...] = (),
    ) -> None:
        super().__init__(block_number, recorded_hash, node_hash)
        self.block_number = block_number
        self.recorded_hash = recorded_hash
        self.node_hash = node_hash
        self.ancestor_number = None if ancestor is None else ancestor[0]
        self.ancestor_hash = None if ancestor is None else ancestor[1]
        self.vanished = vanished

    def __str__(self) -> str:
        gone = f"; {len(self.vanished)} dispatched logs are gone from its chain" if self.vanished else ""
        return (
            f"block {self.block_number} was final with hash 0x{self.recorded_hash.hex()}, the node now has "
            f"0x{self.node_hash.hex()}{gone}: compare with another node; if the chain was really replaced, "
            "decide by dao-scorer incident resolve; if this is another chain, remove the cursor file to scan "
            "again from the start block"
        )


class FiltersContradicted(ListenerError):
    """A node's logs and the bloom filter of their block cannot both be true, and stay so when asked again."""

    def __init__(self, block_number: int, endpoint: str, reason: str) -> None:
        super().__init__(block_number, endpoint, reason)
        self.block_number = block_number
        self.endpoint = endpoint
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"the node at {self.endpoint} contradicts itself: {self.reason}: add another node to compare "
            "with, or set filter_check to off if this chain's filters do not hold all of its logs"
        )


class ContentMismatch(ListenerError):
    """The same proposal id stands for two contents: two chains or contracts share one identity.

    `block_number`, `block_hash` and `log_index` are the place of the log that says otherwise.
    """

    def __init__(
        self, promise_id: str, recorded: str, logged: str, place: tuple[int, bytes, int] | None = None
    ) -> None:
        super().__init__(promise_id, recorded, logged)
        self.promise_id = promise_id
        self.recorded = recorded
        self.logged = logged
        self.block_number = None if place is None else place[0]
        self.block_hash = None if place is None else place[1]
        self.log_index = None if place is None else place[2]

    def __str__(self) -> str:
        return (
            f"{self.promise_id} was invoked for content {self.recorded}, the chain now logs {self.logged}: "
            "the store belongs to another chain with this identity; give this one a store of its own"
        )


class UnreadableLog(ListenerError):
    """A log carries the event's topic and something else than the event."""

    def __init__(
        self, block_number: int, log_index: int, reason: str, *, block_hash: bytes | None = None
    ) -> None:
        super().__init__(block_number, log_index, reason)
        self.block_number = block_number
        self.block_hash = block_hash
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


class IncidentError(ListenerError):
    """There is no such open incident, or it cannot be decided in this way."""

    def __init__(self, incident_id: int, reason: str) -> None:
        super().__init__(incident_id, reason)
        self.incident_id = incident_id
        self.reason = reason

    def __str__(self) -> str:
        return f"incident {self.incident_id} {self.reason}"


class CursorStoreError(ListenerError):
    """The cursor's file cannot be opened, read or written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cursor store {self.path}: {self.reason}"
