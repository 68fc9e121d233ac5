"""The chain: one owner of machine, ledger, pool and clock, and every operation that changes them.

C2 ledger, pool, clock and observers change together: an operation that fails changes none of them.
C3 a snapshot restores blocks, altered state, pool, clock and finality; it is used once, and takes the later
   ones along.
C4 a reorganisation gives blocks with other hashes; what it leaves out is in the mempool or forgotten.

Imports no network and no JSON-RPC.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from eth.abc import SignedTransactionAPI, StateAPI
from eth.exceptions import UnrecognizedTransactionType
from eth_account import Account as Signer
from eth_account.messages import SignableMessage
from eth_typing import Address
from eth_utils.address import to_canonical_address
from eth_utils.exceptions import ValidationError

from hardhat_free_chain import formats
from hardhat_free_chain.accounts import deterministic_accounts
from hardhat_free_chain.encoding import RLPException
from hardhat_free_chain.errors import InvalidParams, TransactionRejected
from hardhat_free_chain.impersonation import impersonated
from hardhat_free_chain.ledger import Block, assemble
from hardhat_free_chain.machine import BlockPlan, OpenBlock
from hardhat_free_chain.pool import Account, check_is_valid
from hardhat_free_chain.reader import ChainReader, Controls, serialised
from hardhat_free_chain.reorganisation import Reorganisation, plan
from hardhat_free_chain.settings import ChainSettings
from hardhat_free_chain.snapshots import Snapshot, Snapshots, bring_back

PRIORITY_FEE_WEI = 10**9


class ChainObserver:
    """Is told of changes in the thread that made them; overrides what it wants to know, and is quick."""

    def block_added(self, block: Block) -> None:
        """`block` is the new head."""

    def rewound(self, height: int, removed: Sequence[Block]) -> None:
        """All blocks above `height` are gone; `removed` are those that a reorganisation took, in order."""

    def transaction_added(self, transaction_hash: bytes) -> None:
        """A transaction has entered the mempool."""

    def pace_changed(self) -> None:
        """The interval between blocks is another one."""


class LocalChain(ChainReader):
    """A chain in memory. Amounts are in wei, times in whole seconds, hashes and addresses are bytes."""

    def __init__(self, settings: ChainSettings, wall_clock: Callable[[], float] = time.time) -> None:
        accounts = deterministic_accounts(settings.accounts, settings.mnemonic)
        self._keys = {to_canonical_address(address): key for address, key in accounts}
        balances: dict[bytes, int] = dict.fromkeys(self._keys, settings.balance_wei)
        super().__init__(settings, balances, wall_clock)
        self._snapshots = Snapshots()
        self._forks = 0
        # Why the EVM refused transactions of the latest block.
        self._refused: dict[bytes, str] = {}
        self._observers: list[ChainObserver] = []
        self._genesis_clock = self.clock.state()
        self._genesis_finality = self.finality.state()

    @property
    def accounts(self) -> list[Address]:
        """The addresses whose keys the chain holds."""
        return list(self._keys)

    @property
    def auto_mine(self) -> bool:
        """Whether a transaction is mined before its send is answered."""
        return self.controls.auto_mine

    @auto_mine.setter
    def auto_mine(self, value: bool) -> None:
        self.controls.auto_mine = value

    def observe(self, observer: ChainObserver) -> None:
        """Tell `observer` of every later change."""
        self._observers.append(observer)

    @serialised
    def restore_controls(self, controls: Controls) -> None:
        """Return to controls as they were."""
        self.controls = controls
        self.machine.set_chain_id(controls.chain_id)
        self.set_block_interval(controls.block_interval_s)

    def set_block_interval(self, seconds: float | None) -> None:
        """Mine a block every so many seconds from now on; None ends it. Heeded by the server."""
        self.controls.block_interval_s = seconds
        for observer in self._observers:
            observer.pace_changed()

    # -- transactions ----------------------------------------------------------------------------------

    @serialised
    def send_raw_transaction(self, raw: bytes) -> bytes:
        """Accept a signed transaction; mined before this returns where automine is on and nothing is missing.

        Returns its hash. Raises TransactionRejected.
        """
        return self._accept(self._decode(raw))

    @serialised
    def send_from_account(self, fields: dict[str, Any], sender: Address) -> bytes:
        """Sign with one of the chain's own keys and send; `fields` are eth_account's, the nonce optional.

        Of an impersonated account no key is needed. Raises InvalidParams for any other.
        """
        if sender in self._keys:
            return self._accept(self._decode(self.sign(fields, sender)))
        fields = {"nonce": self.nonce(sender, None), **fields}
        if not self.controls.impersonates_all and sender not in self.controls.impersonated:
            raise InvalidParams(f"unknown account: the chain holds no key of {formats.data(sender)}")
        return self._accept(impersonated(fields, sender, self._decode))

    @serialised
    def sign(self, fields: dict[str, Any], sender: Address) -> bytes:
        """A raw transaction, signed with one of the chain's own keys; `fields` as for `send_from_account`."""
        key = self._key(sender)
        fields = {"nonce": self.nonce(sender, None), **fields}
        return bytes(Signer.sign_transaction(fields, key).raw_transaction)

    def sign_message(self, message: SignableMessage, signer: Address) -> bytes:
        """The signature of a message (65 bytes) by one of the chain's own keys."""
        return bytes(Signer.sign_message(message, self._key(signer)).signature)

    def _key(self, holder: Address) -> str:
        if holder not in self._keys:
            raise InvalidParams(f"unknown account: the chain holds no key of {formats.data(holder)}")
        return self._keys[holder]

    @serialised
    def drop_transaction(self, transaction_hash: bytes) -> bool:
        """Let the node forget a waiting transaction; false if it has none with this hash."""
        found = self.pool.get(transaction_hash)
        return found is not None and self.pool.remove(found)

    @serialised
    def set_chain_id(self, chain_id: int) -> None:
        """Be another chain from now on; transactions signed for the former one are refused."""
        self.controls.chain_id = chain_id
        self.machine.set_chain_id(chain_id)

    @serialised
    def restart(self) -> int:
        """Let the node forget its mempool, as a restart without a journal does; returns how many went."""
        count = len(self.pool)
        self.pool.clear()
        return count

    # -- mining ----------------------------------------------------------------------------------------

    @serialised
    def mine(self, timestamp: int | None = None) -> Block:
        """Mine one block of what waits, empty if nothing does."""
        if timestamp is not None:
            self.clock.choose(timestamp, self.head.header.timestamp)
        opened = self._open_next()
        block = self._append(opened)
        self.clock.mined(block.header.timestamp)
        self.controls.next_base_fee = self.controls.next_randomness = None
        for transaction, _ in opened.refused:
            self.pool.remove(transaction)
        self._refused = {transaction.hash: reason for transaction, reason in opened.refused}
        return block

    @serialised
    def choose_next_timestamp(self, timestamp: int) -> None:
        """Fix the next block's timestamp, which must be later than the head's."""
        self.clock.choose(timestamp, self.head.header.timestamp)

    @serialised
    def reorganise(self, wanted: Reorganisation) -> list[Block]:
        """Replace the latest blocks by others (C4), however final they are; returns the new ones.

        Each new block has the timestamp of the old one at its height. Transactions that cannot stand where
        they should (for nonce, funds or room) go to the mempool. What was altered by hand in the blocks that
        go (balances, code, storage) is lost with them.
        """
        wanted.check(self.ledger.height)
        fork = self.ledger.height - wanted.depth
        removed = self.ledger.above(fork)
        branch = plan(wanted, removed, self._decode_valid)
        self._leave(fork, removed)
        for offset, transactions in enumerate(branch.blocks):
            timestamp = removed[offset].header.timestamp if offset < len(removed) else None
            branch.pooled += self._append_branch(transactions, timestamp, first=offset == 0)
        for transaction in branch.pooled:
            if transaction.nonce >= self._account_nonce(transaction.sender):
                self.pool.put(transaction)
        return list(self.ledger.above(fork))

    def reorg(self, depth: int, **choices: Any) -> list[Block]:
        """`reorganise` by keywords, those of `Reorganisation`."""
        return self.reorganise(Reorganisation(depth=depth, **choices))

    # -- control ---------------------------------------------------------------------------------------

    @serialised
    def snapshot(self) -> int:
        """Remember the present; returns the snapshot's number."""
        return self._snapshots.add(
            Snapshot(
                branch=self.ledger.height,
                state_root=self.head.state_root,
                pool=self.pool.state(),
                clock=self.clock.state(),
                finality=self.finality.state(),
            )
        )

    @serialised
    def revert(self, number: int) -> bool:
        """Return to a snapshot and use it up, with all later ones (C3); False if there is none."""
        snapshot = self._snapshots.take(number)
        if snapshot is None:
            return False
        self._snapshots.leave(snapshot.branch, self.ledger.at)
        bring_back(self.ledger, snapshot)
        self.pool.restore(snapshot.pool)
        self.clock.restore(snapshot.clock)
        self.finality.restore(snapshot.finality)
        for observer in self._observers:
            observer.rewound(snapshot.branch, ())
        return True

    @serialised
    def reset(self) -> None:
        """Begin again at genesis: no blocks, mempool or altered accounts; clock and tags anew.

        Snapshots stay, and may be reverted to.
        """
        self._snapshots.leave(0, self.ledger.at)
        self.ledger.truncate(0)
        self.ledger.alter_head_state(self.machine.genesis.state_root)
        self.pool.clear()
        self.clock.restore(self._genesis_clock)
        self.finality.restore(self._genesis_finality)
        for observer in self._observers:
            observer.rewound(0, ())

    @serialised
    def rollback(self, depth: int) -> None:
        """Take the latest blocks away and put none in their place; their transactions are forgotten."""
        if not 1 <= depth <= self.ledger.height:
            raise InvalidParams(f"depth is {depth}; give 1 to {self.ledger.height}")
        fork = self.ledger.height - depth
        self._leave(fork, self.ledger.above(fork))

    @serialised
    def alter_state(self, change: Callable[[StateAPI], None]) -> None:
        """Change accounts at the head by hand, for calls and blocks from now on."""
        state = self.machine.state_at(self.head.header, self.head.state_root)
        change(state)
        state.persist()
        self.ledger.alter_head_state(state.state_root)

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

    def _decode_valid(self, raw: bytes) -> SignedTransactionAPI:
        transaction = self._decode(raw)
        check_is_valid(transaction, self.chain_id, self.controls.block_gas_limit)
        return transaction

    def _accept(self, transaction: SignedTransactionAPI) -> bytes:
        check_is_valid(transaction, self.chain_id, self.controls.block_gas_limit)
        state = self._state_for_calls(self.head)
        sender = transaction.sender
        account = Account(nonce=state.get_nonce(sender), balance=state.get_balance(sender))
        if self.auto_mine:
            self._check_base_fee(transaction)
        self.pool.add(transaction, account)
        for observer in self._observers:
            observer.transaction_added(transaction.hash)
        if self.auto_mine and transaction.nonce < self.pool.next_nonce(sender, account.nonce):
            self._mine_at_once(transaction)
        return transaction.hash

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

    def _append(self, opened: OpenBlock) -> Block:
        """Make an open block the head, and settle the mempool with it."""
        header = self.machine.seal(opened, self.head.header)
        block = assemble(header, opened.applied)
        self.ledger.append(block)
        for applied in opened.applied:
            self.pool.settle(applied.transaction.sender, applied.transaction.nonce + 1)
        for observer in self._observers:
            observer.block_added(block)
        return block

    def _append_branch(
        self, transactions: Sequence[SignedTransactionAPI], timestamp: int | None, *, first: bool
    ) -> list[SignedTransactionAPI]:
        """Append a block of a new branch; returns the transactions that cannot stand in it."""
        self._forks += 1
        # The salt of the first block makes the whole branch another one.
        salt = self._forks.to_bytes(8, "big") if first else b""
        opened = self.machine.open_block(
            self.head.header,
            self.head.state_root,
            self.next_timestamp() if timestamp is None else timestamp,
            transactions,
            BlockPlan(gas_limit=self.controls.block_gas_limit, coinbase=self.controls.coinbase, salt=salt),
        )
        block = self._append(opened)
        if timestamp is None:
            self.clock.mined(block.header.timestamp)
        included = {each.transaction.hash for each in opened.applied}
        return [each for each in transactions if each.hash not in included]

    def _leave(self, fork: int, removed: Sequence[Block]) -> None:
        """Take the blocks above a fork away."""
        self._snapshots.leave(fork, self.ledger.at)
        self.finality.reorganised(self.ledger.height)
        self.ledger.truncate(fork)
        for observer in self._observers:
            observer.rewound(fork, removed)
