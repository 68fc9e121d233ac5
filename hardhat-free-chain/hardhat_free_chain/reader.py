"""What can be asked of the chain at any block: heights, states, nonces, calls and fees.

C1 all operations are serialised by `lock`; each public method takes it, and a caller that needs several in
   one piece holds it around them.

Imports no network and no JSON-RPC.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from eth.abc import StateAPI
from eth.constants import ZERO_ADDRESS
from eth_typing import Address

from hardhat_free_chain import calls, formats
from hardhat_free_chain.clock import ChainClock
from hardhat_free_chain.finality import Finality
from hardhat_free_chain.ledger import Block, Ledger
from hardhat_free_chain.machine import BlockPlan, Machine, OpenBlock
from hardhat_free_chain.pool import PoolLimits, TransactionPool
from hardhat_free_chain.settings import ChainSettings

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Self = TypeVar("Self", bound="ChainReader")


def serialised(
    method: Callable[Concatenate[Self, Parameters], Result],
) -> Callable[Concatenate[Self, Parameters], Result]:
    """Run a method of the chain alone (C1)."""

    @wraps(method)
    def alone(self: Self, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with self.lock:
            return method(self, *args, **kwargs)

    return alone


@dataclass(slots=True, kw_only=True)
class Controls:
    """What the control methods set; base fee and randomness are the next block's only."""

    auto_mine: bool
    block_interval_s: float | None
    chain_id: int
    block_gas_limit: int
    coinbase: bytes = ZERO_ADDRESS
    next_base_fee: int | None = None
    next_randomness: bytes | None = None
    impersonated: frozenset[bytes] = frozenset()
    impersonates_all: bool = False


