"""Access to chain nodes over JSON-RPC.

`Node` is the door; addresses are text in lower case with 0x, hashes are bytes, amounts are integers in wei.
"""

from contracts.rpc.errors import (
    BlockMissing,
    CallReverted,
    InvalidEndpoint,
    NoCode,
    NodeUnavailable,
    RpcError,
    RpcRefused,
    WrongChain,
)
from contracts.rpc.node import Call, Node, Topic
from contracts.rpc.quantities import BlockReference
from contracts.rpc.ranges import logs_between
from contracts.rpc.records import BlockHeader, Fees, Receipt

__all__ = [
    "BlockHeader",
    "BlockMissing",
    "BlockReference",
    "Call",
    "CallReverted",
    "Fees",
    "InvalidEndpoint",
    "NoCode",
    "Node",
    "NodeUnavailable",
    "Receipt",
    "RpcError",
    "RpcRefused",
    "Topic",
    "WrongChain",
    "logs_between",
]
