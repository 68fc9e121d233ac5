"""Methods that read: blocks, transactions, accounts, calls and fees."""

from typing import Any

from eth_hash.auto import keccak

from hardhat_free_chain import formats
from hardhat_free_chain.chain import PRIORITY_FEE_WEI
from hardhat_free_chain.errors import InvalidParams, NotFound
from hardhat_free_chain.formats import quantity
from hardhat_free_chain.ledger import Block, MinedTransaction
from hardhat_free_chain.rpc import parameters
from hardhat_free_chain.rpc.node import CLIENT_VERSION, Method, MethodTable, Node
from hardhat_free_chain.rpc.parameters import argument

FEE_HISTORY_MAX = 1_024


def chain_id(node: Node, _: list[Any]) -> str:
    """eth_chainId."""
    return quantity(node.chain.chain_id)


def network_version(node: Node, _: list[Any]) -> str:
    """net_version: the chain id in decimal."""
    return str(node.chain.chain_id)


def block_number(node: Node, _: list[Any]) -> str:
    """eth_blockNumber."""
    return quantity(node.chain.ledger.height)


def accounts(node: Node, _: list[Any]) -> list[str]:
    """eth_accounts: those whose keys the chain holds."""
    return [formats.data(address) for address in node.chain.accounts]


def sha3(_: Node, arguments: list[Any]) -> str:
    """web3_sha3: Keccak-256."""
    return formats.data(keccak(parameters.data(arguments[0])))


def _block_or_none(node: Node, value: Any) -> Block | None:
    """The mined block of a number or tag other than `pending`; None above the head."""
    number = parameters.height(node.chain, value)
    if number is None:
        return None
    return node.chain.ledger.at(number) if number <= node.chain.ledger.height else None


def block_by_number(node: Node, arguments: list[Any]) -> object:
    """eth_getBlockByNumber."""
    full = parameters.flag(argument(arguments, 1, False), "full transaction flag")
    if arguments[0] == "pending":
        return node.chain.pending_as_json(full=full)
    found = _block_or_none(node, arguments[0])
    return found.as_json(full=full) if found else None


def block_by_hash(node: Node, arguments: list[Any]) -> object:
    """eth_getBlockByHash."""
    full = parameters.flag(argument(arguments, 1, False), "full transaction flag")
    found = node.chain.ledger.by_hash(parameters.hash32(arguments[0]))
    return found.as_json(full=full) if found else None


def transaction_count_by_number(node: Node, arguments: list[Any]) -> object:
    """eth_getBlockTransactionCountByNumber."""
    if arguments[0] == "pending":
        return quantity(len(node.chain.pending_as_json(full=False)["transactions"]))
    found = _block_or_none(node, arguments[0])
    return quantity(len(found.transactions)) if found else None


def transaction_count_by_hash(node: Node, arguments: list[Any]) -> object:
    """eth_getBlockTransactionCountByHash."""
    found = node.chain.ledger.by_hash(parameters.hash32(arguments[0]))
    return quantity(len(found.transactions)) if found else None


def block_receipts(node: Node, arguments: list[Any]) -> object:
    """eth_getBlockReceipts: by number, tag or hash."""
    value = arguments[0]
    if isinstance(value, str) and len(value) == 66:
        found = node.chain.ledger.by_hash(parameters.hash32(value))
    elif isinstance(value, dict):
        found = parameters.block(node.chain, value)
    else:
        found = _block_or_none(node, value)
    return [mined.receipt for mined in found.transactions] if found else None


def transaction_by_hash(node: Node, arguments: list[Any]) -> object:
    """eth_getTransactionByHash: mined or waiting."""
    wanted = parameters.hash32(arguments[0])
    mined = node.chain.ledger.transaction(wanted)
    if mined is not None:
        return mined.transaction
    waiting = node.chain.pool.get(wanted)
    return None if waiting is None else formats.pending_transaction(waiting)


