"""Where the spans of an invocation stand, by W3C Trace Context: a function of ids and tags alone.

Every promise has one span, whose id follows from the promise's. So whoever creates a child knows the child's
place before anything has been recorded, a replay knows the same, and processes that never speak to each
other agree. The tag `traceparent` of a root carries its creator's own span; a root without one begins a trace
whose id follows from the root's.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from hashlib import blake2b

from orchestrator.domain import tags as tag
from orchestrator.domain.ids import origin_of
from orchestrator.domain.promise import PromiseRecord

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
SAMPLED = "01"
HEADER = "traceparent"
"""The HTTP header of a call that stands in a trace."""
HERE: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""The traceparent of what runs here, and under which its calls stand; None where nobody traces."""


def parse(traceparent: str | None) -> tuple[str, str, str] | None:
    """Return trace id, span id and flags in hexadecimal, None for what is no traceparent of version 00."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    return (found[1], found[2], found[3]) if found is not None else None


def span_id(promise_id: str) -> str:
    """Return the id of a promise's span: 16 hexadecimal digits."""
    return _digest("span", promise_id, 8)


def under_promise(trace: str | None, promise_id: str) -> str | None:
    """Return the traceparent for what a promise's function calls, given the promise's own; None for none."""
    if trace is None:
        return None
    known = parse(trace)
    return None if known is None else f"00-{known[0]}-{span_id(promise_id)}-{known[2]}"


def above_promise(promise: PromiseRecord) -> str:
    """Return the traceparent under which a promise's own span stands.

    That of a root without the tag names a span that nobody records (see `begins_trace`).
    """
    trace = promise.tags.get(tag.TRACE)
    if parse(trace) is not None and trace is not None:
        return trace
    origin = promise.tags.get(tag.ORIGIN) or origin_of(promise.id)
    parent = promise.tags.get(tag.PARENT, promise.id)
    above = span_id(parent) if parent != promise.id else _digest("creator", promise.id, 8)
    return f"00-{_digest('trace', origin, 16)}-{above}-{SAMPLED}"


def begins_trace(promise: PromiseRecord) -> bool:
    """Tell whether a promise's span is the first of its trace."""
    return (
        parse(promise.tags.get(tag.TRACE)) is None and promise.tags.get(tag.PARENT, promise.id) == promise.id
    )


def _digest(kind: str, text: str, size: int) -> str:
    # The first digit is never 0, so that no id is made of zeros only.
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size, person=kind.encode())
    return f"{digest.digest()[0] | 0x10:02x}{digest.hexdigest()[2:]}"
