"""In how many additions at once commands go, by what a flush costs."""

from __future__ import annotations

import pytest

from orchestrator.store.flushes import ROW_S, Flushes


@pytest.mark.parametrize(
    ("flush_s", "commands", "parts"),
    [
        (0.0, 64, 2),
        (0.0001, 64, 2),
        (0.0015, 64, 2),
        (0.0017, 64, 1),
        (0.005, 64, 1),
        (0.005, 256, 2),
        (0.0065, 256, 1),
    ],
)
def test_two_pay_where_a_flush_costs_less_than_the_rows(flush_s: float, commands: int, parts: int) -> None:
    """The borders by the formula: two at once take less where F < N ROW_S."""
    flushes = Flushes()
    for _ in range(50):
        flushes.observe(commands // 2, flush_s + commands // 2 * ROW_S)
    assert flushes.parts(commands) == parts
    one_by_one, two_at_once = flush_s + 2 * commands * ROW_S, 2 * flush_s + commands * ROW_S
    assert (two_at_once < one_by_one) == (parts == 2)


def test_a_disk_that_becomes_slow_is_noticed_and_forgiven() -> None:
    flushes = Flushes()
    for _ in range(10):
        flushes.observe(32, 0.01)
    assert flushes.parts(64) == 1
    flushes.observe(64, 0.0)
    assert flushes.parts(64) == 1, "one quick flush is no quick disk"
    for _ in range(20):
        flushes.observe(64, 0.001)
    assert flushes.parts(64) == 2
