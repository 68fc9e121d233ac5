"""The canonical blocks with what hangs on them: transactions, receipts and logs, each found at once.

G1 block number n stands at position n; each block's parent is the one before it.
G2 the look-ups by hash and the log index name exactly what the canonical blocks hold.

Imports no network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from eth.abc import BlockHeaderAPI, SignedTransactionAPI

from hardhat_free_chain import formats
from hardhat_free_chain.errors import NotFound
from hardhat_free_chain.logs import LogIndex
from hardhat_free_chain.machine import Applied

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MinedTransaction:
    """A transaction in its block, ready to be served; `source` is what was sent."""

    source: SignedTransactionAPI
    encoded: bytes
    transaction: Json
    receipt: Json
    tip_wei: int
    gas_used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A canonical block.

    `state_root` is what calls and the next block start from. It differs from the header's only where a
    control method (set balance, code, nonce or storage) has altered the state at this head.
    """

    header: BlockHeaderAPI
    state_root: bytes
    transactions: tuple[MinedTransaction, ...]

    @property
    def number(self) -> int:
        """The block's height."""
        return self.header.block_number

    @property
    def hash(self) -> bytes:
        """The block's hash."""
        return self.header.hash

    @property
    def logs(self) -> list[Json]:
        """All logs of the block in order."""
        return [log for mined in self.transactions for log in mined.receipt["logs"]]

    def as_json(self, *, full: bool) -> Json:
        """The block as served, with whole transactions or their hashes."""
        return formats.block(
            self.header,
            [mined.transaction if full else mined.transaction["hash"] for mined in self.transactions],
            [mined.encoded for mined in self.transactions],
        )


def assemble(header: BlockHeaderAPI, applied: Sequence[Applied]) -> Block:
    """The block of a sealed header and the transactions that ran in it."""
    transactions = []
    log_index = 0
    base_fee = header.base_fee_per_gas or 0
    for index, each in enumerate(applied):
        receipt = formats.receipt(each, header, index, log_index)
        log_index += len(receipt["logs"])
        transactions.append(
            MinedTransaction(
                source=each.transaction,
                encoded=each.transaction.encode(),
                transaction=formats.mined_transaction(each.transaction, header, index),
                receipt=receipt,
                tip_wei=formats.effective_gas_price(each.transaction, base_fee) - base_fee,
                gas_used=each.gas_used,
            )
        )
    return Block(header=header, state_root=header.state_root, transactions=tuple(transactions))


class Ledger:
    """The canonical chain from genesis to head."""

    def __init__(self, genesis: BlockHeaderAPI) -> None:
        self._blocks: list[Block] = []
        self._by_hash: dict[bytes, Block] = {}
        self._transactions: dict[bytes, MinedTransaction] = {}
        self.logs = LogIndex()
        self.append(Block(header=genesis, state_root=genesis.state_root, transactions=()))

    @property
    def head(self) -> Block:
        """The highest block."""
        return self._blocks[-1]

    @property
    def height(self) -> int:
        """The head's number."""
        return len(self._blocks) - 1

    def append(self, block: Block) -> None:
        """Make a block the head (G1, G2)."""
        self._blocks.append(block)
        self._by_hash[block.hash] = block
        for mined in block.transactions:
            self._transactions[bytes.fromhex(mined.transaction["hash"][2:])] = mined
        self.logs.append(block.number, block.logs)

    def truncate(self, height: int) -> None:
        """Make the block at `height` the head again."""
        self.logs.truncate(height)
        for block in reversed(self._blocks[height + 1 :]):
            del self._by_hash[block.hash]
            for mined in block.transactions:
                del self._transactions[bytes.fromhex(mined.transaction["hash"][2:])]
        del self._blocks[height + 1 :]

    def above(self, height: int) -> tuple[Block, ...]:
        """The canonical blocks above a height, in order."""
        return tuple(self._blocks[height + 1 :])

    def alter_head_state(self, state_root: bytes) -> None:
        """Let calls and the next block start from another state."""
        block = replace(self.head, state_root=state_root)
        self._blocks[-1] = block
        self._by_hash[block.hash] = block

    def at(self, number: int) -> Block:
        """The block with this number; NotFound above the head."""
        if not 0 <= number <= self.height:
            raise NotFound("header not found")
        return self._blocks[number]

    def by_hash(self, block_hash: bytes) -> Block | None:
        """The canonical block with this hash."""
        return self._by_hash.get(block_hash)

    def transaction(self, transaction_hash: bytes) -> MinedTransaction | None:
        """The mined transaction with this hash."""
        return self._transactions.get(transaction_hash)
