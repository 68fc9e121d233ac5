"""What a source listens for: which logs, what each of them invokes, and how a vote on it ends.

A shape knows one kind of contract. Its `read` is pure and decides by the log alone, so that every listener
makes the same ids (C1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from contracts.bindings import Log
from contracts.rpc import Call, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What a log asks for: a durable call of `function` in a group, by a promise id that only it has.

    `marks` stand as tags on the promise, where another listener's log for the same id is compared with them:
    a difference in `content` is a ContentMismatch, in `registry` a warning. `proposal_id` (decimal text) is
    given where the end of a vote is to be watched.
    """

    promise_id: str
    function: str
    target: str
    arguments: tuple[object, ...]
    log: Log
    content: str | None = None
    registry: str | None = None
    keywords: Mapping[str, object] = field(default_factory=dict)
    proposal_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """A log after which a vote is to be looked at: withdrawn, extended, queued or executed."""

    proposal_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteState:
    """What a contract says of a vote at a block. `deadline` is a timepoint of the contract's own clock.

    `early_end`: the vote may end before its deadline, by a super-quorum.
    """

    deadline: int
    open: bool
    canceled: bool
    state: str
    early_end: bool = False


class Voting(Protocol):
    """How a contract is asked about votes: by its own clock, never by the number of the RPC's block."""

    async def clock(self, node: Node, block_number: int) -> int:
        """Return the contract's clock at a block. Raises DecodeError, RpcError."""
        ...

    def calls(self, proposal_id: int) -> Sequence[Call]:
        """Return the calls that read the state of a vote; as many for each proposal."""
        ...

    def state(self, proposal_id: int, answers: Sequence[bytes]) -> VoteState:
        """Read their answers. Raises DecodeError."""
        ...


class Shape(Protocol):
    """One kind of contract."""

    @property
    def topics(self) -> tuple[bytes, ...]:
        """The first topics of the logs that are to be read."""
        ...

    @property
    def voting(self) -> Voting | None:
        """How votes are watched; None where the logs are about no votes."""
        ...

    async def check(self, node: Node) -> None:
        """Raise NotADao, NoCode or another RpcError unless the contract is of this kind."""
        ...

    def read(self, log: Log) -> Invocation | Touched | None:
        """Return what a log asks for, None for one that is not meant. Raises DecodeError."""
        ...
