"""A measured figure beside its peer and its target, and the table of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured. `postgres` is the URL of a database to use instead of a server of our own."""

    quick: bool
    rounds: int | None = None
    postgres: str | None = None

    def pick_rounds(self) -> int:
        """Return how many rounds are run."""
        return self.rounds or (3 if self.quick else 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure. `judged` is what the target speaks of: the ratio to the peer, or the figure itself.

    `at_least` or `at_most` is the target; neither where there is none.
    """

    part: str
    shape: str
    figure: float
    unit: str
    peer: str = ""
    ratio: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def judged(self) -> float:
        """Return what the target speaks of."""
        return self.figure if self.ratio is None else self.ratio

    @property
    def holds(self) -> bool | None:
        """Tell whether the target is reached; None where there is none."""
        if self.at_least is not None:
            return self.judged >= self.at_least
        return None if self.at_most is None else self.judged <= self.at_most


def against(
    part: str,
    shape: str,
    peer: str,
    pairs: Sequence[tuple[float, float]],
    *,
    at_least: float | None = None,
    unit: str = "/s",
) -> Line:
    """Return the medians of rounds, each the subject's rate and that of its peer beside it."""
    return Line(
        part=part,
        shape=shape,
        figure=median(rate for rate, _ in pairs),
        unit=unit,
        peer=peer,
        ratio=median(rate / beside for rate, beside in pairs),
        at_least=at_least,
    )


def table(lines: Sequence[Line]) -> str:
    """Return all figures as text, one a line."""
    rows: list[tuple[str, ...]] = [("part", "shape", "figure", "ratio to", "target", "")]
    rows += [_row(line) for line in lines]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(line: Line) -> tuple[str, ...]:
    digits = 0 if line.figure >= 100 else 2
    ratio = "" if line.ratio is None else f"{line.ratio:.2f} x {line.peer}"
    target = "" if line.at_least is None else f">= {line.at_least:g}"
    target = target if line.at_most is None else f"<= {line.at_most:g}"
    verdict = {True: "holds", False: "MISSED", None: ""}[line.holds]
    return line.part, line.shape, f"{line.figure:,.{digits}f} {line.unit}", ratio, target, verdict
