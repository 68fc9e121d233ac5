"""Transactions that were accepted and are not mined yet, and the rules of their acceptance.

P1 the transactions of a sender have consecutive nonces, starting at the account's own: no gaps.
P2 one transaction a sender and nonce; another takes its place only for a tenth more of both fees.

The texts of refusals are go-ethereum's, because clients match them. Imports no network.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from eth.abc import SignedTransactionAPI
from eth.vm.forks.cancun.constants import BLOB_TX_TYPE
from eth.vm.forks.shanghai.constants import MAX_INITCODE_SIZE

from hardhat_free_chain.calls import data_floor_gas
from hardhat_free_chain.errors import LimitExceeded, TransactionRejected

TRANSACTIONS_MAX = 5_000
PRICE_BUMP_PERCENT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The sender's account at the head."""

    nonce: int
    balance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """What a snapshot keeps of the pool."""

    transactions: tuple[SignedTransactionAPI, ...]


class TransactionPool:
    """The waiting transactions, in order of arrival."""

    def __init__(self) -> None:
        self._by_hash: dict[bytes, SignedTransactionAPI] = {}
        self._by_slot: dict[tuple[bytes, int], SignedTransactionAPI] = {}

    def __len__(self) -> int:
        return len(self._by_hash)

    def __iter__(self) -> Iterator[SignedTransactionAPI]:
        return iter(tuple(self._by_hash.values()))

    def get(self, transaction_hash: bytes) -> SignedTransactionAPI | None:
        """The waiting transaction with this hash."""
        return self._by_hash.get(transaction_hash)

    def next_nonce(self, sender: bytes, account_nonce: int) -> int:
        """The nonce that the sender's next transaction must have (P1)."""
        nonce = account_nonce
        while (sender, nonce) in self._by_slot:
            nonce += 1
        return nonce

    def add(self, transaction: SignedTransactionAPI, account: Account) -> None:
        """Accept a transaction that `check_is_valid` has passed.

        Raises TransactionRejected: already known, nonce too low or too high, underpriced replacement,
        insufficient funds (for everything the sender has waiting).
        """
        if transaction.hash in self._by_hash:
            raise TransactionRejected("already known")
        replaced = self._by_slot.get((transaction.sender, transaction.nonce))
        self._check_nonce(transaction, account)
        if replaced is not None:
            _check_outbids(transaction, replaced)
        elif len(self._by_hash) >= TRANSACTIONS_MAX:
            raise LimitExceeded(f"txpool is full: {TRANSACTIONS_MAX} transactions wait; mine a block first")
        self._check_funds(transaction, account, replaced)
        if replaced is not None:
            self.remove(replaced)
        self._by_hash[transaction.hash] = transaction
        self._by_slot[transaction.sender, transaction.nonce] = transaction

    def remove(self, transaction: SignedTransactionAPI) -> None:
        """Forget a transaction that was mined, replaced or found impossible."""
        if self._by_hash.pop(transaction.hash, None) is not None:
            del self._by_slot[transaction.sender, transaction.nonce]

    def ready(self, base_fee: int) -> list[SignedTransactionAPI]:
        """What a block with this base fee can take, in an order that keeps each sender's nonces."""
        waiting: dict[bytes, list[SignedTransactionAPI]] = {}
        for transaction in self._by_hash.values():
            waiting.setdefault(transaction.sender, []).append(transaction)
        ready = []
        for transactions in waiting.values():
            for transaction in sorted(transactions, key=lambda each: each.nonce):
                if transaction.max_fee_per_gas < base_fee:
                    break
                ready.append(transaction)
        return ready

    def state(self) -> PoolState:
        """The state for a snapshot."""
        return PoolState(transactions=tuple(self._by_hash.values()))

    def restore(self, state: PoolState) -> None:
        """Return to a snapshot's state."""
        self._by_hash = {each.hash: each for each in state.transactions}
        self._by_slot = {(each.sender, each.nonce): each for each in state.transactions}

    def _check_nonce(self, transaction: SignedTransactionAPI, account: Account) -> None:
        if transaction.nonce < account.nonce:
            raise TransactionRejected(
                f"nonce too low: next nonce {account.nonce}, tx nonce {transaction.nonce}"
            )
        expected = self.next_nonce(transaction.sender, account.nonce)
        if transaction.nonce > expected:
            raise TransactionRejected(
                f"nonce too high: tx nonce {transaction.nonce}, gapped nonce {expected}"
            )

    def _check_funds(
        self, transaction: SignedTransactionAPI, account: Account, replaced: SignedTransactionAPI | None
    ) -> None:
        nonces = range(account.nonce, self.next_nonce(transaction.sender, account.nonce))
        waiting = (self._by_slot[transaction.sender, nonce] for nonce in nonces)
        queued = sum(cost_wei(each) for each in waiting if each is not replaced)
        cost = cost_wei(transaction)
        if account.balance < queued + cost:
            raise TransactionRejected(
                f"insufficient funds for gas * price + value: balance {account.balance}, "
                f"queued cost {queued}, tx cost {cost}, overshot {queued + cost - account.balance}"
            )


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
