"""Methods that alter accounts by hand, and that let the chain send for accounts whose keys it does not hold.

Names are those of Hardhat, Ganache and anvil. Amounts are in wei.
"""

from typing import Any

from hardhat_free_chain.errors import InvalidParams
from hardhat_free_chain.rpc import parameters
from hardhat_free_chain.rpc.node import Method, MethodTable, Node, under

STORAGE_WORD = 32


def set_balance(node: Node, arguments: list[Any]) -> bool:
    """hardhat_setBalance: (address, wei)."""
    owner = parameters.address(arguments[0])
    wei = parameters.quantity(arguments[1], "balance")
    node.chain.alter_state(lambda state: state.set_balance(owner, wei))
    return True


def add_balance(node: Node, arguments: list[Any]) -> None:
    """anvil_addBalance: (address, wei)."""
    owner = parameters.address(arguments[0])
    wei = parameters.quantity(arguments[1], "balance")
    node.chain.alter_state(lambda state: state.delta_balance(owner, wei))


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
    node.chain.pool.settle(owner, nonce)
    return True


def set_storage(node: Node, arguments: list[Any]) -> bool:
    """hardhat_setStorageAt: (address, slot, 32-byte value)."""
    owner = parameters.address(arguments[0])
    slot = parameters.quantity(arguments[1], "storage slot")
    value = int.from_bytes(parameters.hash32(arguments[2], "storage value"), "big")
    node.chain.alter_state(lambda state: state.set_storage(owner, slot, value))
    return True


def impersonate(node: Node, arguments: list[Any]) -> bool:
    """hardhat_impersonateAccount: eth_sendTransaction takes this sender from now on."""
    controls = node.chain.controls
    controls.impersonated |= {parameters.address(arguments[0])}
    return True


def stop_impersonating(node: Node, arguments: list[Any]) -> bool:
    """hardhat_stopImpersonatingAccount: false if it was not impersonated."""
    controls = node.chain.controls
    sender = parameters.address(arguments[0])
    was = sender in controls.impersonated
    controls.impersonated -= {sender}
    return was


def impersonate_all(node: Node, arguments: list[Any]) -> None:
    """anvil_autoImpersonateAccount: eth_sendTransaction takes any sender, or no more."""
    node.chain.controls.impersonates_all = parameters.flag(arguments[0], "impersonation")


METHODS: MethodTable = {
    **under("setBalance", Method(set_balance, 2, 2), "hardhat", "anvil"),
    **under("setCode", Method(set_code, 2, 2), "hardhat", "anvil"),
    **under("setNonce", Method(set_nonce, 2, 2), "hardhat", "anvil"),
    **under("setStorageAt", Method(set_storage, 3, 3), "hardhat", "anvil"),
    **under("addBalance", Method(add_balance, 2, 2), "anvil"),
    "evm_setAccountBalance": Method(set_balance, 2, 2),
    "evm_setAccountCode": Method(set_code, 2, 2),
    "evm_setAccountNonce": Method(set_nonce, 2, 2),
    "evm_setAccountStorageAt": Method(set_storage, 3, 3),
    **under("impersonateAccount", Method(impersonate, 1, 1), "hardhat", "anvil"),
    **under("stopImpersonatingAccount", Method(stop_impersonating, 1, 1), "hardhat", "anvil"),
    **under("autoImpersonateAccount", Method(impersonate_all, 1, 1), "hardhat", "anvil"),
}
