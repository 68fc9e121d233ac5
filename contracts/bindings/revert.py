"""Which refusal the bytes of a revert are, among all that our contracts and Governors know."""

from contracts.bindings import (
    block_clock_governor,
    governor,
    proposal_scores,
    reputation_dao,
    score_consumer,
)
from contracts.bindings.errors import ContractError, ErrorType

__all__ = ["decode_error"]

_SOLIDITY = (ErrorType("Error(string message)"), ErrorType("Panic(uint256 code)"))
_MODULES = (block_clock_governor, governor, proposal_scores, reputation_dao, score_consumer)
_OURS = tuple(error for module in _MODULES for error in module.ERRORS)
_KNOWN = {each.selector: each for each in (*_SOLIDITY, *_OURS)}


def decode_error(data: bytes) -> ContractError | None:
    """Return the refusal in the return data of a reverted call, or None if it is none that we know."""
    known = _KNOWN.get(data[:4])
    return known.decode(data) if known else None
