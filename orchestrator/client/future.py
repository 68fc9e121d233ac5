"""The durable future: what a workflow awaits, in a coroutine and in a generator alike.

A future never computes anything; the execution settles it with the outcome that the store holds (W2).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from orchestrator.client import outcomes
from orchestrator.domain.errors import ApplicationError
from orchestrator.domain.promise import PromiseRecord

if TYPE_CHECKING:
    from orchestrator.client.branch import Branch
    from orchestrator.client.calls import Call
    from orchestrator.client.execution import Execution

T = TypeVar("T")


class Returned(msgspec.Struct, frozen=True):
    """What an await gives."""

    value: Any


class Raised(msgspec.Struct, frozen=True):
    """What an await raises."""

    error: BaseException


Outcome = Returned | Raised


class Durable(Generic[T]):
    """What a workflow may await: `await x`, `yield from x` or `yield x`."""

    __slots__ = ()

    def pending(self) -> DurableFuture[Any] | None:
        """Return the first open future that this one waits for, None if there is none."""
        raise NotImplementedError

    def outcome(self) -> Outcome:
        """Return what the await gives or raises; only when nothing is pending."""
        raise NotImplementedError

    def parts(self) -> Iterator[DurableFuture[Any]]:
        """Yield the futures that this one stands for: those that end with it if it loses a race."""
        raise NotImplementedError

    def settled_at(self) -> int:
        """Return when the last of its parts settled, in Unix milliseconds by the store's clock."""
        return max((part.settled_at() for part in self.parts()), default=0)

    def when_settled(self, then: Callable[[], None]) -> None:
        """Call `then` once nothing is pending, which may be now."""
        future = self.pending()
        if future is None:
            then()
        else:
            future.watch(lambda: self.when_settled(then))

    def __await__(self) -> Generator[Any, Any, T]:
        """Let the driver wait."""
        value: T = yield self
        return value

    __iter__ = __await__


class DurableFuture(Durable[T]):
    """The outcome of one promise. `id` is the promise's, `remote` means that somebody else settles it.

    `call` is the call that it stands for, `owner` the execution; `bound` means that it ends with the workflow
    that made the call. `among` are the open futures among which it stands until it settles.
    """

    __slots__ = (
        "_branch",
        "_declared",
        "_outcome",
        "_watchers",
        "among",
        "bound",
        "call",
        "id",
        "owner",
        "record",
        "remote",
    )

    def __init__(self, promise_id: str, declared: object, owner: Execution | None) -> None:
        self.id = promise_id
        self.owner = owner
        self.remote = False
        self.call: Call | None = None
        self.bound = True
        self.record: PromiseRecord | None = None
        self.among: dict[str, DurableFuture[Any]] | None = None
        self._declared = declared
        self._outcome: Outcome | None = None
        # Mostly the branch that made the call is the only one to be woken.
        self._branch: Branch | None = None
        self._watchers: list[Callable[[], None]] | None = None

    def __repr__(self) -> str:
        state = self.record.state if self.record is not None else "pending"
        return f"<DurableFuture {self.id} {state}>"

    def settle(self, record: PromiseRecord, outcome: Outcome | None = None) -> None:
        """Take the settled record; a second one is ignored (P1). `outcome` is what it gives, if known."""
        if self.record is not None:
            return
        self.record, self._outcome = record, outcome
        if self.among is not None:
            self.among.pop(self.id, None)
        branch, watchers = self._branch, self._watchers
        if branch is not None and self.owner is not None:
            self._branch = None
            self.owner.wake(branch)
        if watchers is not None:
            self._watchers = None
            for watcher in watchers:
                watcher()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` once when this future settles; it must be open."""
        if self._watchers is None:
            self._watchers = []
        self._watchers.append(watcher)

    def wake(self, branch: Branch) -> None:
        """Have the owner look at a branch when this future settles; it must be open."""
        if self._branch is None and self._watchers is None:
            self._branch = branch
        elif self.owner is not None:
            self.watch(partial(self.owner.wake, branch))

    def pending(self) -> DurableFuture[Any] | None:
        """Return itself while open."""
        return self if self.record is None else None

    def sources(self) -> Iterator[DurableFuture[Any]]:
        """Yield the open futures of which any one may settle this open one."""
        yield self

    def parts(self) -> Iterator[DurableFuture[Any]]:
        """Yield itself."""
        yield self

    def settled_at(self) -> int:
        """Return when its promise settled."""
        return self.record.settled_at or 0 if self.record is not None else 0

    def may_settle(self, record: PromiseRecord) -> bool:
        """Tell whether a record that was found is all that an await needs."""
        return True

    def outcome(self) -> Outcome:
        """Decode the record, once."""
        if self.record is None:
            raise RuntimeError(f"{self.id} is still open")
        if self._outcome is None:
            try:
                self._outcome = Returned(outcomes.result_of(self.record, self._declared))
            except ApplicationError as error:
                self._outcome = Raised(error)
        return self._outcome


class Gathered(Durable[Any]):
    """Several at once: all are waited for, then come their results, or the first failure, in order.

    With `errors_too` a failure stands among the results.
    """

    __slots__ = ("_errors_too", "_members", "_settled")

    def __init__(self, members: tuple[Durable[Any], ...], *, errors_too: bool = False) -> None:
        self._members = members
        self._errors_too = errors_too
        self._settled = 0

    def pending(self) -> DurableFuture[Any] | None:
        """Return the first open one: all must settle, so it is enough to wait for one after the other."""
        while self._settled < len(self._members):
            future = self._members[self._settled].pending()
            if future is not None:
                return future
            # What has settled stays so: a fan-out is walked once, however often it is woken.
            self._settled += 1
        return None

    def parts(self) -> Iterator[DurableFuture[Any]]:
        """Yield the parts of all members."""
        for member in self._members:
            yield from member.parts()

    def outcome(self) -> Outcome:
        """Return all results, or the first error in order of the arguments."""
        values: list[Any] = []
        for member in self._members:
            match member.outcome():
                case Returned(value):
                    values.append(value)
                case Raised(error) as raised:
                    if not self._errors_too:
                        return raised
                    values.append(error)
        return Returned(values)


class Shielded(Durable[T]):
    """A future that goes on when what stands around it loses a race or runs out of time."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Durable[T]) -> None:
        self._inner = inner

    def pending(self) -> DurableFuture[Any] | None:
        """Return what the shielded one waits for."""
        return self._inner.pending()

    def outcome(self) -> Outcome:
        """Return the outcome of the shielded one."""
        return self._inner.outcome()

    def parts(self) -> Iterator[DurableFuture[Any]]:
        """Yield nothing: whoever loses has no say over it."""
        return iter(())

    def settled_at(self) -> int:
        """Return when the shielded one settled."""
        return self._inner.settled_at()
