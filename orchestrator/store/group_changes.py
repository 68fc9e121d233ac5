"""What a program wants written about groups, their queues and dead letters."""

from __future__ import annotations

import msgspec

from orchestrator.domain.group import DeadLetter, Group, Usage
from orchestrator.domain.queueing import Queued


class GroupChanges(msgspec.Struct, kw_only=True):
    """What a program wants written, as lists of rows. Applied in the order of the fields.

    Of a queue that is withdrawn nobody is told or overlooked any more, and no announcement is left, but for
    what the program puts. `groups` and `queues_removed` are written only by a program that has asked
    LoadGroupsToSet, places and usages only by one that has asked LoadUsages.
    """

    groups: list[Group] = []
    usages: dict[str, Usage] = {}
    queues_removed: list[str] = []
    queues_withdrawn: list[str] = []
    queued_removed: list[str] = []
    queued: list[Queued] = []
    dead_removed: list[str] = []
    dead: list[DeadLetter] = []
