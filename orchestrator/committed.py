"""An application whose functions commit to their inputs and outputs unless one says that it does not."""

from __future__ import annotations

from typing import ClassVar, Self, Unpack

from orchestrator.client.clock import Clock
from orchestrator.client.invoking import Invoker
from orchestrator.runtime import ApplicationSettings, Opening, Orchestrator


class CommittedOrchestrator(Orchestrator):
    """`app` once more, with `commit=True` where a registration does not say otherwise.

    It is the same application under another name: functions, dependencies, observers and lifetime are those
    of `app`, so either may be started and asked. What `app` itself registers commits only where it says so.
    `CommittedOrchestrator.local(...)`, `remote` and `at` make one without naming the other.
    """

    commits: ClassVar[bool] = True

    def __init__(self, app: Orchestrator) -> None:
        Invoker.__init__(self, app)
        # Whatever either of them becomes, connected or stopped, the other one is, too.
        self.__dict__ = app.__dict__

    @classmethod
    def _opened(
        cls, opening: Opening, *, clock: Clock | None = None, **settings: Unpack[ApplicationSettings]
    ) -> Self:
        return cls(Orchestrator(opening=opening, clock=clock, **settings))