class ChainReader:
    """The parts of a chain, and reading from them."""

    def __init__(
        self, settings: ChainSettings, balances: dict[bytes, int], wall_clock: Callable[[], float]
    ) -> None:
        self.settings = settings
        self.lock = threading.RLock()
        self.clock = ChainClock(wall_clock, settings.base_timestamp)
        self.machine = Machine(
            chain_id=settings.chain_id,
            genesis_timestamp=self.clock.genesis_timestamp,
            gas_limit=settings.block_gas_limit,
            balances=balances,
            number_of=settings.contract_block if settings.contract_blocks_from is not None else None,
        )
        self.ledger = Ledger(self.machine.genesis)
        self.pool = TransactionPool(
            PoolLimits(
                hold_gaps=settings.hold_nonce_gaps,
                queue_max=settings.queued_per_sender,
                sender_max=settings.waiting_per_sender,
            )
        )
        self.finality = Finality(
            finalized_lag=settings.finality_lag,
            safe_lag=settings.finality_lag if settings.safe_lag is None else settings.safe_lag,
        )
        self.controls = Controls(
            auto_mine=settings.auto_mine,
            block_interval_s=settings.block_interval_s,
            chain_id=settings.chain_id,
            block_gas_limit=settings.block_gas_limit,
        )
        self._call_state: tuple[bytes, bytes, StateAPI] | None = None

    @property
    def chain_id(self) -> int:
        """The chain's id (EIP-155)."""
        return self.controls.chain_id

    @property
    def head(self) -> Block:
        """The highest block."""
        return self.ledger.head

    # -- heights ---------------------------------------------------------------------------------------

    def height_of(self, tag: str) -> int:
        """The block number of `earliest`, `latest`, `safe` or `finalized`."""
        if tag == "earliest":
            return 0
        if tag in ("safe", "finalized"):
            return self.finality.height(tag, self.ledger.height)
        return self.ledger.height

    # -- state and calls -------------------------------------------------------------------------------

    @serialised
    def state(self, block: Block | None) -> StateAPI:
        """The state after a block, to be read only; None means the pending block."""
        if block is None:
            return self._open_next().vm.state
        return self._state_for_calls(block)

    @serialised
    def nonce(self, address: Address, block: Block | None) -> int:
        """The account's next nonce after a block, or after the pending transactions (None)."""
        nonce: int = self._state_for_calls(block or self.head).get_nonce(address)
        return nonce if block else self.pool.next_nonce(address, nonce)

    @serialised
    def call(self, call: calls.Call, block: Block | None) -> bytes:
        """Run a call in a block's own context: at the head, block.timestamp is the head's.

        Raises ExecutionReverted or ExecutionFailed.
        """
        result = calls.run_call(self._call_context(call, block), call)
        calls.raise_if_failed(result)
        return result.output

    @serialised
    def estimate_gas(self, call: calls.Call, block: Block | None) -> int:
        """The gas limit that this transaction needs, within 1.5 %; `call.gas` is the most that is tried."""
        state = self._call_context(call, block)
        gas_max = call.gas
        if call.max_fee_per_gas:
            available = state.get_balance(call.sender) - call.value
            gas_max = min(gas_max, max(available, 0) // call.max_fee_per_gas)

        def run(gas: int) -> calls.CallResult:
            return calls.run_call(state, replace(call, gas=gas))

        if call.to and not call.data and run(calls.BASE_GAS).error is None:
            return calls.BASE_GAS
        return calls.estimate_gas(run, gas_max)

    # -- the next block --------------------------------------------------------------------------------

    @serialised
    def next_base_fee(self) -> int:
        """The base fee of the next block."""
        chosen = self.controls.next_base_fee
        return self.machine.next_base_fee(self.head.header) if chosen is None else chosen

    @serialised
    def next_timestamp(self) -> int:
        """The timestamp of the pending block."""
        return self.clock.next_timestamp(self.head.header.timestamp)

    @serialised
    def pending_as_json(self, *, full: bool) -> dict[str, Any]:
        """The block that would be mined now."""
        opened = self._open_next()
        transactions = [each.transaction for each in opened.applied]
        shown = [
            formats.pending_transaction(each) if full else formats.data(each.hash) for each in transactions
        ]
        encoded = [each.encode() for each in transactions]
        return formats.block(opened.header, shown, encoded, pending=True)

    @serialised
    def pool_as_json(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(pending, queued) transactions, each by sender and decimal nonce."""
        pending, queued = self.pool.split(self._account_nonce)
        return formats.pool_part(pending), formats.pool_part(queued)

    # -- inside ----------------------------------------------------------------------------------------

    def _account_nonce(self, sender: bytes) -> int:
        nonce: int = self._state_for_calls(self.head).get_nonce(Address(sender))
        return nonce

    def _open_next(self) -> OpenBlock:
        head = self.head
        ready = self.pool.ready(self.next_base_fee(), self._account_nonce) if len(self.pool) else []
        return self.machine.open_block(
            head.header, head.state_root, self.next_timestamp(), ready, self._plan()
        )

    def _plan(self) -> BlockPlan:
        controls = self.controls
        return BlockPlan(
            gas_limit=controls.block_gas_limit,
            coinbase=controls.coinbase,
            base_fee=controls.next_base_fee,
            randomness=controls.next_randomness,
        )

    def _call_context(self, call: calls.Call, block: Block | None) -> StateAPI:
        if block is None:
            opened = self._open_next()
            if opened.applied or call.max_fee_per_gas:
                return opened.vm.state
            return self.machine.state_at(opened.header, self.head.state_root, free=True)
        if call.max_fee_per_gas:
            return self.machine.state_at(block.header, block.state_root)
        return self._state_for_calls(block)

    def _state_for_calls(self, block: Block) -> StateAPI:
        """The state after a block with a base fee of zero; the head's is kept between calls."""
        if block is not self.head:
            return self.machine.state_at(block.header, block.state_root, free=True)
        kept = self._call_state
        if kept is None or kept[:2] != (block.hash, block.state_root):
            state = self.machine.state_at(block.header, block.state_root, free=True)
            self._call_state = kept = (block.hash, block.state_root, state)
        return kept[2]
