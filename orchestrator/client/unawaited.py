"""Notices the coroutines that a workflow makes and never awaits, which its author took for calls.

Python tells of them when they are collected, through a hook of the `warnings` module; while a workflow steps
that hook is ours, so that what is told names the workflow. Where Python has no such hook, it warns itself.
The driver sets the hook by hand, since a context manager would cost it more than a step.
"""

from __future__ import annotations

import warnings
from collections.abc import Coroutine
from threading import get_ident
from typing import Any

import structlog

HOOK = "_warn_unawaited_coroutine"
pythons_own = getattr(warnings, HOOK, None)
"""What the hook is while no workflow steps."""
hooks: dict[str, Any] = {} if pythons_own is None else vars(warnings)
"""Where the hook stands, or something that nobody looks into."""
_log = structlog.get_logger(__name__)


class Unawaited:
    """Tells of what the steps of a workflow throw away, by the name of the workflow; they share a thread."""

    __slots__ = ("_thread", "_workflow")

    def __init__(self, workflow: str) -> None:
        self._workflow = workflow
        self._thread = get_ident()

    def tell(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Tell of one; what another thread throws away meanwhile is Python's to tell of."""
        if get_ident() != self._thread:
            if pythons_own is not None:
                pythons_own(coroutine)
            return
        name = getattr(coroutine, "__qualname__", repr(coroutine))
        _log.warning(
            "coroutine never awaited",
            workflow=self._workflow,
            function=name,
            advice=f"nothing of it was executed: call it with ctx.run({name.rpartition('.')[2]}, ...)",
        )
