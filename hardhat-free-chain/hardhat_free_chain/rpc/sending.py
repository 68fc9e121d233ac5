"""Methods that send transactions."""

from dataclasses import replace
from typing import Any

from eth_typing import Address
from eth_utils.address import to_checksum_address

from hardhat_free_chain import formats
from hardhat_free_chain.chain import PRIORITY_FEE_WEI
from hardhat_free_chain.errors import InvalidParams
from hardhat_free_chain.rpc import parameters
from hardhat_free_chain.rpc.node import Method, MethodTable, Node


def send_raw_transaction(node: Node, arguments: list[Any]) -> str:
    """eth_sendRawTransaction."""
    return formats.data(node.chain.send_raw_transaction(parameters.data(arguments[0])))


def send_transaction(node: Node, arguments: list[Any]) -> str:
    """eth_sendTransaction: signed with one of the chain's own keys; gas and fees are filled in if missing.

    An estimate that reverts is answered as the revert, and nothing is sent; with explicit gas the
    transaction is mined whatever it does.
    """
    transaction, sender = _completed(node, parameters.mapping(arguments[0], "transaction"))
    return formats.data(node.chain.send_from_account(transaction, sender))


def sign_transaction(node: Node, arguments: list[Any]) -> dict[str, str]:
    """eth_signTransaction: as eth_sendTransaction, but only signed."""
    return {"raw": formats.data(signed_by_node(node, parameters.mapping(arguments[0], "transaction")))}


def signed_by_node(node: Node, fields: dict[str, Any]) -> bytes:
    """A transaction object signed with one of the chain's own keys, what is missing filled in."""
    transaction, sender = _completed(node, fields)
    return node.chain.sign(transaction, sender)


def _completed(node: Node, fields: dict[str, Any]) -> tuple[dict[str, Any], Address]:
    """(eth_account's fields, sender) of a transaction object."""
    if fields.get("from") is None:
        raise InvalidParams("missing from: name one of eth_accounts")
    call = parameters.call(node.chain, fields)
    given_chain = fields.get("chainId")
    if given_chain is not None and parameters.quantity(given_chain, "chainId") != node.chain.chain_id:
        raise InvalidParams(f"chainId does not match node's (have={given_chain}, want={node.chain.chain_id})")
    transaction: dict[str, Any] = {
        "chainId": node.chain.chain_id,
        "value": call.value,
        "data": call.data,
        "gas": call.gas,
        **_fees(node, fields),
    }
    if fields.get("gas") is None:
        transaction["gas"] = node.chain.estimate_gas(replace(call, max_fee_per_gas=0), node.chain.head)
    if call.to:
        transaction["to"] = to_checksum_address(call.to)
    if fields.get("nonce") is not None:
        transaction["nonce"] = parameters.quantity(fields["nonce"], "nonce")
    return transaction, call.sender


def _fees(node: Node, fields: dict[str, Any]) -> dict[str, Any]:
    if fields.get("gasPrice") is not None:
        return {"gasPrice": parameters.quantity(fields["gasPrice"], "gasPrice")}
    max_fee, priority_fee = parameters.fees(fields)
    if fields.get("maxPriorityFeePerGas") is not None:
        priority_fee = parameters.quantity(fields["maxPriorityFeePerGas"], "maxPriorityFeePerGas")
    else:
        priority_fee = min(PRIORITY_FEE_WEI, max_fee) if max_fee else PRIORITY_FEE_WEI
    return {
        "type": 2,
        "maxFeePerGas": max_fee or 2 * node.chain.next_base_fee() + priority_fee,
        "maxPriorityFeePerGas": priority_fee,
    }


METHODS: MethodTable = {
    "eth_sendRawTransaction": Method(send_raw_transaction, 1, 1),
    "eth_sendTransaction": Method(send_transaction, 1, 1),
    "eth_signTransaction": Method(sign_transaction, 1, 1),
}
