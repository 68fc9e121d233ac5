"""What a program that runs on PostgreSQL holds: its connection, its locks, and what its server remembers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.store.postgres_connections import Connection
from orchestrator.store.postgres_locks import Locks, LocksTooFew, key_of

if TYPE_CHECKING:
    from orchestrator.store.postgres_groups import Remembered


@dataclass(slots=True)
class Held:
    """A connection in a transaction, and the locks that it holds.

    `revision` is that of what is set about groups, None while nobody has looked; `changed` tells that this
    program has set something itself.
    """

    connection: Connection
    locks: Locks
    remembered: Remembered
    revision: int | None = None
    changed: bool = False

    def check(self, ids: Iterable[str]) -> None:
        """Raise LocksTooFew unless all these promises are locked."""
        self.check_keys(map(key_of, ids))

    def check_keys(self, keys: Iterable[int]) -> None:
        """Raise LocksTooFew unless all these locks are held."""
        missing = self.locks.missing_keys(keys)
        if missing:
            raise LocksTooFew(missing)
