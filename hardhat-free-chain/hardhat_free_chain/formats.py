"""How blocks, transactions, receipts and logs look in JSON.

The shapes are the execution API's, filled as go-ethereum fills them. Quantities are hex without leading
zeros, data is hex of full length, addresses are in lower case. The values that these functions return are
stored and served as they are: nobody changes them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from eth.abc import BlockHeaderAPI, LogAPI, SetCodeAuthorizationAPI, SignedTransactionAPI
from eth.vm.forks.prague.constants import SET_CODE_TRANSACTION_TYPE
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from hardhat_free_chain.encoding import rlp_encode
from hardhat_free_chain.logs import LogFilter
from hardhat_free_chain.machine import Applied

Json = dict[str, Any]


class HasLogs(Protocol):
    """A block, as far as its logs go."""

    @property
    def logs(self) -> list[Json]:
        """All logs of the block in order."""


def quantity(value: int) -> str:
    """A number as JSON-RPC writes it."""
    return hex(value)


def data(value: bytes) -> str:
    """Bytes as JSON-RPC writes them."""
    return "0x" + value.hex()


def word(value: int) -> str:
    """A number as 32 bytes."""
    return f"0x{value:064x}"


def bloom(value: int) -> str:
    """A bloom filter as 256 bytes."""
    return f"0x{value:0512x}"


def contract_address(transaction: SignedTransactionAPI) -> str | None:
    """The address that a creation deploys to; None for other transactions."""
    if transaction.to:
        return None
    return data(keccak(rlp_encode([transaction.sender, transaction.nonce]))[-20:])


def effective_gas_price(transaction: SignedTransactionAPI, base_fee: int) -> int:
    """What the sender pays for one gas in a block with this base fee, in wei."""
    return min(transaction.max_fee_per_gas, base_fee + transaction.max_priority_fee_per_gas)


def transaction_type(transaction: SignedTransactionAPI) -> int:
    """The EIP-2718 type; 0 for a legacy transaction."""
    return transaction.type_id or 0


def pool_part(by_sender: Mapping[bytes, Mapping[int, SignedTransactionAPI]]) -> Json:
    """Waiting transactions by checksummed sender and decimal nonce, as txpool_content shows them."""
    return {
        to_checksum_address(sender): {str(nonce): pending_transaction(each) for nonce, each in held.items()}
        for sender, held in by_sender.items()
    }


def pending_transaction(transaction: SignedTransactionAPI) -> Json:
    """A transaction that is in no block yet."""
    return _transaction(transaction) | {
        "blockHash": None,
        "blockNumber": None,
        "transactionIndex": None,
        "gasPrice": quantity(transaction.max_fee_per_gas),
    }


def mined_transaction(transaction: SignedTransactionAPI, header: BlockHeaderAPI, index: int) -> Json:
    """A transaction in its block."""
    return _transaction(transaction) | {
        "blockHash": data(header.hash),
        "blockNumber": quantity(header.block_number),
        "transactionIndex": quantity(index),
        "gasPrice": quantity(effective_gas_price(transaction, header.base_fee_per_gas or 0)),
    }


def _transaction(transaction: SignedTransactionAPI) -> Json:
    kind = transaction_type(transaction)
    body: Json = {
        "hash": data(transaction.hash),
        "type": quantity(kind),
        "from": data(transaction.sender),
        "to": data(transaction.to) if transaction.to else None,
        "nonce": quantity(transaction.nonce),
        "gas": quantity(transaction.gas),
        "value": quantity(transaction.value),
        "input": data(transaction.data),
        "chainId": quantity(transaction.chain_id or 0),
        "r": quantity(transaction.r),
        "s": quantity(transaction.s),
    }
    if kind == 0:
        # A replay-protected signature carries the chain in v (EIP-155).
        return body | {"v": quantity(35 + 2 * (transaction.chain_id or 0) + transaction.y_parity)}
    body |= {
        "v": quantity(transaction.y_parity),
        "yParity": quantity(transaction.y_parity),
        "accessList": [
            {"address": data(address), "storageKeys": [word(slot) for slot in slots]}
            for address, slots in transaction.access_list
        ],
    }
    if kind >= 2:
        body |= {
            "maxFeePerGas": quantity(transaction.max_fee_per_gas),
            "maxPriorityFeePerGas": quantity(transaction.max_priority_fee_per_gas),
        }
    if kind == SET_CODE_TRANSACTION_TYPE:
        body["authorizationList"] = [_authorization(each) for each in transaction.authorization_list]
    return body


def _authorization(authorization: SetCodeAuthorizationAPI) -> Json:
    return {
        "chainId": quantity(authorization.chain_id),
        "address": data(authorization.address),
        "nonce": quantity(authorization.nonce),
        "yParity": quantity(authorization.y_parity),
        "r": quantity(authorization.r),
        "s": quantity(authorization.s),
    }


def receipt(applied: Applied, header: BlockHeaderAPI, index: int, first_log_index: int) -> Json:
    """The receipt of a mined transaction; its logs are numbered within the block from `first_log_index`."""
    transaction = applied.transaction
    identity = {
        "transactionHash": data(transaction.hash),
        "transactionIndex": quantity(index),
        "blockHash": data(header.hash),
        "blockNumber": quantity(header.block_number),
    }
    succeeded = not applied.computation.is_error
    logs = [_log(log, identity, first_log_index + offset) for offset, log in enumerate(applied.receipt.logs)]
    return identity | {
        "from": data(transaction.sender),
        "to": data(transaction.to) if transaction.to else None,
        "contractAddress": contract_address(transaction),
        "cumulativeGasUsed": quantity(applied.receipt.gas_used),
        "gasUsed": quantity(applied.gas_used),
        "effectiveGasPrice": quantity(effective_gas_price(transaction, header.base_fee_per_gas or 0)),
        "status": quantity(int(succeeded)),
        "type": quantity(transaction_type(transaction)),
        "logs": logs,
        "logsBloom": bloom(applied.receipt.bloom),
    }


def _log(log: LogAPI, identity: Json, log_index: int) -> Json:
    return {
        "address": data(log.address),
        "topics": [word(topic) for topic in log.topics],
        "data": data(log.data),
        **identity,
        "logIndex": quantity(log_index),
        "removed": False,
    }


def removed_logs(blocks: Sequence[HasLogs], wanted: LogFilter) -> list[Json]:
    """The wanted logs of blocks that are no longer canonical, newest first, as go-ethereum tells of them."""
    gone = [log for block in blocks for log in block.logs if wanted.matches(log)]
    return [{**log, "removed": True} for log in reversed(gone)]


def header(head: BlockHeaderAPI, *, pending: bool = False) -> Json:
    """The fields of a block that need no transactions: also the payload of newHeads."""
    return {
        "number": quantity(head.block_number),
        "hash": None if pending else data(head.hash),
        "parentHash": data(head.parent_hash),
        "nonce": None if pending else data(head.nonce),
        "mixHash": data(head.mix_hash),
        "sha3Uncles": data(head.uncles_hash),
        "logsBloom": bloom(head.bloom),
        "transactionsRoot": data(head.transaction_root),
        "stateRoot": data(head.state_root),
        "receiptsRoot": data(head.receipt_root),
        "miner": data(head.coinbase),
        "difficulty": quantity(head.difficulty),
        "extraData": data(head.extra_data),
        "gasLimit": quantity(head.gas_limit),
        "gasUsed": quantity(head.gas_used),
        "timestamp": quantity(head.timestamp),
        "baseFeePerGas": quantity(head.base_fee_per_gas or 0),
        "withdrawalsRoot": data(head.withdrawals_root or b""),
        "blobGasUsed": quantity(head.blob_gas_used),
        "excessBlobGas": quantity(head.excess_blob_gas),
        "parentBeaconBlockRoot": data(head.parent_beacon_block_root or bytes(32)),
        "requestsHash": data(getattr(head, "requests_hash", b"")),
    }


def block(
    head: BlockHeaderAPI,
    transactions: Sequence[Json | str],
    encoded: Sequence[bytes],
    *,
    pending: bool = False,
) -> Json:
    """A whole block; `encoded` are its transactions' bytes, for the size."""
    size = len(rlp_encode(head)) + sum(len(raw) + 3 for raw in encoded) + 5
    return header(head, pending=pending) | {
        "size": quantity(size),
        "totalDifficulty": quantity(head.difficulty),
        "uncles": [],
        "withdrawals": [],
        "transactions": list(transactions),
    }
