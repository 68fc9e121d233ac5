"""A store of promises with the face of the SDK, which can be told to fail.

It is what a listener sees of the orchestrator: it keeps P1 and P2. The acceptance tests use the real engine.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestrator.domain import tags
from orchestrator.domain.errors import Refused
from orchestrator.domain.promise import EMPTY, PromiseRecord, PromiseState, Value

Fault = Callable[[str, str], Exception | None]
"""Takes an operation and a promise id; an exception that it returns is raised instead of the answer."""


@dataclass(slots=True)
class PromiseStore:
    """Promises by id, arguments of invocations, values of settled ones, and how often each was made."""

    records: dict[str, PromiseRecord] = field(default_factory=dict)
    arguments: dict[str, object] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)
    made: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    fault: Fault = lambda _operation, _promise_id: None
    in_flight: int = 0
    in_flight_max: int = 0

    @property
    def promises(self) -> PromiseStore:
        return self

    def options(self, *, target: str, tags: Mapping[str, str]) -> Call:
        return Call(store=self, target=target, tags=dict(tags))

    async def create(self, promise_id: str) -> PromiseRecord:
        await self.operation("create", promise_id)
        return self.make(promise_id, {tags.EXTERNAL: tags.TRUE, tags.SCOPE: tags.SCOPE_GLOBAL})

    async def resolve(self, promise_id: str, value: object) -> PromiseRecord:
        await self.operation("resolve", promise_id)
        if promise_id not in self.records:
            raise Refused(404, "Promise not found")
        record = self.records[promise_id]
        if record.pending:
            record = record.settled(PromiseState.RESOLVED, Value(data="…"), 1)
            self.records[promise_id], self.values[promise_id] = record, value
        return record

    def make(self, promise_id: str, marks: Mapping[str, str]) -> PromiseRecord:
        if promise_id not in self.records:
            self.made[promise_id] += 1
            self.records[promise_id] = PromiseRecord(
                id=promise_id,
                state=PromiseState.PENDING,
                param=EMPTY,
                value=EMPTY,
                tags=dict(marks),
                timeout_at=2**53 - 1,
                created_at=0,
            )
        return self.records[promise_id]

    async def operation(self, name: str, promise_id: str) -> None:
        self.asked[name] += 1
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            await asyncio.sleep(0)
            if error := self.fault(name, promise_id):
                raise error
        finally:
            self.in_flight -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Handle:
    """What `begin_rpc` returns."""

    record: PromiseRecord


@dataclass(slots=True, kw_only=True)
class Call:
    """What `options` returns."""

    store: PromiseStore
    target: str
    tags: dict[str, str]

    async def begin_rpc(self, promise_id: str, function: str, argument: object) -> Handle:
        await self.store.operation("invoke", promise_id)
        marks = {**self.tags, tags.TARGET: self.target, "function": function}
        known = promise_id in self.store.records
        record = self.store.make(promise_id, marks)
        if not known:
            self.store.arguments[promise_id] = argument
        return Handle(record=record)
