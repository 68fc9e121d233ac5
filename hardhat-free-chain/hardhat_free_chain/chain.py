"""The chain: one owner of machine, ledger, pool and clock, and every operation on them.

C1 all operations are serialised by `lock`; each public method takes it, and a caller that needs several in
   one piece holds it around them.
C2 ledger, pool, clock and observers change together: an operation that fails changes none of them.
C3 a snapshot restores blocks, altered state, pool and clock; it is used once, and takes the later ones along.

Imports no network and no JSON-RPC.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from eth.abc import SignedTransactionAPI, StateAPI
from eth.exceptions import UnrecognizedTransactionType
from eth_account import Account as Signer
from eth_typing import Address
from eth_utils.address import to_canonical_address
from eth_utils.exceptions import ValidationError

from hardhat_free_chain import calls, formats
from hardhat_free_chain.accounts import deterministic_accounts
from hardhat_free_chain.clock import ChainClock, ClockState
from hardhat_free_chain.encoding import RLPException
from hardhat_free_chain.errors import InvalidParams, TransactionRejected
from hardhat_free_chain.ledger import Block, Ledger, assemble
from hardhat_free_chain.machine import Machine, OpenBlock
from hardhat_free_chain.pool import Account, PoolState, TransactionPool, check_is_valid
from hardhat_free_chain.settings import ChainSettings

PRIORITY_FEE_WEI = 10**9
SNAPSHOTS_MAX = 10_000

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class ChainObserver:
    """Is told of changes in the thread that made them; overrides what it wants to know, and is quick."""

    def block_added(self, block: Block) -> None:
        """`block` is the new head."""

    def rewound(self, height: int) -> None:
        """All blocks above `height` are gone."""

    def pace_changed(self) -> None:
        """The interval between blocks is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What evm_revert brings back."""

    height: int
    state_root: bytes
    pool: PoolState
    clock: ClockState


def serialised(
    method: Callable[Concatenate["LocalChain", Parameters], Result],
) -> Callable[Concatenate["LocalChain", Parameters], Result]:
    """Run a method of the chain alone (C1)."""

    @wraps(method)
    def alone(self: "LocalChain", /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with self.lock:
            return method(self, *args, **kwargs)

    return alone


class LocalChain:
    """A chain in memory. Amounts are in wei, times in whole seconds, hashes and addresses are bytes."""

    def __init__(self, settings: ChainSettings, wall_clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.lock = threading.RLock()
        self.clock = ChainClock(wall_clock, settings.base_timestamp)
        accounts = deterministic_accounts(settings.accounts, settings.mnemonic)
        self._keys = {to_canonical_address(address): key for address, key in accounts}
        self.machine = Machine(
            chain_id=settings.chain_id,
            genesis_timestamp=self.clock.genesis_timestamp,
            gas_limit=settings.block_gas_limit,
            balances=dict.fromkeys(self._keys, settings.balance_wei),
        )
        self.ledger = Ledger(self.machine.genesis)
        self.pool = TransactionPool()
        self.auto_mine = settings.auto_mine
        self.block_interval_s = settings.block_interval_s
        self._snapshots: dict[int, Snapshot] = {}
        self._last_snapshot = 0
        # Why the EVM refused transactions of the latest block.
        self._refused: dict[bytes, str] = {}
        self._observers: list[ChainObserver] = []
        self._call_state: tuple[bytes, bytes, StateAPI] | None = None

    @property
    def chain_id(self) -> int:
        """The chain's id (EIP-155)."""
        return self.settings.chain_id

    @property
    def accounts(self) -> list[Address]:
        """The addresses whose keys the chain holds."""
        return list(self._keys)

    @property
    def head(self) -> Block:
        """The highest block."""
        return self.ledger.head

    def observe(self, observer: ChainObserver) -> None:
        """Tell `observer` of every later change."""
        self._observers.append(observer)

    def set_block_interval(self, seconds: float | None) -> None:
        """Mine a block every so many seconds from now on; None ends it. Heeded by the server."""
        self.block_interval_s = seconds
        for observer in self._observers:
            observer.pace_changed()

    @serialised
    def block_before(self, block: Block, distance: int) -> Block | None:
        """The canonical block so many blocks below; None below genesis."""
        number = block.number - distance
        return self.ledger.at(number) if 0 <= number <= self.ledger.height else None

    # -- where a tag points ----------------------------------------------------------------------------

    def height_of(self, tag: str) -> int:
        """The block number of `earliest`, `latest`, `safe` or `finalized`."""
        if tag == "earliest":
            return 0
        if tag in ("safe", "finalized"):
            return max(0, self.ledger.height - self.settings.finality_lag)
        return self.ledger.height

    # -- state and calls -------------------------------------------------------------------------------

    @serialised
    def state(self, block: Block | None) -> StateAPI:
        """The state after a block, to be read only; None means the pending block."""
        if block is None:
            return self._pending_block().vm.state
        return self._state_for_calls(block)

    @serialised
    def nonce(self, address: Address, block: Block | None) -> int:
        """The account's next nonce after a block, or after the waiting transactions (None)."""
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
            return calls.run_call(state, _with_gas(call, gas))

        if call.to and not call.data and run(calls.BASE_GAS).error is None:
            return calls.BASE_GAS
        return calls.estimate_gas(run, gas_max)

    # -- fees ------------------------------------------------------------------------------------------

    @serialised
    def next_base_fee(self) -> int:
        """The base fee of the next block."""
        return self.machine.next_base_fee(self.head.header)

    # -- transactions ----------------------------------------------------------------------------------

    @serialised
    def send_raw_transaction(self, raw: bytes) -> bytes:
        """Accept a signed transaction; mined before this returns where automine is on.

        Returns its hash. Raises TransactionRejected.
        """
        transaction = self._decode(raw)
        check_is_valid(transaction, self.chain_id, self.settings.block_gas_limit)
        state = self._state_for_calls(self.head)
        account = Account(
            nonce=state.get_nonce(transaction.sender), balance=state.get_balance(transaction.sender)
        )
        if self.auto_mine:
            self._check_base_fee(transaction)
        self.pool.add(transaction, account)
        if self.auto_mine:
            self._mine_at_once(transaction)
        return transaction.hash

    @serialised
    def send_from_account(self, fields: dict[str, Any], sender: Address) -> bytes:
        """Sign with one of the chain's own keys and send; `fields` are eth_account's, the nonce optional."""
        if sender not in self._keys:
            raise InvalidParams(f"unknown account: the chain holds no key of {formats.data(sender)}")
        fields = {"nonce": self.nonce(sender, None), **fields}
        signed = Signer.sign_transaction(fields, self._keys[sender])
        return self.send_raw_transaction(bytes(signed.raw_transaction))

    # -- mining ----------------------------------------------------------------------------------------

    @serialised
    def mine(self, timestamp: int | None = None) -> Block:
        """Mine one block of what waits, empty if nothing does."""
        if timestamp is not None:
            self.clock.choose(timestamp, self.head.header.timestamp)
        opened = self._open_next(self.pool.ready(self.next_base_fee()))
        header = self.machine.seal(opened, self.head.header)
        block = assemble(header, opened.applied)
        self.ledger.append(block)
        self.clock.mined(header.timestamp)
        for applied in opened.applied:
            self.pool.remove(applied.transaction)
        for transaction, _ in opened.refused:
            self.pool.remove(transaction)
        self._refused = {transaction.hash: reason for transaction, reason in opened.refused}
        for observer in self._observers:
            observer.block_added(block)
        return block

    @serialised
    def choose_next_timestamp(self, timestamp: int) -> None:
        """Fix the next block's timestamp, which must be later than the head's."""
        self.clock.choose(timestamp, self.head.header.timestamp)

    @serialised
    def next_timestamp(self) -> int:
        """The timestamp of the pending block."""
        return self.clock.next_timestamp(self.head.header.timestamp)

    # -- control ---------------------------------------------------------------------------------------

    @serialised
    def snapshot(self) -> int:
        """Remember the present; returns the snapshot's number."""
        self._last_snapshot += 1
        self._snapshots[self._last_snapshot] = Snapshot(
            height=self.ledger.height,
            state_root=self.head.state_root,
            pool=self.pool.state(),
            clock=self.clock.state(),
        )
        if len(self._snapshots) > SNAPSHOTS_MAX:
            del self._snapshots[min(self._snapshots)]
        return self._last_snapshot

    @serialised
    def revert(self, number: int) -> bool:
        """Return to a snapshot and use it up, with all later ones (C3); False if there is none."""
        snapshot = self._snapshots.get(number)
        if snapshot is None:
            return False
        self._snapshots = {key: value for key, value in self._snapshots.items() if key < number}
        self.ledger.truncate(snapshot.height)
        self.ledger.alter_head_state(snapshot.state_root)
        self.pool.restore(snapshot.pool)
        self.clock.restore(snapshot.clock)
        for observer in self._observers:
            observer.rewound(snapshot.height)
        return True

    @serialised
    def alter_state(self, change: Callable[[StateAPI], None]) -> None:
        """Change accounts at the head by hand, for calls and blocks from now on."""
        state = self.machine.state_at(self.head.header, self.head.state_root)
        change(state)
        state.persist()
        self.ledger.alter_head_state(state.state_root)

    @serialised
    def pending_as_json(self, *, full: bool) -> dict[str, Any]:
        """The block that would be mined now."""
        opened = self._pending_block()
        transactions = [each.transaction for each in opened.applied]
        shown = [
            formats.pending_transaction(each) if full else formats.data(each.hash) for each in transactions
        ]
        encoded = [each.encode() for each in transactions]
        return formats.block(opened.header, shown, encoded, pending=True)

    # -- inside ----------------------------------------------------------------------------------------

    def _decode(self, raw: bytes) -> SignedTransactionAPI:
        try:
            transaction = self.machine.transaction_builder.decode(raw)
            # The sender is recovered here once and kept; a signature that recovers nobody is refused.
            _ = transaction.sender
        except (
            RLPException,
            UnrecognizedTransactionType,
            ValidationError,
            ValueError,
            IndexError,
            TypeError,
        ) as error:
            raise TransactionRejected(f"rlp: the transaction cannot be decoded: {error}") from error
        return transaction

    def _check_base_fee(self, transaction: SignedTransactionAPI) -> None:
        base_fee = self.next_base_fee()
        if transaction.max_fee_per_gas < base_fee:
            raise TransactionRejected(
                "max fee per gas less than block base fee: "
                f"address {formats.data(transaction.sender)}, "
                f"maxFeePerGas: {transaction.max_fee_per_gas}, baseFee: {base_fee}"
            )

    def _mine_at_once(self, transaction: SignedTransactionAPI) -> None:
        """Mine until the transaction is in: earlier ones of the pool may fill a block of their own."""
        while self.pool.get(transaction.hash) is not None:
            waiting = len(self.pool)
            self.mine()
            if len(self.pool) == waiting:
                return
        if self.ledger.transaction(transaction.hash) is None:
            raise TransactionRejected(f"the EVM refused the transaction: {self._refused[transaction.hash]}")

    def _pending_block(self) -> OpenBlock:
        return self._open_next(self.pool.ready(self.next_base_fee()) if len(self.pool) else [])

    def _open_next(self, transactions: list[SignedTransactionAPI]) -> OpenBlock:
        head = self.head
        return self.machine.open_block(head.header, head.state_root, self.next_timestamp(), transactions)

    def _call_context(self, call: calls.Call, block: Block | None) -> StateAPI:
        if block is None:
            opened = self._pending_block()
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


def _with_gas(call: calls.Call, gas: int) -> calls.Call:
    return calls.Call(
        sender=call.sender,
        to=call.to,
        data=call.data,
        value=call.value,
        gas=gas,
        max_fee_per_gas=call.max_fee_per_gas,
        max_priority_fee_per_gas=call.max_priority_fee_per_gas,
        access_list=call.access_list,
        type_id=call.type_id,
    )
