"""Faults before the chain: typed rules, and the weather of an endpoint that is made of them."""

from hardhat_free_chain.faults.codec import parse_rule, rule_as_json
from hardhat_free_chain.faults.delivery import (
    ConnectionReset,
    CutReply,
    HttpFailure,
    Latency,
    LostReply,
    RateLimit,
    SilentSocket,
)
from hardhat_free_chain.faults.identity import OtherChain, WrongHashes
from hardhat_free_chain.faults.logs import RangeLimit, TruncatedLogs
from hardhat_free_chain.faults.pruning import PrunedHistory, PrunedState
from hardhat_free_chain.faults.refusals import FixedResult, ForgottenTransactions, Refusal
from hardhat_free_chain.faults.replica import Finality, StaleHead
from hardhat_free_chain.faults.rule import Rule
from hardhat_free_chain.faults.weather import Weather

__all__ = [
    "ConnectionReset",
    "CutReply",
    "Finality",
    "FixedResult",
    "ForgottenTransactions",
    "HttpFailure",
    "Latency",
    "LostReply",
    "OtherChain",
    "PrunedHistory",
    "PrunedState",
    "RangeLimit",
    "RateLimit",
    "Refusal",
    "Rule",
    "SilentSocket",
    "StaleHead",
    "TruncatedLogs",
    "Weather",
    "WrongHashes",
    "parse_rule",
    "rule_as_json",
]
