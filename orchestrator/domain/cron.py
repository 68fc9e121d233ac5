"""Cron lines: when a schedule falls due, by the wall clock of a time zone.

A line has five fields (minute, hour, day of month, month, day of week), six with seconds before them, or
seven with years behind them. cronsim reads and evaluates the first six, as Debian's cron does; years, `?` and
the time zone's jumps are added here.

Where the clock jumps: a line that names its minutes and its hours (neither begins with `*`) fires once for
each time of day that it names: at the end of the gap if that time does not exist, at the first of both if it
comes twice. Any other line goes by elapsed time: what does not exist is left out, and what comes
twice fires twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

YEARS = range(1970, 2100)
"""The years that a line may name, and in which it may fire."""
LINE_LENGTH_MAX = 256
ZONE_LENGTH_MAX = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_DAY_FIELDS = (3, 5)


class InvalidCron(ValueError):
    """A cron line or a time zone that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A cron line that has been read, by `parse_cron`.

    `fields` are the six that cronsim knows; `years` is None for every year; `by_time_of_day` tells that the
    line names times of the day rather than intervals.
    """

    fields: str
    years: frozenset[int] | None
    zone: tzinfo
    by_time_of_day: bool

    def next_ms(self, after_ms: int) -> int | None:
        """Return the first moment after `after_ms` (both Unix milliseconds), None if there is none."""
        return next(self.moments_ms(after_ms), None)

    def last_ms(self, after_ms: int, until_ms: int) -> int | None:
        """Return the last moment in (after_ms, until_ms], None if there is none.

        It is closed in on by halves: a line of every second has too many moments to walk over.
        """
        found = self.next_ms(after_ms)
        if found is None or found > until_ms:
            return None
        while (following := self.next_ms(found)) is not None and following <= until_ms:
            middle_ms = (following + until_ms) // 2
            found = following
            behind = self.next_ms(middle_ms)
            if behind is not None and behind <= until_ms:
                found = behind
            else:
                until_ms = middle_ms
        return found

    def moments_ms(self, after_ms: int) -> Iterator[int]:
        """Return the moments after `after_ms` (Unix milliseconds), in order."""
        seconds = after_ms // 1000
        if seconds >= (datetime(YEARS.stop, 1, 2, tzinfo=UTC) - _EPOCH).total_seconds():
            return
        last = _EPOCH + timedelta(seconds=max(seconds, -1))
        for moment in self._chosen(last):
            if moment > last:  # else a time of day that came before its repetition, or was jumped over
                last = moment
                yield round((moment - _EPOCH).total_seconds()) * 1000

    def _chosen(self, after: datetime) -> Iterator[datetime]:
        """Return the moments in the years that the line names."""
        start: datetime | None = after
        while start is not None:
            found = self._from(start)
            start = None
            for moment in found:
                year = moment.astimezone(self.zone).year
                if year not in YEARS:
                    return
                if self.years is not None and year not in self.years:
                    start = self._year_after(year)
                    break
                yield moment

    def _year_after(self, year: int) -> datetime | None:
        later = [each for each in self.years or () if each > year]
        return datetime(min(later), 1, 1, tzinfo=self.zone) - _SECOND if later else None

    def _from(self, after: datetime) -> Iterator[datetime]:
        local = after.astimezone(self.zone)
        if not self.by_time_of_day:
            return (moment.astimezone(UTC) for moment in CronSim(self.fields, local))
        naive = CronSim(self.fields, local.replace(tzinfo=None))
        return (_instant(moment, self.zone) for moment in naive)


def _instant(wall: datetime, zone: tzinfo) -> datetime:
    """Return when clocks of the zone show a time first, or else when they have jumped over it."""
    while True:
        moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if moment.astimezone(zone).replace(tzinfo=None) == wall:
            return moment
        wall = wall.replace(second=0) + _MINUTE


@lru_cache(maxsize=1024)
def parse_cron(line: str, zone_name: str) -> Cron:
    """Read a cron line for an IANA time zone. Raises InvalidCron."""
    if len(line) > LINE_LENGTH_MAX:
        raise InvalidCron(f"a cron line has at most {LINE_LENGTH_MAX} characters")
    fields = line.split()
    if not 5 <= len(fields) <= 7:
        raise InvalidCron(
            f"cron line {line!r} has {len(fields)} fields: write 5 (minute to day of week), "
            "6 (seconds before them) or 7 (years behind them)"
        )
    zone = _zone(zone_name)
    years = _years(fields.pop(), line) if len(fields) == 7 else None
    six = fields if len(fields) == 6 else ["0", *fields]
    for place in _DAY_FIELDS:
        six[place] = "*" if six[place] == "?" else six[place]
    by_time_of_day = zone is not UTC and not six[1].startswith("*") and not six[2].startswith("*")
    text = " ".join(six)
    try:
        CronSim(text, datetime(2000, 1, 1))  # only read
    except CronSimError as error:
        raise InvalidCron(f"cron line {line!r}: {error}") from error
    return Cron(fields=text, years=years, zone=zone, by_time_of_day=by_time_of_day)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    fault = f"unknown time zone {name[:ZONE_LENGTH_MAX]!r}: use an IANA name such as Europe/Vienna"
    if not name or len(name) > ZONE_LENGTH_MAX:
        raise InvalidCron(fault)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidCron(fault) from error


def _years(field: str, line: str) -> frozenset[int] | None:
    if field in ("*", "?"):
        return None
    try:
        return frozenset(year for term in field.split(",") for year in _years_of(term))
    except ValueError as error:
        raise InvalidCron(
            f"cron line {line!r}: bad year (2030, 2030-2035, 2030/2 or *, from {YEARS[0]} to {YEARS[-1]})"
        ) from error


def _years_of(term: str) -> range:
    span, stepped, step = term.partition("/")
    first, ranged, last = span.partition("-")
    start = YEARS[0] if first == "*" else _year(first)
    end = _year(last) if ranged else YEARS[-1] if stepped or first == "*" else start
    if end < start or (ranged and first == "*"):
        raise ValueError(term)
    return range(start, end + 1, _number(step) if stepped else 1)


def _year(text: str) -> int:
    year = _number(text)
    if year not in YEARS:
        raise ValueError(text)
    return year


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 4) or int(text) == 0:
        raise ValueError(text)
    return int(text)
