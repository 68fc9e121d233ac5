"""What the doctor's questions are put to, and what comes of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from contracts.rpc import Node
from scorers.errors import ScorerError
from scorers.settings import Settings


class State(StrEnum):
    """What came of a question."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A question's name, what came of it, and what was seen or what to do."""

    name: str
    state: State
    detail: str


class Fault(ScorerError):
    """What was asked does not hold; the message says what to do."""


class Skipped(Exception):
    """The question does not arise here; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the questions are put to. `submissions` is how many the balance has to last for."""

    settings: Settings
    node: Node
    submissions: int


Question = Callable[[Surroundings], Awaitable[str]]


def configured(around: Surroundings, name: str, needed_by: str) -> str:
    """Return a setting. Raises Skipped where it is not configured."""
    value: str | None = getattr(around.settings, name)
    if value is None:
        raise Skipped(f"not configured: {needed_by} need --{name}")
    return value
