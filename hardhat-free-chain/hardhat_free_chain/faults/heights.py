"""Where requests name blocks, and which heights they mean: what rules about old and new blocks share."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hardhat_free_chain.chain import LocalChain
from hardhat_free_chain.errors import RpcError
from hardhat_free_chain.formats import quantity
from hardhat_free_chain.rpc import parameters
from hardhat_free_chain.rpc.dispatch import Request

STATE_METHODS = {
    "eth_getBalance": 1,
    "eth_getCode": 1,
    "eth_getTransactionCount": 1,
    "eth_call": 1,
    "eth_estimateGas": 1,
    "eth_getStorageAt": 2,
}
NUMBER_METHODS = {
    "eth_getBlockByNumber": 0,
    "eth_getBlockTransactionCountByNumber": 0,
    "eth_getTransactionByBlockNumberAndIndex": 0,
    "eth_getBlockReceipts": 0,
}
BLOCK_HASH_METHODS = frozenset(
    {"eth_getBlockByHash", "eth_getBlockTransactionCountByHash", "eth_getTransactionByBlockHashAndIndex"}
)
TRANSACTION_METHODS = frozenset({"eth_getTransactionByHash", "eth_getTransactionReceipt"})
LOG_METHODS = frozenset({"eth_getLogs"})
FEE_METHODS = {"eth_feeHistory": 1}
NAMED_AT = {**STATE_METHODS, **NUMBER_METHODS, **FEE_METHODS}

Choose = Callable[[Any], Any]


def named(request: Request) -> Any:
    """The block that a request names by number, tag or object, where its method takes one; else None."""
    return parameters.argument(request.arguments, NAMED_AT[request.method], "latest")


def with_named(request: Request, value: Any) -> Request:
    """The same request about another block."""
    position = NAMED_AT[request.method]
    arguments = [*request.arguments, *[None] * (position + 1 - len(request.arguments))]
    arguments[position] = value
    return replace(request, arguments=arguments)


def with_log_bounds(request: Request, choose: Choose) -> Request:
    """An eth_getLogs whose bounds are replaced by what `choose` makes of them."""
    fields = request.arguments[0]
    bounds = {name: choose(fields.get(name)) for name in ("fromBlock", "toBlock")}
    return replace(request, arguments=[{**fields, **bounds}, *request.arguments[1:]])


def log_fields(request: Request) -> dict[str, Any] | None:
    """The filter of an eth_getLogs by range; None where it is by block hash, or no filter at all."""
    fields = request.arguments[0] if request.arguments else None
    return fields if isinstance(fields, dict) and fields.get("blockHash") is None else None


def height_of(chain: LocalChain, value: Any) -> int | None:
    """The height that a number, a tag or an EIP-1898 object means; None for what means none.

    `pending` means the head.
    """
    try:
        if isinstance(value, dict):
            if "blockHash" in value:
                return height_of_hash(chain, value["blockHash"])
            value = value.get("blockNumber")
        if isinstance(value, str) and len(value) == 66:
            return height_of_hash(chain, value)
        number = parameters.height(chain, "latest" if value is None else value)
    except RpcError:
        # What is malformed is refused by the method itself.
        return None
    return chain.ledger.height if number is None else number


def height_of_hash(chain: LocalChain, value: Any) -> int | None:
    """The height of the canonical block with this hash, as hex."""
    try:
        found = chain.ledger.by_hash(parameters.hash32(value))
    except RpcError:
        return None
    return found.number if found else None


def height_shown(result: object) -> int | None:
    """The height that a block, transaction or receipt says it has."""
    if not isinstance(result, dict):
        return None
    number = result.get("blockNumber", result.get("number"))
    return int(number, 16) if isinstance(number, str) else None


def hexed(number: int) -> str:
    """A height as an argument."""
    return quantity(number)
