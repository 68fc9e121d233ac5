"""Combinators: several durable futures as one.

`race`, `any`, `as_completed` and `timeout` record what they decide as a child of their own. What loses is
cancelled before they return, unless it is shielded, detached, or outside of the workflow's tree.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from orchestrator.client import calls, choices
from orchestrator.client.choices import Arrivals, Choice
from orchestrator.client.deciding import decide
from orchestrator.client.driver import ADVICE, ForeignAwait
from orchestrator.client.future import Durable, DurableFuture, Gathered, Outcome, Returned, Shielded
from orchestrator.domain.errors import ApplicationError

if TYPE_CHECKING:
    from orchestrator.client.branch import Branch
    from orchestrator.client.execution import Execution

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")


class Completions(Generic[T]):
    """The members of `as_completed`, each once, in the recorded order of their settlement.

    `async for future in …` gives the members themselves, settled. `for future in …` gives as many futures
    as there are members, to be awaited or yielded one after the other for the next result.
    """

    __slots__ = ("_arrivals", "_before", "_branch", "_execution", "_left")

    def __init__(self, execution: Execution, branch: Branch, members: tuple[Durable[T], ...]) -> None:
        self._execution = execution
        self._branch = branch
        self._arrivals = Arrivals(members)
        self._before: DurableFuture[Any] | None = None
        self._left = len(members)

    def __len__(self) -> int:
        """Return how many are still to come."""
        return self._left

    def __iter__(self) -> Iterator[DurableFuture[T]]:
        """Iterate in a generator, or where only results count."""
        return self

    def __next__(self) -> DurableFuture[T]:
        """Return the future of the next result."""
        return self._next(StopIteration)

    def __aiter__(self) -> AsyncIterator[Durable[T]]:
        """Iterate in a coroutine."""
        return self

    async def __anext__(self) -> Durable[T]:
        """Wait for the next member to settle and return it."""
        return await _Member(self._next(StopAsyncIteration))

    def _next(self, end: type[Exception]) -> Choice[T]:
        if not self._left:
            raise end
        self._left -= 1
        self._before = chosen = _choose(
            self._execution, self._branch, choices.COMPLETED, self._arrivals, self._before
        )
        return chosen


class _Member(Durable[Durable[T]]):
    """Waits for a choice and gives the chosen member, whether it failed or not."""

    __slots__ = ("_choice",)

    def __init__(self, choice: Choice[T]) -> None:
        self._choice = choice

    def pending(self) -> DurableFuture[Any] | None:
        return self._choice.pending()

    def outcome(self) -> Outcome:
        return Returned(self._choice.member())

    def parts(self) -> Iterator[DurableFuture[Any]]:
        return self._choice.parts()


class Combinators:
    """What a Context can do with the futures of its calls."""

    __slots__ = ()
    if TYPE_CHECKING:
        _execution: Execution
        _branch: Branch

    @overload
    def gather(  # type: ignore[overload-overlap] # futures of one type give a list, others a tuple
        self, *futures: Durable[T], return_exceptions: Literal[False] = False
    ) -> Durable[list[T]]: ...
    @overload
    def gather(
        self, *futures: Durable[T], return_exceptions: Literal[True]
    ) -> Durable[list[T | ApplicationError]]: ...
    @overload
    def gather(
        self, first: Durable[T1], second: Durable[T2], /, *, return_exceptions: Literal[False] = False
    ) -> Durable[tuple[T1, T2]]: ...
    @overload
    def gather(
        self,
        first: Durable[T1],
        second: Durable[T2],
        third: Durable[T3],
        /,
        *,
        return_exceptions: Literal[False] = False,
    ) -> Durable[tuple[T1, T2, T3]]: ...
    @overload
    def gather(
        self,
        first: Durable[T1],
        second: Durable[T2],
        third: Durable[T3],
        fourth: Durable[T4],
        /,
        *,
        return_exceptions: Literal[False] = False,
    ) -> Durable[tuple[T1, T2, T3, T4]]: ...
    @overload
    def gather(self, *futures: Durable[Any], return_exceptions: bool = False) -> Durable[list[Any]]: ...
    def gather(self, *futures: Durable[Any], return_exceptions: bool = False) -> Durable[Any]:
        """Return the list of all results in order. All are waited for; then the first failure is raised.

        With `return_exceptions` failures stand in the list instead, as ApplicationErrors. As with asyncio,
        two to four futures of different types are typed as a tuple, for unpacking.
        """
        self._check("ctx.gather", futures)
        return Gathered(futures, errors_too=return_exceptions)

    @overload
    def race(self, *futures: Durable[T]) -> DurableFuture[T]: ...
    @overload
    def race(self, first: Durable[T1], second: Durable[T2], /) -> DurableFuture[T1 | T2]: ...
    @overload
    def race(
        self, first: Durable[T1], second: Durable[T2], third: Durable[T3], /
    ) -> DurableFuture[T1 | T2 | T3]: ...
    @overload
    def race(self, *futures: Durable[Any]) -> DurableFuture[Any]: ...
    def race(self, *futures: Durable[Any]) -> DurableFuture[Any]:
        """Return the outcome of the first future that settles, be it a result or a failure.

        The others are cancelled. Raises ValueError without futures.
        """
        return self._choose(choices.RACE, futures)

    @overload
    def any(self, *futures: Durable[T]) -> DurableFuture[T]: ...
    @overload
    def any(self, first: Durable[T1], second: Durable[T2], /) -> DurableFuture[T1 | T2]: ...
    @overload
    def any(
        self, first: Durable[T1], second: Durable[T2], third: Durable[T3], /
    ) -> DurableFuture[T1 | T2 | T3]: ...
    @overload
    def any(self, *futures: Durable[Any]) -> DurableFuture[Any]: ...
    def any(self, *futures: Durable[Any]) -> DurableFuture[Any]:
        """Return the first result; failures are passed over while another may succeed.

        The others are cancelled. Awaiting raises AllFailed with all failures if there is no result. Raises
        ValueError without futures.
        """
        return self._choose(choices.ANY, futures)

    def as_completed(self, *futures: Durable[T]) -> Completions[T]:
        """Iterate over futures in the order in which they settle.

        Whoever leaves the loop early leaves the rest running: the workflow waits for them before it settles.
        """
        self._check(choices.COMPLETED, futures)
        return Completions(self._execution, self._branch, futures)

    def shield(self, future: Durable[T]) -> Durable[T]:
        """Return a future that is not cancelled when it loses a race or runs out of time."""
        self._check("ctx.shield", (future,))
        return Shielded(future)

    def _choose(self, rule: str, futures: tuple[Durable[Any], ...]) -> Choice[Any]:
        if not futures:
            raise ValueError(f"{rule} needs at least one future")
        self._check(rule, futures)
        return _choose(self._execution, self._branch, rule, Arrivals(futures), None)

    def _check(self, rule: str, futures: tuple[Any, ...]) -> None:
        for one in futures:
            if not isinstance(one, Durable):
                _close(one)
                raise ForeignAwait(
                    f"{rule} takes futures of this workflow's calls, not a {type(one).__qualname__}: {ADVICE}"
                )
            if any(part.owner is not self._execution for part in one.parts()):
                raise ForeignAwait(f"{rule} takes futures of this execution only: {ADVICE}")


def _choose(
    execution: Execution, branch: Branch, rule: str, arrivals: Arrivals, before: DurableFuture[Any] | None
) -> Choice[Any]:
    call = calls.own_step(branch.caller, branch.next_number(), rule)
    choice: Choice[Any] = Choice(call.id, execution, rule, arrivals, before)
    begun = execution.begin(branch, call, partial(decide, choice), future=choice)
    if begun is not choice:
        raise TypeError(f"{call.id} was made twice")
    return choice


def _close(awaitable: object) -> None:
    """Let a refused coroutine not warn that it was never awaited: the refusal says more."""
    if isinstance(awaitable, Coroutine):
        awaitable.close()
