import pytest

from hardhat_free_chain.clock import ChainClock
from hardhat_free_chain.errors import InvalidParams


class Wall:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_time_follows_the_wall_clock_from_the_base_timestamp() -> None:
    wall = Wall()
    clock = ChainClock(wall, 50)
    wall.now += 7
    assert clock.next_timestamp(50) == 57


def test_without_a_base_the_chain_starts_now() -> None:
    assert ChainClock(Wall(), None).genesis_timestamp == 1_000


def test_a_timestamp_is_always_later_than_the_parent() -> None:
    clock = ChainClock(Wall(), None)
    assert clock.next_timestamp(1_000) == 1_001
    assert clock.next_timestamp(5_000) == 5_001


def test_time_runs_on_from_a_chosen_timestamp() -> None:
    wall = Wall()
    clock = ChainClock(wall, None)
    clock.choose(9_000, 1_000)
    assert clock.next_timestamp(1_000) == 9_000
    clock.mined(9_000)
    wall.now += 5
    assert clock.next_timestamp(9_000) == 9_005


def test_blocks_mined_faster_than_time_do_not_move_the_clock() -> None:
    wall = Wall()
    clock = ChainClock(wall, None)
    timestamp = 1_000
    for _ in range(100):
        timestamp = clock.next_timestamp(timestamp)
        clock.mined(timestamp)
    assert timestamp == 1_100
    wall.now += 500
    assert clock.next_timestamp(timestamp) == 1_500


def test_a_chosen_timestamp_that_is_not_later_is_refused() -> None:
    with pytest.raises(InvalidParams, match="lower than or equal to previous block's timestamp 1000"):
        ChainClock(Wall(), None).choose(1_000, 1_000)


def test_increase_moves_the_clock_and_reports_the_whole_offset() -> None:
    clock = ChainClock(Wall(), None)
    clock.increase(10)
    assert clock.increase(5) == 15
    assert clock.next_timestamp(1_000) == 1_015


def test_a_restored_clock_forgets_later_choices() -> None:
    clock = ChainClock(Wall(), None)
    state = clock.state()
    clock.increase(100)
    clock.choose(9_000, 1_000)
    clock.restore(state)
    assert clock.next_timestamp(990) == 1_000
