"""Methods that a real node does not have: mining, time and the next block's fields.

Names are those of Hardhat, Ganache and anvil, which clients' test helpers already use.
"""

from typing import Any

from hardhat_free_chain.errors import InvalidParams
from hardhat_free_chain.formats import data, quantity
from hardhat_free_chain.rpc import parameters
from hardhat_free_chain.rpc.node import CLIENT_VERSION, Method, MethodTable, Node, under

MINE_MAX = 100_000
SECONDS_MAX = 2**40
INTERVAL_S_MAX = 86_400
GAS_LIMIT_LEAST = 100_000
GAS_LIMIT_MAX = 2**53


def mine(node: Node, arguments: list[Any]) -> str:
    """evm_mine, with an optional timestamp, plain or as anvil's {timestamp, blocks}."""
    value = parameters.argument(arguments, 0)
    blocks = 1
    if isinstance(value, dict):
        blocks = _count(value.get("blocks", 1))
        value = value.get("timestamp")
    timestamp = None if value is None else _seconds(value, "timestamp")
    for index in range(blocks):
        node.chain.mine(timestamp if index == 0 else None)
    return "0x0"


def mine_many(node: Node, arguments: list[Any]) -> None:
    """hardhat_mine and anvil_mine: a number of blocks, with an interval in seconds between them."""
    blocks = _count(parameters.argument(arguments, 0, 1))
    interval = _seconds(parameters.argument(arguments, 1, 1), "interval")
    for index in range(blocks):
        timestamp = node.chain.head.header.timestamp + interval if index and interval > 1 else None
        node.chain.mine(timestamp)


def increase_time(node: Node, arguments: list[Any]) -> int:
    """evm_increaseTime: the clock jumps; the next block shows it. Returns the whole offset in seconds."""
    return node.chain.clock.increase(_seconds(arguments[0], "seconds"))


def set_time(node: Node, arguments: list[Any]) -> int:
    """evm_setTime: it is this time now, in seconds; returns by how much the clock moved."""
    return node.chain.clock.set_now(_seconds(arguments[0], "timestamp"))


def choose_next_timestamp(node: Node, arguments: list[Any]) -> str:
    """evm_setNextBlockTimestamp."""
    timestamp = _seconds(arguments[0], "timestamp")
    node.chain.choose_next_timestamp(timestamp)
    return quantity(timestamp)


def set_timestamp_interval(node: Node, arguments: list[Any]) -> None:
    """anvil_setBlockTimestampInterval: each block is so many seconds later than its parent."""
    node.chain.clock.set_interval(_seconds(arguments[0], "interval"))


def remove_timestamp_interval(node: Node, _: list[Any]) -> bool:
    """anvil_removeBlockTimestampInterval: the clock decides again."""
    node.chain.clock.set_interval(None)
    return True


def set_automine(node: Node, arguments: list[Any]) -> bool:
    """evm_setAutomine; what waits stays waiting until the next block."""
    node.chain.auto_mine = parameters.flag(arguments[0], "automine")
    return True


def automine(node: Node, _: list[Any]) -> bool:
    """hardhat_getAutomine and anvil_getAutomine."""
    return node.chain.auto_mine


def set_interval_ms(node: Node, arguments: list[Any]) -> bool:
    """evm_setIntervalMining: a block every so many milliseconds, as Hardhat counts; 0 ends it."""
    _set_interval(node, _seconds(arguments[0], "interval") / 1_000)
    return True


def set_interval_s(node: Node, arguments: list[Any]) -> None:
    """anvil_setIntervalMining: a block every so many seconds, as anvil counts; 0 ends it."""
    _set_interval(node, _seconds(arguments[0], "interval"))


def interval_s(node: Node, _: list[Any]) -> float | None:
    """anvil_getIntervalMining: seconds, or null."""
    return node.chain.controls.block_interval_s


def _set_interval(node: Node, seconds: float) -> None:
    if seconds >= INTERVAL_S_MAX:
        raise InvalidParams(f"interval of {seconds} s is too long: give less than {INTERVAL_S_MAX} s")
    node.chain.set_block_interval(seconds or None)


def set_base_fee(node: Node, arguments: list[Any]) -> bool:
    """hardhat_setNextBlockBaseFeePerGas: the next block's base fee in wei; later ones follow from it."""
    node.chain.controls.next_base_fee = parameters.quantity(arguments[0], "base fee")
    return True


