"""What people type as values of arguments and options: JSON, tags, durations."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from orchestrator.domain.address import parse_address
from scorers.cli import output

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"(\d{1,15})(ms|s|m|h|d)")


def json_of(text: str, flag: str) -> Any:
    """Read a value; what begins as JSON and is none was meant to be some, anything else is a string."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        if text.startswith(("{", "[", '"')):
            output.fail(f"{flag} {text} is not JSON: {error}")
        return text


def tags_of(pairs: list[str] | None) -> dict[str, str]:
    """Read tags, each written NAME=VALUE."""
    split = [pair.partition("=") for pair in pairs or []]
    for name, separator, _ in split:
        if not name or not separator:
            output.fail(f"tag {name!r} has no value: write --tag NAME=VALUE")
    return {name: value for name, _, value in split}


def milliseconds_of(text: str, flag: str) -> int:
    """Read a duration: numbers with ms, s, m, h or d, one after the other."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        output.fail(f"{flag} {text!r} is no duration: write 90s, 1h30m or 2d")
    return sum(int(number) * _UNITS_MS[unit] for number, unit in parts)


def address_of(text: str, flag: str) -> str:
    """Read a delivery address."""
    try:
        parse_address(text)
    except ValueError as error:
        output.fail(f"{flag} {text} is no delivery address: {error}")
    return text
