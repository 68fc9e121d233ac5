"""The shapes of functions that can be called durably, for type checkers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from orchestrator.client.info import Info

if TYPE_CHECKING:
    from orchestrator.client.context import Context

P = ParamSpec("P")
T = TypeVar("T")

AsyncWorkflow: TypeAlias = "Callable[Concatenate[Context, P], Awaitable[T]]"
GeneratorWorkflow: TypeAlias = "Callable[Concatenate[Context, P], Generator[Any, Any, T]]"
AsyncInformedLeaf: TypeAlias = Callable[Concatenate[Info, P], Awaitable[T]]
InformedLeaf: TypeAlias = Callable[Concatenate[Info, P], T]
AsyncLeaf: TypeAlias = Callable[P, Awaitable[T]]
Leaf: TypeAlias = Callable[P, T]
AnyFunction: TypeAlias = Callable[..., Any]
