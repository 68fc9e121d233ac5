"""The line by which a long-running command tells that it is up, and where."""

from __future__ import annotations

import sys

PREFIX = "ready "


def announce(where: str) -> None:
    """Print `ready WHERE`; what started the command may wait for this line."""
    sys.stdout.write(f"{PREFIX}{where}\n")
    sys.stdout.flush()


def parse(line: str) -> str | None:
    """Return WHERE of a ready line, None for any other line."""
    return line.removeprefix(PREFIX).strip() if line.startswith(PREFIX) else None
