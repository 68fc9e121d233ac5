"""The tables of the memory store: dictionaries with an undo log, and the indexes that its queries need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

from orchestrator.domain.ending import TreeEnding
from orchestrator.domain.group import DeadLetter, Group, Usage
from orchestrator.domain.promise import PromiseRecord
from orchestrator.domain.queueing import Queued
from orchestrator.domain.schedule import Schedule
from orchestrator.domain.task import Task
from orchestrator.store import port

K = TypeVar("K")
V = TypeVar("V")


class Tables:
    """Rows by key; every change can be undone until the next program begins."""

    def __init__(self) -> None:
        self.undo: list[Callable[[], object]] = []
        self.ids: list[str] = []
        self.promises: dict[str, PromiseRecord] = {}
        self.tasks: dict[str, Task] = {}
        self.callbacks: dict[tuple[str, str], None] = {}
        self.listeners: dict[tuple[str, str], None] = {}
        self.executes: dict[str, port.QueuedExecute] = {}
        self.unblocks: dict[tuple[str, str], port.QueuedUnblock] = {}
        self.awaited: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        self.awaiting: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        self.listening: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        self.related: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self.schedules: dict[str, Schedule] = {}
        self.groups: dict[str, Group] = {}
        self.usages: dict[str, Usage] = {}
        self.queued: dict[str, Queued] = {}
        self.dead: dict[str, DeadLetter] = {}
        self.deadlines: list[tuple[int, str]] = []
        self.timers: list[tuple[int, str]] = []
        self.endings: dict[str, TreeEnding] = {}
        self.runs: list[tuple[int, str]] = []

    # -- writing

    def put(self, table: dict[K, V], key: K, value: V) -> None:
        """Set a row, and remember how to undo it."""
        if key in table:
            before = table[key]
            self.undo.append(lambda: table.__setitem__(key, before))
        else:
            self.undo.append(lambda: table.pop(key, None))
        table[key] = value

    def remove(self, table: dict[K, V], key: K) -> None:
        """Remove a row if it is there, and remember how to undo it."""
        if key in table:
            before = table.pop(key)
            self.undo.append(lambda: table.__setitem__(key, before))

    def roll_back(self) -> None:
        """Undo everything since the program began."""
        while self.undo:
            self.undo.pop()()

    def clear(self) -> None:
        """Remove everything; that cannot be undone."""
        for table in vars(self).values():
            table.clear()

    def link(self, index: defaultdict[K, set[V]], key: K, value: V) -> None:
        """Add to an index, and remember how to undo it."""
        if value not in index[key]:
            index[key].add(value)
            self.undo.append(lambda: index[key].discard(value))

    def unlink(self, index: defaultdict[K, set[V]], key: K, value: V) -> None:
        """Remove from an index, and remember how to undo it."""
        if value in index[key]:
            index[key].discard(value)
            self.undo.append(lambda: index[key].add(value))
        if not index[key]:
            del index[key]
