"""Notices the coroutines that a workflow makes and never awaits, which its author took for calls.

Python tells of them when they are collected, through a hook of the `warnings` module; while a workflow steps
that hook is ours, so that what is told names the workflow. Where Python has no such hook, it warns itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Coroutine
from threading import get_ident
from types import TracebackType
from typing import Any

import structlog

_HOOK = "_warn_unawaited_coroutine"
_pythons_own = getattr(warnings, _HOOK, None)
_log = structlog.get_logger(__name__)


class Unawaited:
    """Around one step of a workflow: what is thrown away within is told of, by the name of the workflow."""

    __slots__ = ("_thread", "_workflow")

    def __init__(self, workflow: str) -> None:
        self._workflow = workflow
        self._thread = 0

    def __enter__(self) -> None:
        """Listen."""
        self._thread = get_ident()
        if _pythons_own is not None:
            setattr(warnings, _HOOK, self._tell)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it to Python again."""
        if _pythons_own is not None:
            setattr(warnings, _HOOK, _pythons_own)

    def _tell(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        if get_ident() != self._thread:
            if _pythons_own is not None:
                _pythons_own(coroutine)
            return
        name = getattr(coroutine, "__qualname__", repr(coroutine))
        _log.warning(
            "coroutine never awaited",
            workflow=self._workflow,
            function=name,
            advice=f"nothing of it was executed: call it with ctx.run({name.rpartition('.')[2]}, ...)",
        )
