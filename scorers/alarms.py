"""Tells the log of steps that failed for good: their workflow parks, and tries again by itself.

A workflow may not log, since a replay would say everything again; an observer hears of each outcome once.
"""

from __future__ import annotations

import structlog

from orchestrator import PromiseState

_log = structlog.get_logger(__name__)


class StepAlarm:
    """Warns of every failed step; why it failed stands in the promise, and is not repeated here."""

    def on_step_started(self, promise_id: str, name: str, attempt: int) -> None:
        """Take note of a repeated attempt."""
        if attempt > 1:
            _log.info("step_tried_again", promise_id=promise_id, function=name, attempt=attempt)

    def on_step_finished(self, promise_id: str, name: str, state: PromiseState) -> None:
        """Warn of a step that has used up its attempts."""
        if state is not PromiseState.RESOLVED:
            _log.warning(
                "step_failed",
                promise_id=promise_id,
                function=name,
                state=str(state),
                see=f"dao-scorer promise get {promise_id}",
            )
