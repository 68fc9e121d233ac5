"""Faults before the chain: typed rules, and the weather of an endpoint that is made of them."""

from hardhat_free_chain.faults.codec import parse_rule, rule_as_json
from hardhat_free_chain.faults.delivery import (
    BrokenBatch,
    ConnectionReset,
    CutReply,
    HttpFailure,
    Latency,
    LostReply,
    RateLimit,
    SilentSocket,
)
from hardhat_free_chain.faults.identity import OtherChain, SkewedClock, WrongHashes
from hardhat_free_chain.faults.logs import RangeLimit, TruncatedLogs
from hardhat_free_chain.faults.mempool import ForgottenTransactions, OtherMempool
from hardhat_free_chain.faults.pruning import PrunedHistory, PrunedState
from hardhat_free_chain.faults.refusals import FixedResult, Refusal
from hardhat_free_chain.faults.replica import Finality, StaleHead
from hardhat_free_chain.faults.rule import Rule
from hardhat_free_chain.faults.weather import Weather

__all__ = [
    "BrokenBatch",
    "ConnectionReset",
    "CutReply",
    "Finality",
    "FixedResult",
    "ForgottenTransactions",
    "HttpFailure",
    "Latency",
    "LostReply",
    "OtherChain",
    "OtherMempool",
    "PrunedHistory",
    "PrunedState",
    "RangeLimit",
    "RateLimit",
    "Refusal",
    "Rule",
    "SilentSocket",
    "SkewedClock",
    "StaleHead",
    "TruncatedLogs",
    "Weather",
    "WrongHashes",
    "parse_rule",
    "rule_as_json",
]
