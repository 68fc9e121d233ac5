"""Rules as JSON, so that another process can set them: `{"kind": "staleHead", "blocks": 3}`."""

from typing import Any

import msgspec

from hardhat_free_chain.errors import InvalidParams
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

AnyRule = (
    BrokenBatch
    | ConnectionReset
    | CutReply
    | Finality
    | FixedResult
    | ForgottenTransactions
    | HttpFailure
    | Latency
    | LostReply
    | OtherChain
    | OtherMempool
    | PrunedHistory
    | PrunedState
    | RangeLimit
    | RateLimit
    | Refusal
    | SilentSocket
    | SkewedClock
    | StaleHead
    | TruncatedLogs
    | WrongHashes
)


def parse_rule(value: Any) -> Rule:
    """A rule from its JSON object. Raises InvalidParams with the field that is wrong."""
    try:
        rule: Rule = msgspec.convert(value, AnyRule)
    except msgspec.ValidationError as error:
        raise InvalidParams(f"invalid fault: {error}") from error
    return rule


def rule_as_json(rule: Rule) -> dict[str, Any]:
    """A rule as the JSON object that `parse_rule` takes; what has its default is left away."""
    encoded: dict[str, Any] = msgspec.to_builtins(rule)
    return encoded
