"""Times and durations as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

NEVER_MS = 2**53 - 1


def moment(unix_ms: int | None) -> str:
    """Write Unix milliseconds as a UTC time; `never` for the protocol's last moment, `-` for none."""
    if unix_ms is None:
        return "-"
    if unix_ms >= NEVER_MS:
        return "never"
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def duration(milliseconds: int | None) -> str:
    """Write a duration in the unit that suits it; `…` while it lasts."""
    if milliseconds is None:
        return "…"
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
