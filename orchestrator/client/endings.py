"""What a record says of the calls that ended early for it."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.client import codec
from orchestrator.client.sealing import readable
from orchestrator.domain import tags as tag
from orchestrator.domain.promise import PromiseRecord, Value

ENDS_HEADER = "ends"
"""In the value of a record: its data is an object whose `ends` lists the calls that ended for it."""


def ending_value(ends: Iterable[str], **more: object) -> Value:
    """Return what a record carries for which calls end; `more` stands beside them in its data."""
    return Value(headers={ENDS_HEADER: tag.TRUE}, data=codec.to_data({**more, "ends": list(ends)}))


def ended_by(record: PromiseRecord) -> list[str]:
    """Return the calls that ended for what a record says."""
    if ENDS_HEADER not in (record.value.headers or {}):
        return []
    what = f"the value of {record.id}"
    tree = codec.from_data(readable(record.value, what), what)
    ends = tree.get("ends") if isinstance(tree, dict) else None
    return [each for each in ends if isinstance(each, str)] if isinstance(ends, list) else []
