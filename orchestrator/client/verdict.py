"""How an execution of a task ended, as its worker needs to know."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from orchestrator.protocol.records import PromiseRecord


class Ending(StrEnum):
    """`RELEASED` is to be given back by the worker, `LOST` belongs to somebody else already."""

    SETTLED = "settled"
    SUSPENDED = "suspended"
    RELEASED = "released"
    LOST = "lost"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The ending, with the settled record, or with the fault for which the task is not settled."""

    ending: Ending
    record: PromiseRecord | None = None
    fault: BaseException | None = None
