"""Which locks guard which promises on a database that several servers share.

Invariants: the key of a promise follows from its id alone, so that it can be locked before anything is
read; all promises of one origin share it; whoever holds several took them in ascending order, or took the
later ones without waiting, so that no two wait for one another. All are bound to their transaction. A limited
group has one, too; an unlimited one has none.

A set beyond LOCKS_MAX takes the whole store instead: the server's table of locks has a fixed size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from orchestrator.domain.ids import CHILD_SEPARATOR, ROOT_SEPARATOR

LOCKS_MAX = 256


_new_hash = blake2b(digest_size=8, person=b"dao-scorer").copy
"""Half as dear as to make one with its parameters, and no dearer than a cache where ids are new."""


def _key(name: str) -> int:
    # A lone surrogate has a key, too: the database refuses it with a better message.
    hashed = _new_hash()
    hashed.update(name.encode("utf-8", "surrogatepass"))
    return int.from_bytes(hashed.digest(), "big", signed=True)


WHOLE_STORE = _key("\x00whole store")
MIGRATION = _key("\x00migration")


def key_of(promise_id: str) -> int:
    """Return the lock of a promise: that of what stands before the first separator of either dialect."""
    return _key(promise_id.partition(ROOT_SEPARATOR)[0].partition(CHILD_SEPARATOR)[0])


def is_origin(promise_id: str) -> bool:
    """Tell whether a promise shares its lock with none other."""
    return ROOT_SEPARATOR not in promise_id and CHILD_SEPARATOR not in promise_id


@lru_cache(maxsize=4_096)
def schedule_key_of(schedule_id: str) -> int:
    """Return the lock of a schedule."""
    return _key(f"\x00schedule {schedule_id}")


@lru_cache(maxsize=4_096)
def group_key_of(group: str) -> int:
    """Return the lock of a limited group."""
    return _key(f"\x00group {group}")


@dataclass(frozen=True, slots=True)
class Locks:
    """A set of locks; `whole` means everything there is."""

    keys: frozenset[int] = frozenset()

    @property
    def whole(self) -> bool:
        """Tell whether the set is so large that it locks the whole store, or names it."""
        return len(self.keys) > LOCKS_MAX or WHOLE_STORE in self.keys

    def missing(self, ids: Iterable[str]) -> frozenset[int]:
        """Return the keys of these promises that are not held."""
        return self.missing_keys(map(key_of, ids))

    def missing_keys(self, keys: Iterable[int]) -> frozenset[int]:
        """Return those of the keys that are not held."""
        return frozenset() if self.whole else frozenset(keys) - self.keys

    def with_keys(self, keys: Iterable[int]) -> Locks:
        """Return the larger set."""
        return Locks(self.keys.union(keys))

    def statement(self) -> str:
        """Return the text that waits for all of them in order; keys are numbers, and so need no quoting."""
        if self.whole:
            return LOCK_WHOLE
        shared = f"SELECT pg_advisory_xact_lock_shared({WHOLE_STORE})"
        if not self.keys:
            return shared
        keys = ",".join(map(str, sorted(self.keys)))
        return f"{shared}; SELECT pg_advisory_xact_lock(k) FROM unnest('{{{keys}}}'::bigint[]) AS k"  # noqa: S608


TRY_KEYS = "SELECT bool_and(pg_try_advisory_xact_lock(k)) FROM unnest($1::bigint[]) AS k"
LOCK_WHOLE = f"SELECT pg_advisory_xact_lock({WHOLE_STORE})"
TRY_WHOLE = f"SELECT pg_try_advisory_xact_lock({WHOLE_STORE})"


class LocksTooFew(Exception):
    """A program met promises that its transaction has not locked; it starts again with these keys, too."""

    def __init__(self, keys: frozenset[int]) -> None:
        super().__init__(f"{len(keys)} more locks are needed")
        self.keys = keys
