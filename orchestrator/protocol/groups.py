"""The operations on worker groups, and the list of dead letters; none is part of the published protocol.

The extensions `group-limits`, `task-priority` and `dead-letters` announce them. A group's id is what stands
in `poll://any@GROUP`; that of a task that is pushed is its URL. A group that nobody has set has no limits.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from orchestrator.domain.group import DeadLetter, Group
from orchestrator.protocol.operations import Answer, Command


class GroupRecord(Group, frozen=True):
    """A group as every reader sees it; what is acquired and what waits is counted of a limited one only."""

    acquired: int | None = None
    waiting: int | None = None


class GroupAnswer(Answer, frozen=True):
    """One group."""

    group: GroupRecord


class GroupPage(Answer, frozen=True):
    """A page of groups in order of id; `cursor` is absent on the last one."""

    groups: list[GroupRecord]
    cursor: str | None = None


class DeadPage(Answer, frozen=True):
    """A page of dead letters in order of id; `cursor` is absent on the last one."""

    tasks: list[DeadLetter]
    cursor: str | None = None


class GroupGet(Command[GroupAnswer], frozen=True):
    """Read a group's limits; one that nobody has set has none."""

    KIND = "group.get"
    id: str


class GroupSet(Command[GroupAnswer], frozen=True):
    """Set limits of a group; what is absent stays, null removes the limit.

    `concurrency`: tasks acquired at once. `rate`: acquisitions a `period` (milliseconds), both or neither.
    `attempts`: acquisitions of one task in a row without progress.
    """

    KIND = "group.set"
    id: str
    concurrency: int | UnsetType | None = UNSET
    rate: int | UnsetType | None = UNSET
    period: int | UnsetType | None = UNSET
    attempts: int | UnsetType | None = UNSET


class GroupPause(Command[GroupAnswer], frozen=True):
    """Announce and hand out no task of a group until it is resumed; those that run go on."""

    KIND = "group.pause"
    id: str


class GroupResume(Command[GroupAnswer], frozen=True):
    """Let a paused group go on."""

    KIND = "group.resume"
    id: str


class GroupSearch(Command[GroupPage], frozen=True):
    """List the groups of which anything is set; `limit` 1 to 1000, `cursor` from the page before."""

    KIND = "group.search"
    limit: int = 100
    cursor: str | None = None


class TaskDead(Command[DeadPage], frozen=True):
    """List the tasks that were halted because their attempts are spent; `task.continue` revives one."""

    KIND = "task.dead"
    group: str | None = None
    limit: int = 100
    cursor: str | None = None


GroupChange = GroupSet | GroupPause | GroupResume
GROUP_COMMANDS: tuple[type[Command[Any]], ...] = (
    GroupGet,
    GroupSet,
    GroupPause,
    GroupResume,
    GroupSearch,
    TaskDead,
)
