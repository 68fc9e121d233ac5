"""Who may watch an engine's commits: they only record, and nothing depends on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class CommitObserver(Protocol):
    """Hears of each commit of commands. Must neither block nor raise."""

    def on_commit(self, traces: Sequence[str | None], seconds: float) -> None:
        """Learn how long a commit took. `traces` has an entry a command: its call's traceparent, if any."""
        ...