def _at_index(block: Block | None, value: Any) -> MinedTransaction | None:
    index = parameters.quantity(value, "index")
    return block.transactions[index] if block and index < len(block.transactions) else None


def transaction_by_block_number(node: Node, arguments: list[Any]) -> object:
    """eth_getTransactionByBlockNumberAndIndex."""
    mined = _at_index(_block_or_none(node, arguments[0]), arguments[1])
    return mined.transaction if mined else None


def transaction_by_block_hash(node: Node, arguments: list[Any]) -> object:
    """eth_getTransactionByBlockHashAndIndex."""
    mined = _at_index(node.chain.ledger.by_hash(parameters.hash32(arguments[0])), arguments[1])
    return mined.transaction if mined else None


def transaction_receipt(node: Node, arguments: list[Any]) -> object:
    """eth_getTransactionReceipt."""
    mined = node.chain.ledger.transaction(parameters.hash32(arguments[0]))
    return mined.receipt if mined else None


def balance(node: Node, arguments: list[Any]) -> str:
    """eth_getBalance."""
    owner = parameters.address(arguments[0])
    state = node.chain.state(parameters.block(node.chain, argument(arguments, 1)))
    return quantity(state.get_balance(owner))


def code(node: Node, arguments: list[Any]) -> str:
    """eth_getCode."""
    owner = parameters.address(arguments[0])
    state = node.chain.state(parameters.block(node.chain, argument(arguments, 1)))
    return formats.data(state.get_code(owner))


def storage(node: Node, arguments: list[Any]) -> str:
    """eth_getStorageAt."""
    owner = parameters.address(arguments[0])
    slot = parameters.quantity(arguments[1], "storage slot")
    state = node.chain.state(parameters.block(node.chain, argument(arguments, 2)))
    return formats.word(state.get_storage(owner, slot))


def nonce(node: Node, arguments: list[Any]) -> str:
    """eth_getTransactionCount: with `pending`, waiting transactions count."""
    owner = parameters.address(arguments[0])
    return quantity(node.chain.nonce(owner, parameters.block(node.chain, argument(arguments, 1))))


def call(node: Node, arguments: list[Any]) -> str:
    """eth_call."""
    _refuse_overrides(arguments, 2)
    wanted = parameters.call(node.chain, arguments[0])
    return formats.data(node.chain.call(wanted, parameters.block(node.chain, argument(arguments, 1))))


def estimate(node: Node, arguments: list[Any]) -> str:
    """eth_estimateGas."""
    _refuse_overrides(arguments, 2)
    wanted = parameters.call(node.chain, arguments[0])
    return quantity(node.chain.estimate_gas(wanted, parameters.block(node.chain, argument(arguments, 1))))


def _refuse_overrides(arguments: list[Any], index: int) -> None:
    if argument(arguments, index):
        raise InvalidParams("state overrides are not supported: alter the state with hardhat_set* instead")


def gas_price(node: Node, _: list[Any]) -> str:
    """eth_gasPrice: the next base fee plus the suggested tip."""
    return quantity(node.chain.next_base_fee() + PRIORITY_FEE_WEI)


def priority_fee(_: Node, __: list[Any]) -> str:
    """eth_maxPriorityFeePerGas."""
    return quantity(PRIORITY_FEE_WEI)


