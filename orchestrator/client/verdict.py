"""How an execution of a task ended, as its worker needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.protocol.records import PromiseRecord


class Ending(StrEnum):
    """`RELEASED` is to be given back by the worker, `LOST` belongs to somebody else already."""

    SETTLED = "settled"
    SUSPENDED = "suspended"
    RELEASED = "released"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The ending, with the settled record, or with the fault for which the task is not settled."""

    ending: Ending
    record: PromiseRecord | None = None
    fault: BaseException | None = None
