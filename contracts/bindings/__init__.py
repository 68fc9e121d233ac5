"""Typed, I/O-free encoders and decoders for each contract and event.

`reputation_dao`, `governor`, `governor_bravo`, `votes_token`, `proposal_scores`, `score_consumer` and
`block_clock_governor` hold each function as a `Function` (`.encode(...)` makes call data, `.decode(...)`
reads a result) and each event as an `Event` (`.topic0`, `.topics(...)`, `.decode(log)`). Which of the DAOs an
address is, `contracts.dao` tells. Must not import web3, the orchestrator or anything that does I/O.
"""

from contracts.bindings import (
    block_clock_governor,
    governor,
    governor_bravo,
    proposal_scores,
    reputation_dao,
    score_consumer,
    votes_token,
)
from contracts.bindings.bulk import decode_all
from contracts.bindings.codec import BindingError, DecodeError, EncodeError, Event, Function, Parameter
from contracts.bindings.deployment import deploy_data
from contracts.bindings.errors import ContractError, ErrorType
from contracts.bindings.log import Log, MalformedLogError
from contracts.bindings.revert import decode_error

__all__ = [
    "BindingError",
    "ContractError",
    "DecodeError",
    "EncodeError",
    "ErrorType",
    "Event",
    "Function",
    "Log",
    "MalformedLogError",
    "Parameter",
    "block_clock_governor",
    "decode_all",
    "decode_error",
    "deploy_data",
    "governor",
    "governor_bravo",
    "proposal_scores",
    "reputation_dao",
    "score_consumer",
    "votes_token",
]
