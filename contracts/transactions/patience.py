"""Steps that are tried until they succeed: a node that fails parks the work and never ends it.

A step's own retries come first, within its worker. When they are used up the failure stands in the record,
with its message, and a durable sleep follows: `tree` shows both, and no worker is held meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, TypeVar

from orchestrator import ApplicationError, Context, Exponential, PromiseCanceled

T = TypeVar("T")

PARK_S = 5.0
PARK_S_MAX = 300.0
STEP_RETRY = Exponential(delay_s=0.5, factor=2.0, delay_s_max=4.0, attempts_max=5)
"""The retries of a step that reads or writes a chain, before the workflow parks."""


async def patiently(ctx: Context, step: Callable[..., Awaitable[T]], *arguments: Any, **named: Any) -> T:
    """Return the result of a step, however often it fails; only a cancellation ends it."""
    for attempt in count():
        try:
            result: T = await ctx.run(step, *arguments, **named)
        except PromiseCanceled:
            raise
        except ApplicationError:
            await ctx.sleep(park_s(attempt))
        else:
            return result
    raise AssertionError("count() does not end")


def park_s(attempt: int) -> float:
    """Return the seconds to sleep after the `attempt`-th failure (from 0): doubling, up to five minutes."""
    return float(min(PARK_S * 2 ** min(attempt, 32), PARK_S_MAX))
