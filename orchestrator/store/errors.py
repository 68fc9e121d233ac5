"""What goes wrong with a store."""

from __future__ import annotations

from orchestrator.domain.errors import OrchestratorError


class StoreError(OrchestratorError):
    """The store cannot be opened or used; the message names it and says what to do.

    `transient` tells that the same request may succeed later (a full disk, a lock held by another program).
    `outcome_unknown` tells that the connection was lost while a commit was under way: what was written may
    be there or not.
    """

    def __init__(self, message: str, *, transient: bool = False, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
        self.outcome_unknown = outcome_unknown


class InvalidRow(OrchestratorError):
    """A value cannot be stored: text that is not Unicode, or a number beyond 64 bits."""
