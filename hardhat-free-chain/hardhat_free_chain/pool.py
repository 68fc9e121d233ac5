"""Transactions that were accepted and are not mined yet, by go-ethereum's rules.

P1 of a sender's transactions, those with consecutive nonces from the account's own are pending; what stands
   beyond a gap is queued, and is pending as soon as the gap is filled.
P2 one transaction a sender and nonce; another takes its place only for a tenth more of both fees.
P3 a sender has at most `queue_max` queued ones: of more, the highest nonces are forgotten without a word.

The texts of refusals are go-ethereum's, because clients match them. Imports no network.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from eth.abc import SignedTransactionAPI
from eth.vm.forks.cancun.constants import BLOB_TX_TYPE
from eth.vm.forks.shanghai.constants import MAX_INITCODE_SIZE

from hardhat_free_chain.calls import data_floor_gas
from hardhat_free_chain.errors import LimitExceeded, TransactionRejected

TRANSACTIONS_MAX = 5_000
QUEUE_MAX = 64
PRICE_BUMP_PERCENT = 10

NonceOf = Callable[[bytes], int]
BySender = dict[bytes, dict[int, SignedTransactionAPI]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The sender's account at the head."""

    nonce: int
    balance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """What a snapshot keeps of the pool, in order of arrival."""

    transactions: tuple[SignedTransactionAPI, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """How much waits: for one sender beyond a gap, for one sender in all (None: any number), and altogether.

    Without `hold_gaps` a nonce beyond a gap is refused, as Hardhat does where it mines at once.
    """

    hold_gaps: bool = True
    queue_max: int = QUEUE_MAX
    sender_max: int | None = None
    transactions_max: int = TRANSACTIONS_MAX


class TransactionPool:
    """The waiting transactions."""

    def __init__(self, limits: PoolLimits | None = None) -> None:
        self._limits = limits or PoolLimits()
        # In order of arrival.
        self._by_hash: dict[bytes, SignedTransactionAPI] = {}
        self._by_sender: BySender = {}

    def __len__(self) -> int:
        return len(self._by_hash)

    def __iter__(self) -> Iterator[SignedTransactionAPI]:
        return iter(tuple(self._by_hash.values()))

    def get(self, transaction_hash: bytes) -> SignedTransactionAPI | None:
        """The waiting transaction with this hash."""
        return self._by_hash.get(transaction_hash)

    def next_nonce(self, sender: bytes, account_nonce: int) -> int:
        """The nonce after the sender's pending transactions (P1)."""
        held = self._by_sender.get(sender, {})
        nonce = account_nonce
        while nonce in held:
            nonce += 1
        return nonce

    def split(self, nonce_of: NonceOf) -> tuple[BySender, BySender]:
        """All waiting transactions as (pending, queued), each by sender and nonce in rising order (P1)."""
        pending: BySender = {}
        queued: BySender = {}
        for sender, held in self._by_sender.items():
            beyond = self.next_nonce(sender, nonce_of(sender))
            for nonce in sorted(held):
                part = pending if nonce < beyond else queued
                part.setdefault(sender, {})[nonce] = held[nonce]
        return pending, queued

    def add(self, transaction: SignedTransactionAPI, account: Account) -> None:
        """Accept a transaction that `check_is_valid` has passed.

        Raises TransactionRejected: already known, nonce too low (or too high, where gaps are not held),
        underpriced replacement, insufficient funds (for everything the sender has pending).
        """
        if transaction.hash in self._by_hash:
            raise TransactionRejected("already known")
        self._check_nonce(transaction, account)
        held = self._by_sender.get(transaction.sender, {})
        replaced = held.get(transaction.nonce)
        if replaced is not None:
            _check_outbids(transaction, replaced)
        else:
            self._check_room(len(held))
        self._check_funds(transaction, account, replaced)
        if replaced is not None:
            self.remove(replaced)
        self.put(transaction)
        self._forget_excess(transaction.sender, account.nonce)

    def put(self, transaction: SignedTransactionAPI) -> None:
        """Hold a transaction without asking; what has its place already stays."""
        held = self._by_sender.setdefault(transaction.sender, {})
        if transaction.nonce not in held:
            held[transaction.nonce] = transaction
            self._by_hash[transaction.hash] = transaction

    def remove(self, transaction: SignedTransactionAPI) -> bool:
        """Forget a transaction that was mined, replaced, dropped or found impossible; False if not held."""
        if self._by_hash.pop(transaction.hash, None) is None:
            return False
        held = self._by_sender[transaction.sender]
        del held[transaction.nonce]
        if not held:
            del self._by_sender[transaction.sender]
        return True

    def settle(self, sender: bytes, account_nonce: int) -> None:
        """The account has come to this nonce: forget what is below."""
        held = self._by_sender.get(sender, {})
        for nonce in [each for each in held if each < account_nonce]:
            self.remove(held[nonce])

    def remove_sender(self, sender: bytes) -> int:
        """Forget everything of a sender; returns how much it was."""
        gone = list(self._by_sender.get(sender, {}).values())
        for transaction in gone:
            self.remove(transaction)
        return len(gone)

    def clear(self) -> None:
        """Forget everything."""
        self._by_hash.clear()
        self._by_sender.clear()

    def ready(self, base_fee: int, nonce_of: NonceOf) -> list[SignedTransactionAPI]:
        """What a block with this base fee can take: the best paid first, each sender's in order of nonces."""
        arrival = {hash_: index for index, hash_ in enumerate(self._by_hash)}
        heads: list[tuple[int, int, bytes, int]] = []

        def offer(sender: bytes, nonce: int) -> None:
            transaction = self._by_sender[sender].get(nonce)
            if transaction is not None and transaction.max_fee_per_gas >= base_fee:
                tip = min(transaction.max_priority_fee_per_gas, transaction.max_fee_per_gas - base_fee)
                heapq.heappush(heads, (-tip, arrival[transaction.hash], sender, nonce))

        for sender in self._by_sender:
            offer(sender, nonce_of(sender))
        ready = []
        while heads:
            _, _, sender, nonce = heapq.heappop(heads)
            ready.append(self._by_sender[sender][nonce])
            offer(sender, nonce + 1)
        return ready

    def state(self) -> PoolState:
        """The state for a snapshot."""
        return PoolState(transactions=tuple(self._by_hash.values()))

    def restore(self, state: PoolState) -> None:
        """Return to a snapshot's state."""
        self.clear()
        for transaction in state.transactions:
            self.put(transaction)

    def _check_nonce(self, transaction: SignedTransactionAPI, account: Account) -> None:
        if transaction.nonce < account.nonce:
            raise TransactionRejected(
                f"nonce too low: next nonce {account.nonce}, tx nonce {transaction.nonce}"
            )
        expected = self.next_nonce(transaction.sender, account.nonce)
        if transaction.nonce > expected and not self._limits.hold_gaps:
            raise TransactionRejected(
                f"nonce too high: tx nonce {transaction.nonce}, gapped nonce {expected}"
            )

    def _check_room(self, held: int) -> None:
        limits = self._limits
        if len(self._by_hash) >= limits.transactions_max:
            raise LimitExceeded(
                f"txpool is full: {limits.transactions_max} transactions wait; mine a block first"
            )
        if limits.sender_max is not None and held >= limits.sender_max:
            raise TransactionRejected(f"txpool is full: {held} transactions of this sender wait")

    def _check_funds(
        self, transaction: SignedTransactionAPI, account: Account, replaced: SignedTransactionAPI | None
    ) -> None:
        held = self._by_sender.get(transaction.sender, {})
        nonces = range(account.nonce, self.next_nonce(transaction.sender, account.nonce))
        waiting = (held[nonce] for nonce in nonces)
        queued = sum(cost_wei(each) for each in waiting if each is not replaced)
        cost = cost_wei(transaction)
        if account.balance < queued + cost:
            raise TransactionRejected(
                f"insufficient funds for gas * price + value: balance {account.balance}, "
                f"queued cost {queued}, tx cost {cost}, overshot {queued + cost - account.balance}"
            )

    def _forget_excess(self, sender: bytes, account_nonce: int) -> None:
        held = self._by_sender[sender]
        beyond = self.next_nonce(sender, account_nonce)
        queued = sorted(nonce for nonce in held if nonce > beyond)
        for nonce in queued[self._limits.queue_max :]:
            self.remove(held[nonce])


def cost_wei(transaction: SignedTransactionAPI) -> int:
    """The most that a transaction can take from its sender."""
    return transaction.value + transaction.gas * transaction.max_fee_per_gas


def check_is_valid(transaction: SignedTransactionAPI, chain_id: int, block_gas_limit: int) -> None:
    """Refuse what could be mined on this chain at no time, whatever the sender's account."""
    if transaction.chain_id is None:
        raise TransactionRejected("only replay-protected (EIP-155) transactions allowed over RPC")
    if transaction.chain_id != chain_id:
        raise TransactionRejected(
            f"invalid sender: invalid chain id for signer: have {transaction.chain_id} want {chain_id}"
        )
    if transaction.type_id == BLOB_TX_TYPE:
        raise TransactionRejected("transaction type not supported: this chain takes no blobs")
    if transaction.max_fee_per_gas < transaction.max_priority_fee_per_gas:
        raise TransactionRejected("max priority fee per gas higher than max fee per gas")
    if transaction.gas > block_gas_limit:
        raise TransactionRejected(f"exceeds block gas limit: gas {transaction.gas}, limit {block_gas_limit}")
    if not transaction.to and len(transaction.data) > MAX_INITCODE_SIZE:
        raise TransactionRejected(
            f"max initcode size exceeded: code size {len(transaction.data)}, limit {MAX_INITCODE_SIZE}"
        )
    least = max(transaction.intrinsic_gas, data_floor_gas(transaction.data))
    if transaction.gas < least:
        raise TransactionRejected(f"intrinsic gas too low: gas {transaction.gas}, minimum needed {least}")


def _check_outbids(transaction: SignedTransactionAPI, replaced: SignedTransactionAPI) -> None:
    offers = (
        (transaction.max_fee_per_gas, replaced.max_fee_per_gas),
        (transaction.max_priority_fee_per_gas, replaced.max_priority_fee_per_gas),
    )
    for offered, held in offers:
        if offered * 100 < held * (100 + PRICE_BUMP_PERCENT):
            raise TransactionRejected("replacement transaction underpriced")
