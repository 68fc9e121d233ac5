"""The mempool as nodes show it, and the ways in which they lose what is in it."""

from typing import Any

from eth_utils.address import to_checksum_address

from hardhat_free_chain.formats import data, quantity
from hardhat_free_chain.rpc import parameters
from hardhat_free_chain.rpc.node import Method, MethodTable, Node, under


def content(node: Node, _: list[Any]) -> dict[str, Any]:
    """txpool_content: whole transactions, pending and queued, by sender and nonce."""
    pending, queued = node.chain.pool_as_json()
    return {"pending": pending, "queued": queued}


def content_from(node: Node, arguments: list[Any]) -> dict[str, Any]:
    """txpool_contentFrom: those of one sender, by nonce."""
    sender = to_checksum_address(parameters.address(arguments[0]))
    pending, queued = node.chain.pool_as_json()
    return {"pending": pending.get(sender, {}), "queued": queued.get(sender, {})}


def status(node: Node, _: list[Any]) -> dict[str, str]:
    """txpool_status: how many."""
    parts = content(node, [])
    return {name: quantity(sum(len(held) for held in part.values())) for name, part in parts.items()}


def inspect(node: Node, _: list[Any]) -> dict[str, Any]:
    """txpool_inspect: a line for each."""
    return {
        name: {sender: {nonce: _line(each) for nonce, each in held.items()} for sender, held in part.items()}
        for name, part in content(node, []).items()
    }


def _line(transaction: dict[str, Any]) -> str:
    target = to_checksum_address(transaction["to"]) if transaction["to"] else "contract creation"
    value, gas, price = (int(transaction[name], 16) for name in ("value", "gas", "gasPrice"))
    return f"{target}: {value} wei + {gas} gas × {price} wei"  # noqa: RUF001 - geth's own sign


def pending_transactions(node: Node, _: list[Any]) -> list[Any]:
    """eth_pendingTransactions: all that wait, by sender and nonce."""
    return [each for part in node.chain.pool_as_json() for held in part.values() for each in held.values()]


def drop(node: Node, arguments: list[Any]) -> bool:
    """hardhat_dropTransaction: the node forgets it; false if it was not waiting."""
    return node.chain.drop_transaction(parameters.hash32(arguments[0]))


def drop_by_hash(node: Node, arguments: list[Any]) -> str | None:
    """anvil_dropTransaction: the node forgets it; its hash, or null if it was not waiting."""
    wanted = parameters.hash32(arguments[0])
    return data(wanted) if node.chain.drop_transaction(wanted) else None


def drop_all(node: Node, _: list[Any]) -> None:
    """anvil_dropAllTransactions."""
    node.chain.restart()


def drop_sender(node: Node, arguments: list[Any]) -> None:
    """anvil_removePoolTransactions: the node forgets all of one sender."""
    node.chain.pool.remove_sender(parameters.address(arguments[0]))


def restart(node: Node, _: list[Any]) -> int:
    """hardhatfree_restart: the node forgets mempool and polled filters; how many transactions went."""
    node.filters.clear()
    return node.chain.restart()


METHODS: MethodTable = {
    "txpool_content": Method(content),
    "txpool_contentFrom": Method(content_from, 1, 1),
    "txpool_status": Method(status),
    "txpool_inspect": Method(inspect),
    "eth_pendingTransactions": Method(pending_transactions),
    "hardhat_dropTransaction": Method(drop, 1, 1),
    "anvil_dropTransaction": Method(drop_by_hash, 1, 1),
    **under("dropAllTransactions", Method(drop_all), "anvil"),
    **under("removePoolTransactions", Method(drop_sender, 1, 1), "anvil"),
    "hardhatfree_restart": Method(restart),
}
