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


GAS_MAX = 16_777_216
"""The most gas that one transaction may use (EIP-7825)."""
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What a mined transaction must have: so many blocks and, unless it counts `early`, finality.

    Final is what the node's tag says, or `final_depth` blocks; never one in place of the other.
    """

    confirmations: int = 1
    final_depth: int | None = None
    early: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingPolicy:
    """How patiently and at what price to send. Durations are milliseconds, fees wei a gas.

    A step watches the chain for `watch_ms`, every `poll_ms`; between watches the workflow sleeps durably,
    from `pause_ms` up to `pause_ms_max`. After `bump_after_watches` in which nothing was mined the
    transaction is replaced at `bump_percent` more, at most `bumps_max` times. A limit of gas gets
    `gas_margin_percent` more than was estimated and never exceeds `gas_max` (EIP-7825 by default). A key has
    at most `in_flight_max` transactions that are not mined: geth promises to keep 16 of an account.

    A mined transaction counts when its block is finalised and has `confirmations` blocks, its own included.
    What is finalised the node's tag says, or, with `final_depth`, so many blocks: for chains whose tag is not
    real. With `early` it counts with its `confirmations` already, and is followed until it is final.

    `balance_alarm` (wei) and `fee_alarm` warn and stop nothing. `budget` (wei) bounds what a key spends in
    any `budget_period_ms`: beyond it nothing new is sent until it has passed.
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
    max_priority_fee_per_gas: int | None = None
    gas_max: int = GAS_MAX
    in_flight_max: int = 16
    early: bool = False
    final_depth: int | None = None
    balance_alarm: int = 0
    fee_alarm: int | None = None
    budget: int | None = None
    budget_period_ms: int = DAY_MS

    def __post_init__(self) -> None:
        if self.bump_percent < 10:
            raise ValueError("bump_percent must be at least 10: nodes refuse a cheaper replacement")
        for name in _POSITIVE:
            if (getattr(self, name) or 1) < 1 or getattr(self, name) == 0:
                raise ValueError(f"{name} must be positive")

    @property
    def requirement(self) -> Requirement:
        """What a mined transaction must have."""
        return Requirement(confirmations=self.confirmations, final_depth=self.final_depth, early=self.early)


_POSITIVE = (
    "poll_ms",
    "pause_ms",
    "pause_ms_max",
    "bump_after_watches",
    "confirmations",
    "gas_max",
    "in_flight_max",
    "final_depth",
    "budget_period_ms",
)


class PreparedState(StrEnum):
    """What the chain says to an intent before anything is reserved for it."""

    READY = "ready"
    REFUSED = "refused"
    SHORT_OF_FUNDS = "short of funds"
    FEE_CAP = "fee cap"
    IN_DOUBT = "revert in doubt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An intent tried out: limit and price of gas if it would succeed, else why not.

    `REFUSED` is final; what is short of funds, above the fee cap or in doubt is waited for and tried again.

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


class Wait(StrEnum):
    """What a transaction without a nonce waits for."""

    IN_FLIGHT = "earlier transactions in flight"
    GAS_BUDGET = "gas budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """The nonce of a logical transaction from now on, or None and why there is none.

    `halt` is the promise for which the key is halted, `wait` what has to pass by itself; a key that is
    `retired` gets no nonce any more.
    """

    nonce: int | None = None
    halt: str | None = None
    wait: Wait | None = None
    retired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signed transaction; it is recorded before anybody may broadcast it (S2).

    A `filler` is an empty transfer to oneself that uses up the nonce of a transaction that no node takes, or,
    `cancelled`, of one that an operator gave up.
    """

    transaction_hash: str
    raw_hex: str = field(repr=False)
    nonce: int
    gas: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    filler: bool = False
    cancelled: bool = False


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
    """Where a nonce's transaction stands on the chain; `CONFIRMED` has its blocks and is not final yet."""

    PENDING = "pending"
    MINED = "mined"
    CONFIRMED = "confirmed"
    FINAL = "final"
    TAKEN = "taken by another transaction"


class WishKind(StrEnum):
    """What an operator may ask of a transaction that is not mined."""

    SPEED_UP = "speed up"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an operator asks of a transaction; `max_fee_per_gas` (wei) replaces the policy's caps for it.

    `promise_id` is the promise that stands for the wish, once it is made.
    """

    kind: WishKind
    max_fee_per_gas: int | None = None
    promise_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the chain shows of the transactions that share a nonce; the block's fields once it is mined.

    `wish` is what an operator has asked meanwhile, of one that still waits; `orphaned` says that one which
    waits now was mined earlier in the same watch.
    """

    position: Position
    transaction_hash: str | None = None
    block_number: int | None = None
    block_hash: str | None = None
    succeeded: bool | None = None
    gas_used: int | None = None
    fee: int | None = None
    """What was paid, in wei, where the node tells."""
    wish: Wish | None = None
    orphaned: bool = False


class SentStatus(StrEnum):
    """How a logical transaction ended."""

    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    REFUSED = "refused"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The end of a logical transaction.

    `CONFIRMED` and `REVERTED` stand on the chain as the policy requires, and name transaction and block.
    `REFUSED` had no effect: the contract or the node would not take it. `reason` is the contract's decoded
    refusal, `revert_hex` its bytes. `CANCELLED` had none either: an operator gave it up, and it is not to be
    tried again.
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
