"""What goes wrong with a store."""

from __future__ import annotations

from orchestrator.domain.errors import OrchestratorError


class StoreError(OrchestratorError):
    """The store cannot be opened or used; the message names it and says what to do.

    `transient` tells that the same request may succeed later (a full disk, a lock held by another program).
    `connection_lost` tells that a database on the network is out of reach. If that happened during a commit,
    what was written may be there or not, so that nobody repeats it but who asked for it.
    """

    def __init__(self, message: str, *, transient: bool = False, connection_lost: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
        self.connection_lost = connection_lost


class InvalidRow(OrchestratorError):
    """A value cannot be stored: text that is not Unicode, or a number beyond 64 bits."""


def driver_error() -> StoreError:
    """Return what to say where PostgreSQL is asked for and its driver is not installed."""
    return StoreError("PostgreSQL needs packages that are missing: pip install 'dao-scorer[postgres]'")
