"""A clock that differs from the server's is told, now and then, and disturbs nothing else."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from structlog.testing import capture_logs

from orchestrator.transport.skew import AGAIN_S, ClockWatch


@pytest.mark.parametrize(("server_s", "told"), [(1_000, None), (1_004, None), (940, 60), (2_000, -1_000)])
def test_only_a_real_difference_is_told(server_s: int, told: int | None) -> None:
    with capture_logs() as logs:
        ClockWatch("http://server", now_s=lambda: 1_000.0).look(formatdate(server_s, usegmt=True))
    assert [entry.get("ahead_s") for entry in logs] == ([] if told is None else [told])


def test_it_looks_again_after_a_while_and_when_the_clock_was_set_back() -> None:
    now = [1_000.0]
    watch = ClockWatch("http://server", now_s=lambda: now[0])
    with capture_logs() as logs:
        for now_s in (1_000, 1_001, 1_000 + AGAIN_S + 2, 10):
            now[0] = now_s
            watch.look(formatdate(500_000, usegmt=True))
    assert len(logs) == 3


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Foo 2026 99:99:99 GMT"])
def test_what_is_no_date_is_nothing(date: str | None) -> None:
    with capture_logs() as logs:
        ClockWatch("http://server", now_s=lambda: 1_000.0).look(date)
    assert logs == []
