"""Methods that a real node does not have: mining, time, snapshots and altering accounts by hand.

Names are those of Hardhat, Ganache and anvil, which clients' test helpers already use.
"""

from typing import Any

from hardhat_free_chain.errors import InvalidParams
from hardhat_free_chain.formats import quantity
from hardhat_free_chain.rpc import parameters
from hardhat_free_chain.rpc.node import Method, MethodTable, Node

MINE_MAX = 100_000
SECONDS_MAX = 2**40


def snapshot(node: Node, _: list[Any]) -> str:
    """evm_snapshot."""
    return quantity(node.chain.snapshot())


def revert(node: Node, arguments: list[Any]) -> bool:
    """evm_revert: true if the snapshot existed; it is used up."""
    return node.chain.revert(parameters.quantity(arguments[0], "snapshot id"))


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


def choose_next_timestamp(node: Node, arguments: list[Any]) -> str:
    """evm_setNextBlockTimestamp."""
    timestamp = _seconds(arguments[0], "timestamp")
    node.chain.choose_next_timestamp(timestamp)
    return quantity(timestamp)


def set_automine(node: Node, arguments: list[Any]) -> bool:
    """evm_setAutomine; what waits stays waiting until the next block."""
    node.chain.auto_mine = parameters.flag(arguments[0], "automine")
    return True


def automine(node: Node, _: list[Any]) -> bool:
    """hardhat_getAutomine and anvil_getAutomine."""
    return node.chain.auto_mine


def set_balance(node: Node, arguments: list[Any]) -> bool:
    """hardhat_setBalance: (address, wei)."""
    owner = parameters.address(arguments[0])
    wei = parameters.quantity(arguments[1], "balance")
    node.chain.alter_state(lambda state: state.set_balance(owner, wei))
    return True


def set_code(node: Node, arguments: list[Any]) -> bool:
    """hardhat_setCode: (address, code)."""
    owner = parameters.address(arguments[0])
    code = parameters.data(arguments[1], "code")
    node.chain.alter_state(lambda state: state.set_code(owner, code))
    return True


def set_nonce(node: Node, arguments: list[Any]) -> bool:
    """hardhat_setNonce: (address, nonce); never lower than it is."""
    owner = parameters.address(arguments[0])
    nonce = parameters.quantity(arguments[1], "nonce")
    current = node.chain.nonce(owner, node.chain.head)
    if not current <= nonce < 2**64 - 1:
        raise InvalidParams(f"nonce {nonce} is out of range: it is {current} now and may only rise")
    node.chain.alter_state(lambda state: state.set_nonce(owner, nonce))
    return True


def set_storage(node: Node, arguments: list[Any]) -> bool:
    """hardhat_setStorageAt: (address, slot, 32-byte value)."""
    owner = parameters.address(arguments[0])
    slot = parameters.quantity(arguments[1], "storage slot")
    value = int.from_bytes(parameters.hash32(arguments[2], "storage value"), "big")
    node.chain.alter_state(lambda state: state.set_storage(owner, slot, value))
    return True


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
    "evm_snapshot": Method(snapshot),
    "evm_revert": Method(revert, 1, 1),
    "evm_mine": Method(mine, 0, 1),
    "hardhat_mine": Method(mine_many, 0, 2),
    "anvil_mine": Method(mine_many, 0, 2),
    "evm_increaseTime": Method(increase_time, 1, 1),
    "evm_setNextBlockTimestamp": Method(choose_next_timestamp, 1, 1),
    "evm_setAutomine": Method(set_automine, 1, 1),
    "hardhat_getAutomine": Method(automine),
    "anvil_getAutomine": Method(automine),
    "hardhat_setBalance": Method(set_balance, 2, 2),
    "anvil_setBalance": Method(set_balance, 2, 2),
    "hardhat_setCode": Method(set_code, 2, 2),
    "anvil_setCode": Method(set_code, 2, 2),
    "hardhat_setNonce": Method(set_nonce, 2, 2),
    "anvil_setNonce": Method(set_nonce, 2, 2),
    "hardhat_setStorageAt": Method(set_storage, 3, 3),
    "anvil_setStorageAt": Method(set_storage, 3, 3),
}
