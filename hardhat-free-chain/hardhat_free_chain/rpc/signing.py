"""Methods that sign messages with the chain's own keys, as wallets of others' tests ask for it."""

from typing import Any

import msgspec
from eth_account.messages import SignableMessage, encode_defunct, encode_typed_data

from hardhat_free_chain import formats
from hardhat_free_chain.errors import InvalidParams
from hardhat_free_chain.rpc import parameters
from hardhat_free_chain.rpc.node import Method, MethodTable, Node


def sign(node: Node, arguments: list[Any]) -> str:
    """eth_sign: (address, message), prefixed as EIP-191 says."""
    return _signed(node, arguments[0], encode_defunct(parameters.data(arguments[1], "message")))


def personal_sign(node: Node, arguments: list[Any]) -> str:
    """personal_sign: (message, address); a password that follows is not looked at."""
    return sign(node, [arguments[1], arguments[0]])


def sign_typed_data(node: Node, arguments: list[Any]) -> str:
    """eth_signTypedData_v4: (address, EIP-712 message as an object or as its JSON text)."""
    message = arguments[1]
    try:
        given = msgspec.json.decode(message) if isinstance(message, str) else message
        signable = encode_typed_data(full_message=parameters.mapping(given, "typed data"))
    except InvalidParams:
        raise
    except Exception as error:
        # eth_account raises many kinds for what is no EIP-712 message; they all mean the same here.
        raise InvalidParams(f"typed data is no EIP-712 message: {str(error)[:200]}") from error
    return _signed(node, arguments[0], signable)


def _signed(node: Node, signer: Any, message: SignableMessage) -> str:
    return formats.data(node.chain.sign_message(message, parameters.address(signer)))


METHODS: MethodTable = {
    "eth_sign": Method(sign, 2, 2),
    "personal_sign": Method(personal_sign, 2, 3),
    "eth_signTypedData_v4": Method(sign_typed_data, 2, 2),
}
