"""Cron lines against the wall clock, where it jumps too."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from orchestrator.domain.cron import InvalidCron, parse_cron
from orchestrator.domain.schedule import promise_id_of

VIENNA = "Europe/Vienna"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def moments(line: str, zone: str, after: str, count: int) -> list[str]:
    cron, moment, found = parse_cron(line, zone), ms(after), []
    for _ in range(count):
        following = cron.next_ms(moment)
        if following is None:
            break
        moment = following
        found.append(datetime.fromtimestamp(moment / 1000, ZoneInfo(zone)).isoformat())
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("30 6 * * *", ["2026-01-01T06:30:00", "2026-01-02T06:30:00"]),
        ("15 30 6 * * *", ["2026-01-01T06:30:15", "2026-01-02T06:30:15"]),
        ("*/20 * * * * *", ["2026-01-01T00:00:20", "2026-01-01T00:00:40"]),
        ("0 0 0 1 1 ? 2028", ["2028-01-01T00:00:00"]),
        ("0 0 0 1 1 * 2027/2", ["2027-01-01T00:00:00", "2029-01-01T00:00:00"]),
        ("0 0 0 29 2 ? 2027-2033", ["2028-02-29T00:00:00", "2032-02-29T00:00:00"]),
        ("0 9 * * MON-FRI", ["2026-01-01T09:00:00", "2026-01-02T09:00:00", "2026-01-05T09:00:00"]),
        ("0 0 L * *", ["2026-01-31T00:00:00", "2026-02-28T00:00:00"]),
        ("0 0 13 * FRI", ["2026-01-02T00:00:00", "2026-01-09T00:00:00", "2026-01-13T00:00:00"]),
        ("0 0 * * 7", ["2026-01-04T00:00:00"]),
    ],
)
def test_lines_of_five_six_and_seven_fields(line: str, expected: list[str]) -> None:
    found = moments(line, "UTC", "2026-01-01T00:00:00+00:00", len(expected))
    assert found == [f"{each}+00:00" for each in expected]


@pytest.mark.parametrize("line", ["30 2 * * *", "0 30 2 * * *", "0 30 2 * * * *"])
def test_a_time_of_day_fires_once_on_the_days_on_which_clocks_jump(line: str) -> None:
    assert moments(line, VIENNA, "2026-03-28T00:00:00+00:00", 3) == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",  # 02:30 does not exist
        "2026-03-30T02:30:00+02:00",
    ]
    assert moments(line, VIENNA, "2026-10-24T22:00:00+00:00", 2) == [
        "2026-10-25T02:30:00+02:00",  # the first of two
        "2026-10-26T02:30:00+01:00",
    ]
    assert moments(line, VIENNA, "2026-10-25T01:10:00+00:00", 1) == ["2026-10-26T02:30:00+01:00"]


def test_an_interval_goes_by_elapsed_time_where_clocks_jump() -> None:
    assert moments("*/30 * * * *", VIENNA, "2026-10-25T00:15:00+00:00", 4) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T02:30:00+01:00",
        "2026-10-25T03:00:00+01:00",
    ]
    assert moments("*/30 * * * *", VIENNA, "2026-03-29T00:15:00+00:00", 3) == [
        "2026-03-29T01:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-29T03:30:00+02:00",
    ]


def test_two_times_of_day_in_one_gap_fire_together_once() -> None:
    assert moments("0,30 2 * * *", VIENNA, "2026-03-28T12:00:00+00:00", 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:00:00+02:00",
    ]


def test_a_midnight_that_does_not_exist_and_a_day_that_does_not() -> None:
    assert moments("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00+00:00", 2) == [
        "2018-11-04T01:00:00-02:00",
        "2018-11-05T00:00:00-02:00",
    ]
    assert moments("0 9 * * *", "Pacific/Apia", "2011-12-29T12:00:00-10:00", 2) == [
        "2011-12-31T00:00:00+14:00",  # there was no 30 December
        "2011-12-31T09:00:00+14:00",
    ]


@pytest.mark.parametrize(
    ("line", "zone", "complaint"),
    [
        ("", "UTC", "0 fields"),
        ("* * * *", "UTC", "4 fields"),
        ("* * * * * * * *", "UTC", "8 fields"),
        ("60 * * * *", "UTC", "Bad minute"),
        ("* * 31 2 *", "UTC", "Bad day-of-month"),
        ("*/0 * * * *", "UTC", "Bad minute"),
        ("@daily", "UTC", "1 fields"),
        ("0 0 0 1 1 ? 1969", "UTC", "bad year"),
        ("0 0 0 1 1 ? 2030-2029", "UTC", "bad year"),
        ("0 0 0 1 1 ? 2030/0", "UTC", "bad year"),
        ("0 0 0 1 1 ? soon", "UTC", "bad year"),
        ("0 0 0 1 1 ? ٢٠٣٠", "UTC", "bad year"),
        ("*" * 300, "UTC", "at most 256"),
        ("* * * * *", "Mars/Olympus", "unknown time zone"),
        ("* * * * *", "", "unknown time zone"),
        ("* * * * *", "../../etc/passwd", "unknown time zone"),
        ("* * * * *", "Europe", "unknown time zone"),
        ("* * * * *", "x" * 5000, "unknown time zone"),
        ("* * * * *", "\x00", "unknown time zone"),
    ],
)
def test_what_cannot_be_read_is_told(line: str, zone: str, complaint: str) -> None:
    with pytest.raises(InvalidCron, match=complaint) as caught:
        parse_cron(line, zone)
    assert len(str(caught.value)) < 400


def test_years_that_are_over_and_moments_beyond_the_calendar() -> None:
    assert parse_cron("0 0 0 1 1 ? 2000-2020", "UTC").next_ms(ms("2026-01-01T00:00:00+00:00")) is None
    assert parse_cron("* * * * *", VIENNA).next_ms(2**60) is None
    assert parse_cron("* * * * *", VIENNA).next_ms(0) == 60_000
    assert parse_cron("0 0 1 1 *", "UTC").next_ms(ms("2099-06-01T00:00:00+00:00")) is None


def test_the_last_moment_of_a_span_is_the_one_that_walking_finds() -> None:
    seed = random.randrange(2**32)  # noqa: S311
    print("seed", seed)  # noqa: T201
    chance = random.Random(seed)  # noqa: S311
    lines = ["*/7 * * * *", "30 2 * * *", "0,30 1-3 * * *", "5 * * * * *", "0 3 * * SUN", "1 2 3 4 *"]
    for _ in range(150):
        cron = parse_cron(chance.choice(lines), chance.choice(["UTC", VIENNA, "Australia/Lord_Howe"]))
        start = int(datetime(2026, chance.choice([3, 10]), 24, tzinfo=UTC).timestamp() * 1000)
        after = start + chance.randrange(5 * 86_400_000)
        until = after + chance.randrange(2 * 86_400_000)
        walked = list(_walk(cron, after, until))
        assert all(earlier < later for earlier, later in pairwise(walked)), seed
        assert cron.last_ms(after, until) == (walked[-1] if walked else None), (seed, cron, after, until)
        assert [*_again(cron, after, until)] == walked, seed


def _walk(cron, after, until):  # type: ignore[no-untyped-def]
    for moment in cron.moments_ms(after):
        if moment > until:
            return
        yield moment


def _again(cron, after, until):  # type: ignore[no-untyped-def]
    """Ask for each moment anew: a restart between two must not change what follows."""
    moment = cron.next_ms(after)
    while moment is not None and moment <= until:
        yield moment
        moment = cron.next_ms(moment)


def test_a_line_of_every_second_closes_in_on_its_last_moment_at_once() -> None:
    now = ms("2026-06-01T12:34:56.789+00:00")
    assert parse_cron("* * * * * *", "UTC").last_ms(0, now) == now - 789
    started = datetime.now(UTC)
    assert parse_cron("* * 3 * * *", VIENNA).last_ms(0, now) == ms("2026-06-01T03:59:59+02:00")
    assert datetime.now(UTC) - started < timedelta(seconds=2)


def test_templates() -> None:
    assert promise_id_of("{{.id}}-{{.timestamp}}", "s", 5) == "s-5"
    assert promise_id_of("x.{{.timestamp}}.{{.id}}.{{.other}}", "s", 5) == "x.5.s.{{.other}}"
    assert promise_id_of("{{.id}}", "{{.timestamp}}", 5) == "{{.timestamp}}"
