"""The places of a limited group's tasks in its queue, as a complete table.

Rules for editing this file: every (place, event) pair stands in the table; a test fails for a missing one.
None is no place: a task of an unlimited group has none, nor has one that rests, is done, or waits for its
moment.

Invariants: a task is announced only from TOLD and OVERLOOKED. Whoever is TOLD holds one of the free places,
so that no more are told than may be acquired; who does not come in time is OVERLOOKED and holds none, so that
nobody waits for a worker that is not there. Where no place is free nobody is TOLD or OVERLOOKED.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec


class Place(IntEnum):
    """Where a task stands in its group; the numbers are stored."""

    WAITING = 0
    """It could be acquired if there were room, and is not announced."""
    TOLD = 1
    """Announced; one of the free places is kept for it."""
    OVERLOOKED = 2
    """Announced a while ago; nobody came, and its place is free for others."""
    ACQUIRED = 3


class PlaceEvent(StrEnum):
    """What can happen to a place."""

    READY = "ready"
    """The task is to be announced: it is new, woken, given back, or its moment has come."""
    TELL = "tell"
    """Its turn has come."""
    WITHDRAW = "withdraw"
    """Its turn has passed to another, or the group has no room any more."""
    OVERLOOK = "overlook"
    """Nobody has come for it in time."""
    TAKE = "take"
    """A worker has acquired it."""
    LEAVE = "leave"
    """It rests, is done, or waits for its moment."""


_P, _E = Place, PlaceEvent

PLACES: dict[tuple[Place | None, PlaceEvent], Place | None] = {
    (None, _E.READY): _P.WAITING,
    (None, _E.TELL): None,
    (None, _E.WITHDRAW): None,
    (None, _E.OVERLOOK): None,
    (None, _E.TAKE): _P.ACQUIRED,
    (None, _E.LEAVE): None,
    (_P.WAITING, _E.READY): _P.WAITING,
    (_P.WAITING, _E.TELL): _P.TOLD,
    (_P.WAITING, _E.WITHDRAW): _P.WAITING,
    (_P.WAITING, _E.OVERLOOK): _P.WAITING,
    (_P.WAITING, _E.TAKE): _P.ACQUIRED,
    (_P.WAITING, _E.LEAVE): None,
    (_P.TOLD, _E.READY): _P.WAITING,
    (_P.TOLD, _E.TELL): _P.TOLD,
    (_P.TOLD, _E.WITHDRAW): _P.WAITING,
    (_P.TOLD, _E.OVERLOOK): _P.OVERLOOKED,
    (_P.TOLD, _E.TAKE): _P.ACQUIRED,
    (_P.TOLD, _E.LEAVE): None,
    (_P.OVERLOOKED, _E.READY): _P.WAITING,
    (_P.OVERLOOKED, _E.TELL): _P.OVERLOOKED,
    (_P.OVERLOOKED, _E.WITHDRAW): _P.WAITING,
    (_P.OVERLOOKED, _E.OVERLOOK): _P.OVERLOOKED,
    (_P.OVERLOOKED, _E.TAKE): _P.ACQUIRED,
    (_P.OVERLOOKED, _E.LEAVE): None,
    (_P.ACQUIRED, _E.READY): _P.WAITING,
    (_P.ACQUIRED, _E.TELL): _P.ACQUIRED,
    (_P.ACQUIRED, _E.WITHDRAW): _P.ACQUIRED,
    (_P.ACQUIRED, _E.OVERLOOK): _P.ACQUIRED,
    (_P.ACQUIRED, _E.TAKE): _P.ACQUIRED,
    (_P.ACQUIRED, _E.LEAVE): None,
}


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """A task's place. `rank` is the negative priority, `since` when its promise was created (Unix ms)."""

    task_id: str
    group: str
    place: Place
    rank: int
    since: int

    @property
    def turn(self) -> tuple[int, int, str]:
        """The order in which tasks are told: the highest priority first, then the oldest."""
        return self.rank, self.since, self.task_id


def after(queued: Queued, event: PlaceEvent) -> Queued | None:
    """Return the place after an event."""
    place = PLACES[queued.place, event]
    return None if place is None else msgspec.structs.replace(queued, place=place)
