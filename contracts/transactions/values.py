"""What the durable sending of a transaction records, step by step. Amounts are wei, hashes and bytes 0x text.

Pure values: each is the result of one durable step, so each is what a restarted worker continues from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A logical transaction: `logical_id` names it for ever, whatever nonces, fees and hashes it takes.

    Two intents with one `logical_id` are one transaction and must be equal.
    """

    chain_id: int
    sender: str
    to: str
    data_hex: str
    logical_id: str
    value: int = 0

    @property
    def data(self) -> bytes:
        """The call data as bytes."""
        return bytes.fromhex(self.data_hex.removeprefix("0x"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingPolicy:
    """How patiently and at what price to send. Durations are milliseconds, fees wei a gas.

    A step watches the chain for `watch_ms`, every `poll_ms`; between watches the workflow sleeps durably,
    from `pause_ms` up to `pause_ms_max`. After `bump_after_watches` in which nothing was mined the
    transaction is replaced at `bump_percent` more, at most `bumps_max` times. A limit of gas gets
    `gas_margin_percent` more than was estimated. A mined transaction counts when its block is finalised and
    has `confirmations` blocks, its own included.
    """

    watch_ms: int = 8_000
    poll_ms: int = 250
    pause_ms: int = 2_000
    pause_ms_max: int = 60_000
    bump_after_watches: int = 6
    bump_percent: int = 12
    bumps_max: int = 10
    gas_margin_percent: int = 20
    max_fee_per_gas: int | None = None
    confirmations: int = 1

    def __post_init__(self) -> None:
        if self.bump_percent < 10:
            raise ValueError("bump_percent must be at least 10: nodes refuse a cheaper replacement")
        if (
            min(self.poll_ms, self.pause_ms, self.pause_ms_max, self.bump_after_watches, self.confirmations)
            < 1
        ):
            raise ValueError("poll_ms, pause_ms, bump_after_watches and confirmations must be positive")


class PreparedState(StrEnum):
    """What the chain says to an intent before anything is reserved for it."""

    READY = "ready"
    REFUSED = "refused"
    SHORT_OF_FUNDS = "short of funds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An intent tried out: limit and price of gas if it would succeed, else why not.

    `first_nonce` is the key's next one on the chain. It is recorded before a nonce is claimed, so that a
    claim that was made and not reported is found again from the same place, whatever the node says by then.
    The policy is recorded here, so that a changed configuration never changes a recorded course.
    """

    state: PreparedState
    policy: SendingPolicy
    gas: int = 0
    max_fee_per_gas: int = 0
    max_priority_fee_per_gas: int = 0
    first_nonce: int = 0
    reason: str | None = None
    revert_hex: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """The nonce of a logical transaction from now on, or None and the promise for which its key is halted."""

    nonce: int | None = None
    halt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signed transaction; it is recorded before anybody may broadcast it (S2).

    A `filler` is an empty transfer to oneself that uses up the nonce of a transaction that no node takes.
    """

    transaction_hash: str
    raw_hex: str = field(repr=False)
    nonce: int
    gas: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    filler: bool = False


class BroadcastState(StrEnum):
    """What the node said to the bytes."""

    ACCEPTED = "accepted"
    NONCE_USED = "nonce used"
    WAITS_FOR_EARLIER_NONCE = "waits for an earlier nonce"
    UNDERPRICED = "underpriced"
    SHORT_OF_FUNDS = "short of funds"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """The answer to one broadcast, in the node's own words where it refused."""

    state: BroadcastState
    message: str | None = None


class Position(StrEnum):
    """Where a nonce's transaction stands on the chain."""

    PENDING = "pending"
    MINED = "mined"
    FINAL = "final"
    TAKEN = "taken by another transaction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the chain shows of the transactions that share a nonce; the block's fields once it is mined."""

    position: Position
    transaction_hash: str | None = None
    block_number: int | None = None
    block_hash: str | None = None
    succeeded: bool | None = None
    gas_used: int | None = None


class SentStatus(StrEnum):
    """How a logical transaction ended."""

    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The end of a logical transaction.

    `CONFIRMED` and `REVERTED` are final on the chain and name transaction and block. `REFUSED` had no effect:
    the contract or the node would not take it. `reason` is the contract's decoded refusal, `revert_hex` its
    bytes.
    """

    status: SentStatus
    logical_id: str
    transaction_hash: str | None = None
    block_number: int | None = None
    block_hash: str | None = None
    gas_used: int | None = None
    nonce: int | None = None
    reason: str | None = None
    revert_hex: str | None = None
