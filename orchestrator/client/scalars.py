"""Scalar types beyond JSON's own: the tree that each is stored as, and how it is read from plain JSON."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

INTEGER_MAX = 2**53 - 1
"""The largest magnitude of a bare JSON number: browsers and other languages read it as a double."""
_MICROSECOND = timedelta(microseconds=1)


def bytes_of(text: str) -> bytes:
    """Read hexadecimal digits, with or without 0x before them. Raises ValueError."""
    return bytes.fromhex(text.removeprefix("0x"))


def datetime_of(text: str) -> datetime:
    """Read a moment in ISO 8601. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if text.endswith("Z") else moment


def _float(value: Any) -> object:
    return value if math.isfinite(value) else {"$float": repr(value)}


def _integer(value: int) -> object:
    return value if -INTEGER_MAX <= value <= INTEGER_MAX else {"$integer": str(value)}


TREES: dict[type, Callable[[Any], object]] = {
    int: _integer,
    float: _float,
    Decimal: lambda value: {"$decimal": str(value)},
    bytes: lambda value: {"$bytes": "0x" + value.hex()},
    datetime: lambda value: {"$datetime": value.isoformat()},
    date: lambda value: {"$date": value.isoformat()},
    time: lambda value: {"$time": value.isoformat()},
    timedelta: lambda value: {"$timedelta": value // _MICROSECOND},
    UUID: lambda value: {"$uuid": str(value)},
}
"""By type, what makes the JSON tree of a value."""
FROM_PLAIN: dict[type, Callable[[Any], object]] = {
    int: lambda value: int(value) if isinstance(value, str) else value,
    float: lambda value: float(value) if type(value) is int else value,
    Decimal: lambda value: Decimal(str(value)),
    bytes: bytes_of,
    datetime: datetime_of,
    date: date.fromisoformat,
    time: time.fromisoformat,
    UUID: UUID,
}
"""By declared type, what reads plain JSON of another language."""
