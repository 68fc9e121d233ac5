"""eth_getLogs and the polled filters.

A range that reaches past the head is cut at the head, and one that starts past it is empty, as real nodes
answer; a range that is wider than `log_range_max` is refused, as hosted nodes do.
"""

from typing import Any

from hardhat_free_chain.errors import InvalidParams, LimitExceeded, NotFound
from hardhat_free_chain.formats import quantity
from hardhat_free_chain.logs import Log
from hardhat_free_chain.rpc import parameters
from hardhat_free_chain.rpc.node import Method, MethodTable, Node


def get_logs(node: Node, arguments: list[Any]) -> list[Log]:
    """eth_getLogs: by block range or by block hash."""
    fields = parameters.mapping(arguments[0], "filter")
    wanted = parameters.log_filter(fields)
    if fields.get("blockHash") is not None:
        if fields.get("fromBlock") is not None or fields.get("toBlock") is not None:
            raise InvalidParams(
                "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other"
            )
        block = node.chain.ledger.by_hash(parameters.hash32(fields["blockHash"], "blockHash"))
        if block is None:
            raise NotFound("unknown block")
        return [log for log in block.logs if wanted.matches(log)]
    start, stop = _range(node, fields)
    return node.chain.ledger.logs.find(start, stop, wanted)


def _range(node: Node, fields: dict[str, Any]) -> tuple[int, int]:
    bounds = (fields.get("fromBlock"), fields.get("toBlock"))
    start, stop = (_height(node, bound) for bound in bounds)
    if start > stop:
        # Only two numbers can be in the wrong order; a tag may well stand below the height that is asked for.
        if any(bound is None or bound in parameters.BLOCK_TAGS for bound in bounds):
            return start, stop
        raise InvalidParams(f"invalid block range params: fromBlock {start} is above toBlock {stop}")
    stop = min(stop, node.chain.ledger.height)
    limit = node.chain.settings.log_range_max
    if limit is not None and stop - start + 1 > limit:
        raise LimitExceeded(f"exceed maximum block range: {limit}; asked for {stop - start + 1} blocks")
    return start, stop


def _height(node: Node, value: Any) -> int:
    # The pending block shows no logs; what names it means the head.
    number = parameters.height(node.chain, "latest" if value is None else value)
    return node.chain.ledger.height if number is None else number


def new_filter(node: Node, arguments: list[Any]) -> str:
    """eth_newFilter."""
    fields = parameters.mapping(parameters.argument(arguments, 0, {}), "filter")
    wanted = parameters.log_filter(fields)
    start = fields.get("fromBlock")
    stop = fields.get("toBlock")
    # `latest` and `pending` name no fixed height in a filter that lives on.
    from_block = _height(node, start) if start not in (None, "latest", "pending") else 0
    to_block = _height(node, stop) if stop not in (None, "latest", "pending") else None
    return quantity(node.filters.add_logs(wanted, from_block, to_block))


def new_block_filter(node: Node, _: list[Any]) -> str:
    """eth_newBlockFilter."""
    return quantity(node.filters.add_blocks())


def new_transaction_filter(node: Node, _: list[Any]) -> str:
    """eth_newPendingTransactionFilter: hashes of transactions that enter the mempool."""
    return quantity(node.filters.add_transactions())


def filter_changes(node: Node, arguments: list[Any]) -> object:
    """eth_getFilterChanges."""
    changes = node.filters.changes(parameters.quantity(arguments[0], "filter id"))
    if changes is None:
        raise NotFound("filter not found")
    return changes


def filter_logs(node: Node, arguments: list[Any]) -> object:
    """eth_getFilterLogs."""
    logs = node.filters.logs(parameters.quantity(arguments[0], "filter id"))
    if logs is None:
        raise NotFound("filter not found")
    return logs


def uninstall_filter(node: Node, arguments: list[Any]) -> bool:
    """eth_uninstallFilter."""
    return node.filters.remove(parameters.quantity(arguments[0], "filter id"))


METHODS: MethodTable = {
    "eth_getLogs": Method(get_logs, 1, 1),
    "eth_newFilter": Method(new_filter, 0, 1),
    "eth_newBlockFilter": Method(new_block_filter),
    "eth_newPendingTransactionFilter": Method(new_transaction_filter),
    "eth_getFilterChanges": Method(filter_changes, 1, 1),
    "eth_getFilterLogs": Method(filter_logs, 1, 1),
    "eth_uninstallFilter": Method(uninstall_filter, 1, 1),
}
