"""Access to chain nodes over JSON-RPC: one endpoint, or several that check and stand in for each other.

`Node` is the door; addresses are text in lower case with 0x, hashes are bytes, amounts are integers in wei.
"""

from contracts.rpc import bloom
from contracts.rpc.call_reader import Call, answers_of
from contracts.rpc.errors import (
    BlockMissing,
    BlockReplaced,
    CallReverted,
    Disagreement,
    HistoryPruned,
    InvalidEndpoint,
    LogsIncomplete,
    NoCode,
    NodeUnavailable,
    RangeRefused,
    RpcError,
    RpcRefused,
    StateMissing,
    TagUnsupported,
    WrongChain,
)
from contracts.rpc.log_query import LogPage, Topic
from contracts.rpc.node import Node
from contracts.rpc.quantities import BlockReference
from contracts.rpc.ranges import logs_between
from contracts.rpc.records import BlockHeader, Fees, Receipt
from contracts.rpc.settings import Broadcast, PoolSettings
from contracts.rpc.whole_blocks import fullest_logs

__all__ = [
    "BlockHeader",
    "BlockMissing",
    "BlockReference",
    "BlockReplaced",
    "Broadcast",
    "Call",
    "CallReverted",
    "Disagreement",
    "Fees",
    "HistoryPruned",
    "InvalidEndpoint",
    "LogPage",
    "LogsIncomplete",
    "NoCode",
    "Node",
    "NodeUnavailable",
    "PoolSettings",
    "RangeRefused",
    "Receipt",
    "RpcError",
    "RpcRefused",
    "StateMissing",
    "TagUnsupported",
    "Topic",
    "WrongChain",
    "answers_of",
    "bloom",
    "fullest_logs",
    "logs_between",
]
