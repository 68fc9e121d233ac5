"""The places of a limited group as a table, and its bucket."""

from itertools import product

import msgspec
import pytest

from orchestrator.domain.group import Group, Usage, full, level_at, next_token_at, room, taken
from orchestrator.domain.queueing import PLACES, Place, PlaceEvent, Queued, after

HELD = (Place.TOLD, Place.OVERLOOKED)
GROUP = Group(id="g", rate=2, period=1_000)
NOW = 1_000_000


def test_every_pair_of_place_and_event_stands_in_the_table() -> None:
    assert set(PLACES) == set(product([None, *Place], PlaceEvent))


def test_only_who_waits_is_told_and_only_who_was_told_is_overlooked() -> None:
    told = {place for (place, event), then in PLACES.items() if then is Place.TOLD and event == "tell"}
    assert told == {Place.WAITING, Place.TOLD}
    overlooked = {place for (place, _), then in PLACES.items() if then is Place.OVERLOOKED}
    assert overlooked == set(HELD)


def test_whoever_leaves_has_no_place_and_whoever_is_ready_waits_for_a_turn() -> None:
    for place in (None, *Place):
        assert PLACES[place, PlaceEvent.LEAVE] is None
        assert PLACES[place, PlaceEvent.READY] is Place.WAITING
        assert PLACES[place, PlaceEvent.TAKE] is Place.ACQUIRED


def test_where_there_is_no_room_nobody_stays_told() -> None:
    assert {PLACES[place, PlaceEvent.WITHDRAW] for place in HELD} == {Place.WAITING}
    assert PLACES[Place.ACQUIRED, PlaceEvent.WITHDRAW] is Place.ACQUIRED, "what runs goes on"


def test_a_place_keeps_its_turn_through_events() -> None:
    queued = Queued(task_id="t", group="g", place=Place.WAITING, rank=-3, since=7)
    told = after(queued, PlaceEvent.TELL)
    assert told is not None
    assert (told.place, told.turn) == (Place.TOLD, queued.turn)
    assert after(told, PlaceEvent.LEAVE) is None


def _emptied(now_ms: int) -> Usage:
    usage = full(GROUP, now_ms)
    while room(GROUP, usage, now_ms, 99):
        usage = msgspec.structs.replace(taken(GROUP, usage, now_ms), acquired=0)
    return usage


@pytest.mark.parametrize("back_ms", [1, 400, 1_000])
def test_time_that_goes_back_a_little_brings_nothing_twice(back_ms: int) -> None:
    usage = _emptied(NOW)
    assert room(GROUP, usage, NOW - back_ms, 99) == 0
    assert next_token_at(GROUP, usage, NOW - back_ms) == NOW + 500
    usage = taken(GROUP, usage, NOW + 500)
    early = taken(GROUP, usage, NOW + 500 - back_ms)  # as if another server's transaction had begun before
    assert early.leveled_at == usage.leveled_at
    assert level_at(GROUP, early, NOW + 500) == level_at(GROUP, usage, NOW + 500) - 1_000


def test_a_clock_that_was_set_back_far_does_not_stop_a_group() -> None:
    usage, later = _emptied(NOW), NOW - 3_600_000
    assert room(GROUP, usage, later, 99) == 2
    once = msgspec.structs.replace(taken(GROUP, usage, later), acquired=0)
    assert once.leveled_at == later
    twice = taken(GROUP, once, later)
    assert room(GROUP, twice, later, 99) == 0
    assert next_token_at(GROUP, twice, later) == later + 500