def fee_history(node: Node, arguments: list[Any]) -> object:
    """eth_feeHistory."""
    ledger = node.chain.ledger
    count = min(parameters.quantity(arguments[0], "block count"), FEE_HISTORY_MAX)
    newest = parameters.height(node.chain, argument(arguments, 1, "latest"))
    newest = ledger.height if newest is None else newest
    if newest > ledger.height:
        raise NotFound(f"request beyond head block: requested {newest}, head {ledger.height}")
    percentiles = _percentiles(argument(arguments, 2, []))
    blocks = [ledger.at(number) for number in range(max(0, newest - count + 1), newest + 1)]
    if not blocks:
        return {"oldestBlock": "0x0", "gasUsedRatio": [], "baseFeePerGas": []}
    after = node.chain.next_base_fee() if newest == ledger.height else _base_fee(ledger.at(newest + 1))
    answer: dict[str, object] = {
        "oldestBlock": quantity(blocks[0].number),
        "baseFeePerGas": [quantity(fee) for fee in [*map(_base_fee, blocks), after]],
        "gasUsedRatio": [block.header.gas_used / block.header.gas_limit for block in blocks],
    }
    if percentiles:
        answer["reward"] = [_rewards(block, percentiles) for block in blocks]
    return answer


def _base_fee(block: Block) -> int:
    return block.header.base_fee_per_gas or 0


def _percentiles(value: Any) -> list[float]:
    if not isinstance(value, list) or len(value) > 100:
        raise InvalidParams("invalid reward percentiles: give an array of at most 100 numbers")
    numbers = [each for each in value if isinstance(each, int | float) and 0 <= each <= 100]
    if len(numbers) != len(value) or numbers != sorted(numbers):
        raise InvalidParams("invalid reward percentiles: give rising numbers from 0 to 100")
    return numbers


def _rewards(block: Block, percentiles: list[float]) -> list[str]:
    """The tips at these percentiles of the gas used, transactions sorted by tip."""
    tips = sorted((mined.tip_wei, mined.gas_used) for mined in block.transactions)
    if not tips:
        return ["0x0"] * len(percentiles)
    rewards, index, gas_seen = [], 0, tips[0][1]
    for percentile in percentiles:
        threshold = block.header.gas_used * percentile / 100
        while gas_seen < threshold and index < len(tips) - 1:
            index += 1
            gas_seen += tips[index][1]
        rewards.append(quantity(tips[index][0]))
    return rewards


METHODS: MethodTable = {
    "eth_chainId": Method(chain_id),
    "net_version": Method(network_version),
    "net_listening": Method(lambda _, __: True),
    "net_peerCount": Method(lambda _, __: "0x0"),
    "web3_clientVersion": Method(lambda _, __: CLIENT_VERSION),
    "web3_sha3": Method(sha3, 1, 1),
    "eth_syncing": Method(lambda _, __: False),
    "eth_mining": Method(lambda _, __: False),
    "eth_coinbase": Method(lambda node, _: formats.data(node.chain.controls.coinbase)),
    "eth_accounts": Method(accounts),
    "eth_blockNumber": Method(block_number),
    "eth_getBlockByNumber": Method(block_by_number, 1, 2),
    "eth_getBlockByHash": Method(block_by_hash, 1, 2),
    "eth_getBlockTransactionCountByNumber": Method(transaction_count_by_number, 1, 1),
    "eth_getBlockTransactionCountByHash": Method(transaction_count_by_hash, 1, 1),
    "eth_getBlockReceipts": Method(block_receipts, 1, 1),
    "eth_getTransactionByHash": Method(transaction_by_hash, 1, 1),
    "eth_getTransactionByBlockNumberAndIndex": Method(transaction_by_block_number, 2, 2),
    "eth_getTransactionByBlockHashAndIndex": Method(transaction_by_block_hash, 2, 2),
    "eth_getTransactionReceipt": Method(transaction_receipt, 1, 1),
    "eth_getBalance": Method(balance, 1, 2),
    "eth_getCode": Method(code, 1, 2),
    "eth_getStorageAt": Method(storage, 2, 3),
    "eth_getTransactionCount": Method(nonce, 1, 2),
    "eth_call": Method(call, 1, 4),
    "eth_estimateGas": Method(estimate, 1, 4),
    "eth_gasPrice": Method(gas_price),
    "eth_maxPriorityFeePerGas": Method(priority_fee),
    "eth_feeHistory": Method(fee_history, 1, 3),
}