def set_randomness(node: Node, arguments: list[Any]) -> bool:
    """hardhat_setPrevRandao: the next block's prevrandao."""
    value = parameters.quantity(arguments[0], "prevrandao")
    node.chain.controls.next_randomness = value.to_bytes(32, "big")
    return True


def set_coinbase(node: Node, arguments: list[Any]) -> bool:
    """hardhat_setCoinbase: who gets the tips from now on."""
    node.chain.controls.coinbase = parameters.address(arguments[0])
    return True


def set_gas_limit(node: Node, arguments: list[Any]) -> bool:
    """evm_setBlockGasLimit: that of every block from now on."""
    limit = parameters.quantity(arguments[0], "gas limit")
    if not GAS_LIMIT_LEAST <= limit < GAS_LIMIT_MAX:
        raise InvalidParams(f"gas limit is {limit}; give {GAS_LIMIT_LEAST} to {GAS_LIMIT_MAX - 1}")
    node.chain.controls.block_gas_limit = limit
    return True


def set_chain_id(node: Node, arguments: list[Any]) -> None:
    """anvil_setChainId: another chain id from now on, for clients, signatures and contracts."""
    chain_id = parameters.quantity(arguments[0], "chain id")
    if not 1 <= chain_id < 2**63:
        raise InvalidParams(f"chain id is {chain_id}; give 1 to {2**63 - 1}")
    node.chain.set_chain_id(chain_id)


def metadata(node: Node, _: list[Any]) -> dict[str, Any]:
    """hardhat_metadata and anvil_metadata."""
    head = node.chain.head
    return {
        "clientVersion": CLIENT_VERSION,
        "chainId": node.chain.chain_id,
        "latestBlockNumber": head.number,
        "latestBlockHash": data(head.hash),
    }


def node_info(node: Node, _: list[Any]) -> dict[str, Any]:
    """anvil_nodeInfo."""
    head = node.chain.head
    return {
        "currentBlockNumber": quantity(head.number),
        "currentBlockTimestamp": head.header.timestamp,
        "currentBlockHash": data(head.hash),
        "hardFork": "Prague",
        "transactionOrder": "fees",
        "environment": {
            "baseFee": quantity(node.chain.next_base_fee()),
            "chainId": node.chain.chain_id,
            "gasLimit": quantity(node.chain.controls.block_gas_limit),
        },
    }


def _count(value: Any) -> int:
    count = parameters.quantity(value, "number of blocks")
    if count > MINE_MAX:
        raise InvalidParams(f"number of blocks {count} is above {MINE_MAX}")
    return count


def _seconds(value: Any, name: str) -> int:
    # Ganache's clients send decimal text here.
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    seconds = parameters.quantity(value, name)
    if seconds > SECONDS_MAX:
        raise InvalidParams(f"{name} {seconds} is above {SECONDS_MAX} seconds")
    return seconds


METHODS: MethodTable = {
    "evm_mine": Method(mine, 0, 1),
    **under("mine", Method(mine_many, 0, 2), "hardhat", "anvil"),
    **under("increaseTime", Method(increase_time, 1, 1), "evm", "anvil"),
    **under("setTime", Method(set_time, 1, 1), "evm", "anvil"),
    **under("setNextBlockTimestamp", Method(choose_next_timestamp, 1, 1), "evm", "anvil"),
    **under("setBlockTimestampInterval", Method(set_timestamp_interval, 1, 1), "anvil"),
    **under("removeBlockTimestampInterval", Method(remove_timestamp_interval), "anvil"),
    **under("setAutomine", Method(set_automine, 1, 1), "evm", "anvil"),
    **under("getAutomine", Method(automine), "hardhat", "anvil"),
    "evm_setIntervalMining": Method(set_interval_ms, 1, 1),
    "anvil_setIntervalMining": Method(set_interval_s, 1, 1),
    "anvil_getIntervalMining": Method(interval_s),
    **under("setNextBlockBaseFeePerGas", Method(set_base_fee, 1, 1), "hardhat", "anvil"),
    **under("setPrevRandao", Method(set_randomness, 1, 1), "hardhat", "anvil"),
    **under("setCoinbase", Method(set_coinbase, 1, 1), "hardhat", "anvil"),
    **under("setBlockGasLimit", Method(set_gas_limit, 1, 1), "evm", "anvil"),
    **under("setChainId", Method(set_chain_id, 1, 1), "anvil"),
    **under("setLoggingEnabled", Method(lambda _, __: True, 1, 1), "hardhat", "anvil"),
    **under("metadata", Method(metadata), "hardhat", "anvil"),
    "anvil_nodeInfo": Method(node_info),
}
