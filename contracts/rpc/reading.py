"""From the text of an answer to a typed value, or to the error that it means.

Pure. A judge is given the endpoint's name and the outcomes of its requests; what it raises is what pools
route by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from contracts.bindings import MalformedLogError
from contracts.rpc.connection import Outcome
from contracts.rpc.errors import BlockMissing, NodeUnavailable
from contracts.rpc.quantities import BlockReference, describe_block
from contracts.rpc.refusals import ErrorObject, Kind, error_of, kind_of

_T = TypeVar("_T")
Judge = Callable[[str, list[Outcome]], _T]


def parsed(endpoint: str, method: str, parse: Callable[[Any], _T], outcome: msgspec.Raw) -> _T:
    """Return the value of a result. Raises NodeUnavailable for one that makes no sense."""
    try:
        return parse(msgspec.json.decode(outcome))
    except (ValueError, MalformedLogError) as error:  # DecodeError and UnicodeDecodeError are ValueErrors.
        raise senseless(endpoint, method, str(error)) from error


def answered(
    endpoint: str,
    method: str,
    parse: Callable[[Any], _T],
    outcome: Outcome,
    block: BlockReference | None = None,
) -> _T:
    """Return the value of an outcome; `block` is what may be missing. Raises what its error means."""
    if not isinstance(outcome, ErrorObject):
        return parsed(endpoint, method, parse, outcome)
    if block is not None and kind_of(method, outcome) is Kind.UNKNOWN_BLOCK:
        raise BlockMissing(describe_block(block))
    raise error_of(endpoint, method, outcome)


def judge(method: str, parse: Callable[[Any], _T], *, block: BlockReference | None = None) -> Judge[_T]:
    """Return the judge of a single request."""
    return lambda endpoint, outcomes: answered(endpoint, method, parse, outcomes[0], block)


def senseless(endpoint: str, method: str, reason: str) -> NodeUnavailable:
    """Return the error for an answer that is none."""
    return NodeUnavailable(endpoint, f"{method}: senseless answer: {reason}")
