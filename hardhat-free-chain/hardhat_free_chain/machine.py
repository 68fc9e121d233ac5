"""The EVM: eth-tester's py-evm chain, driven below its slow paths.

Owns the trie database and the execution of transactions and calls. It keeps no canonical chain: a block is
built on any header it is given, so the caller's list of blocks alone decides what is canonical, and going
back costs nothing. States of all blocks stay readable.

What eth-tester's own methods cost here, and why they are not used: it decodes the pending block from its trie
for each operation, applies a transaction in one virtual machine and mines it in another, validates twice, and
re-executes the head block on a revert.

Not thread-safe. Imports no network.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eth import EVM_RECURSION_LIMIT
from eth.abc import (
    BlockHeaderAPI,
    ComputationAPI,
    ReceiptAPI,
    SignedTransactionAPI,
    StateAPI,
    TransactionBuilderAPI,
    VirtualMachineAPI,
)
from eth.constants import ZERO_ADDRESS
from eth.db.trie import make_trie_root_and_nodes
from eth.vm.forks.london.headers import calculate_expected_base_fee_per_gas
from eth_hash.auto import keccak
from eth_tester.backends.pyevm.main import PyEVMBackend
from eth_utils.exceptions import ValidationError

from hardhat_free_chain.encoding import rlp_encode

# py_ecc, which py-evm imports, lifts the limit to 100,000 for the whole process: there, a deeply nested JSON
# text overflows the C stack of any decoder. What the EVM itself needs for 1,024 nested calls is far less.
sys.setrecursionlimit(min(sys.getrecursionlimit(), EVM_RECURSION_LIMIT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A transaction as it ran in a block, with the gas it used itself."""

    transaction: SignedTransactionAPI
    receipt: ReceiptAPI
    computation: ComputationAPI
    gas_used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlan:
    """What a block is told besides its parent; `base_fee` (wei) and `randomness` follow from it if None.

    Blocks that differ in `salt` alone differ in their hash.
    """

    gas_limit: int
    coinbase: bytes = ZERO_ADDRESS
    base_fee: int | None = None
    randomness: bytes | None = None
    salt: bytes = b""


@dataclass(slots=True, kw_only=True)
class OpenBlock:
    """A block under construction; nothing of it is stored before it is sealed.

    `refused` pairs the transactions that cannot be part of it with the reason; those that only do not
    fit under the gas limit, and what follows them from the same senders, are in neither list. The header of
    a block that is not regular breaks the rules that bind base fee and gas limit to the parent's.
    """

    header: BlockHeaderAPI
    vm: VirtualMachineAPI
    is_regular: bool = True
    applied: list[Applied] = field(default_factory=list)
    refused: list[tuple[SignedTransactionAPI, str]] = field(default_factory=list)


