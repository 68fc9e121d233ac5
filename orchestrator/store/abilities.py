"""What some stores can do beside driving programs, for those who ask them by `isinstance`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from orchestrator.domain.promise import PromiseRecord
from orchestrator.store.flushes import Flushes
from orchestrator.store.port import Insert, Program, Store

T = TypeVar("T")


@runtime_checkable
class AddingStore(Store, Protocol):
    """A store that can add many promises by one statement, beside its programs.

    Where a large batch holds nothing else, `flushes` tell how many additions should be under way at once.
    `apart` tells whether one is worth it in any other batch, before what is left of that is decided.
    """

    apart: bool
    flushes: Flushes

    def independent(self, inserts: Collection[Insert]) -> bool:
        """Tell whether parts of these may be under way at once without getting in each other's way."""
        ...

    async def add(self, inserts: Sequence[Insert], now_ms: int) -> list[PromiseRecord | None]:
        """Add each as `Insert` says; return, once that is durable, a record, or None where nothing was done.

        Raises StoreError where nobody knows what was done.
        """
        ...


@runtime_checkable
class PromptStore(Store, Protocol):
    """A store that can drive a program within the caller's turn of the loop where that takes no time."""

    def run_at_once(self, make_program: Callable[[int], Program[T]], now_ms: int) -> T | None:
        """Do what `run` does, or return None, having done nothing, if it might keep the loop waiting.

        For programs whose result is never None.
        """
        ...
