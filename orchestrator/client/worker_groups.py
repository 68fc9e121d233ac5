"""Groups of workers: what an operator may set about them, by program."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from orchestrator.client.schedules import NotOffered
from orchestrator.client.surroundings import Surroundings
from orchestrator.protocol import groups as g
from orchestrator.protocol.commands import EXTENSION_GROUP_LIMITS

Limit = int | UnsetType | None
"""A whole number from 1 on; None removes the limit, UNSET leaves it as it is."""


class WorkerGroups:
    """The limits of groups, by the name that stands in `poll://any@NAME`; of a push it is its URL.

    Every method raises NotOffered where the engine knows no limits, Refused (400 for a limit that is none)
    and Unavailable.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    async def get(self, name: str) -> g.GroupRecord:
        """Return what is set about a group, with what is acquired and waits; one never set has no limits."""
        return await self._call(g.GroupGet(id=name))

    async def set(
        self,
        name: str,
        *,
        concurrency: Limit = UNSET,
        rate: Limit = UNSET,
        period_ms: Limit = UNSET,
        attempts: Limit = UNSET,
    ) -> g.GroupRecord:
        """Set limits of a group and return it; what is not named stays, None removes.

        `concurrency`: tasks acquired at once. `rate`: acquisitions in `period_ms` milliseconds, both or
        neither. `attempts`: acquisitions of one task in a row without progress.
        """
        command = g.GroupSet(id=name, concurrency=concurrency, rate=rate, period=period_ms, attempts=attempts)
        return await self._call(command)

    async def pause(self, name: str) -> g.GroupRecord:
        """Announce and hand out no task of a group until it is resumed; those that run go on."""
        return await self._call(g.GroupPause(id=name))

    async def resume(self, name: str) -> g.GroupRecord:
        """Let a paused group go on."""
        return await self._call(g.GroupResume(id=name))

    async def list(self, *, limit: int = 100, cursor: str | None = None) -> g.GroupPage:
        """Return a page of the groups of which anything is set, by name: up to `limit` (1 to 1000)."""
        self._need_limits()
        return await self._around.transport.call(g.GroupSearch(limit=limit, cursor=cursor))

    async def _call(self, command: g.GroupGet | g.GroupChange) -> g.GroupRecord:
        self._need_limits()
        return (await self._around.transport.call(command)).group

    def _need_limits(self) -> None:
        if EXTENSION_GROUP_LIMITS not in self._around.extensions:
            raise NotOffered("this engine limits no groups: use one that announces 'group-limits'")