class Machine:
    """Builds blocks and opens states over one in-memory trie database."""

    def __init__(
        self,
        *,
        chain_id: int,
        genesis_timestamp: int,
        gas_limit: int,
        balances: Mapping[bytes, int],
        number_of: Callable[[int], int] | None = None,
    ) -> None:
        # eth-tester is untyped; what leaves this module is typed again.
        backend: Any = PyEVMBackend
        genesis = backend.generate_genesis_params(
            overrides={"timestamp": genesis_timestamp, "gas_limit": gas_limit}
        )
        state = {
            address: {"balance": balance, "nonce": 0, "code": b"", "storage": {}}
            for address, balance in balances.items()
        }
        # eth-tester takes an empty state for "make me ten accounts of my own".
        state = state or {ZERO_ADDRESS: {"balance": 0, "nonce": 0, "code": b"", "storage": {}}}
        self._chain: Any = backend(genesis_parameters=genesis, genesis_state=state).chain
        self._chain.chain_id = chain_id
        # What contracts see as block.number; None means the block's own.
        self._number_of = number_of
        self.genesis: BlockHeaderAPI = self._chain.get_canonical_block_header_by_number(0)

    def set_chain_id(self, chain_id: int) -> None:
        """Let contracts see another chain id from now on."""
        self._chain.chain_id = chain_id

    @property
    def transaction_builder(self) -> type[TransactionBuilderAPI]:
        """The codec of the fork's transactions."""
        builder: type[TransactionBuilderAPI] = self._chain.get_vm(self.genesis).get_transaction_builder()
        return builder

    def next_header(
        self, parent: BlockHeaderAPI, state_root: bytes, timestamp: int, plan: BlockPlan
    ) -> BlockHeaderAPI:
        """The header of a block on `parent`, before any transaction.

        The randomness of the block is derived from its parent, so that equal histories give equal chains.
        """
        header: BlockHeaderAPI = self._chain.create_header_from_parent(
            parent,
            timestamp=timestamp,
            coinbase=plan.coinbase,
            mix_hash=plan.randomness or keccak(b"prevrandao" + parent.hash + plan.salt),
        )
        changes = {} if plan.base_fee is None else {"base_fee_per_gas": plan.base_fee}
        return header.copy(state_root=state_root, gas_limit=plan.gas_limit, **changes)

    def open_block(
        self,
        parent: BlockHeaderAPI,
        state_root: bytes,
        timestamp: int,
        transactions: Sequence[SignedTransactionAPI],
        plan: BlockPlan,
    ) -> OpenBlock:
        """Run transactions in order on top of a parent whose state is `state_root`."""
        header = self.next_header(parent, state_root, timestamp, plan)
        is_regular = plan.base_fee is None and plan.gas_limit == parent.gas_limit
        block = OpenBlock(header=header, vm=self._vm(header), is_regular=is_regular)
        # What follows a transaction that is left out would only be refused for its nonce.
        left_out: set[bytes] = set()
        for transaction in transactions:
            if transaction.sender not in left_out and not self._apply(block, transaction):
                left_out.add(transaction.sender)
        return block

    def seal(self, block: OpenBlock, parent: BlockHeaderAPI) -> BlockHeaderAPI:
        """Store the block's state and header; returns the final header."""
        transaction_root, _ = make_trie_root_and_nodes([applied.transaction for applied in block.applied])
        receipt_root, _ = make_trie_root_and_nodes([applied.receipt for applied in block.applied])
        block.vm.state.persist()
        header = block.header.copy(
            state_root=block.vm.state.state_root, transaction_root=transaction_root, receipt_root=receipt_root
        )
        if block.is_regular:
            block.vm.validate_header(header, parent)
        # BLOCKHASH and the next block find their ancestors by hash.
        self._chain.chaindb.db[header.hash] = rlp_encode(header)
        return header

    def next_base_fee(self, parent: BlockHeaderAPI) -> int:
        """The base fee of a block on `parent`, in wei (EIP-1559)."""
        return calculate_expected_base_fee_per_gas(parent)

    def state_at(self, header: BlockHeaderAPI, state_root: bytes, *, free: bool = False) -> StateAPI:
        """The state after a block, in that block's context (number, timestamp, coinbase).

        `free` sets the base fee to zero, as nodes do for calls that name no gas price.
        """
        changes: dict[str, object] = {"state_root": state_root}
        if free:
            changes["base_fee_per_gas"] = 0
        return self._vm(header.copy(**changes)).state

    def _vm(self, header: BlockHeaderAPI) -> VirtualMachineAPI:
        vm: VirtualMachineAPI = self._chain.get_vm(header)
        if self._number_of is not None:
            # py-evm has no other place to say that contracts live by another clock than the chain's.
            vm.state.execution_context._block_number = self._number_of(header.block_number)  # type: ignore[attr-defined]
        return vm

    def _apply(self, block: OpenBlock, transaction: SignedTransactionAPI) -> bool:
        header = block.header
        if header.gas_used + transaction.gas > header.gas_limit:
            return False
        try:
            receipt, computation = block.vm.apply_transaction(header, transaction)
        except ValidationError as error:
            block.refused.append((transaction, str(error)))
            return False
        block.header = block.vm.add_receipt_to_header(header, receipt)
        block.applied.append(
            Applied(
                transaction=transaction,
                receipt=receipt,
                computation=computation,
                gas_used=receipt.gas_used - header.gas_used,
            )
        )
        return True
