"""Random histories give the same answers and leave the same contents in the engine and in a naive oracle.

The oracle (tests/engine_oracle.py) is written from the protocol's page alone. Requests travel as the wire's
bytes, several in one batch; time jumps with and without a tick; announcements leave; the SQLite engine is
closed and opened again from its file, and the PostgreSQL engine from its database. ENGINE_SEED repeats a
history, ENGINE_SEQUENCES runs more of them, DAO_SCORER_RECORDS=1 ten thousand; ENGINE_FIRST goes on with a
later one, and judges no coverage.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pytest

from orchestrator.domain.errors import Refused
from orchestrator.domain.group import Group
from orchestrator.engine import Engine, EngineSettings, ManualClock
from orchestrator.engine.unheard import Listening
from orchestrator.protocol.commands import COMMANDS
from orchestrator.protocol.envelope import VERSION, decode_request, encode_answer, encode_refusal
from orchestrator.protocol.records import task_record
from orchestrator.store import MemoryStore, SqliteStore, Store
from orchestrator.store.grouping import (
    LoadPlaces,
    LoadUsages,
    SearchDead,
    SearchGroups,
)
from orchestrator.store.port import (
    Changes,
    LoadChain,
    LoadOutbox,
    LoadRows,
    Program,
    SearchSchedules,
    Write,
    ask,
)
from orchestrator.store.postgres_statements import CLEAR
from tests.engine_oracle import PERIODS, Json, Oracle
from tests.engine_world import store_on_the_tests_clock
from tests.postgres_server import Server

RECORDS = os.environ.get("DAO_SCORER_RECORDS") == "1"
SEQUENCES, STEPS = 10_000 if RECORDS else 150, 50
LASTING = 10
"""Every so many histories one uses a file and a database, and survives restarts."""
PROGRESS = 500
DETACHED = "a:d0123456789abcdef"
IDS = ["a", "a:1", "a:2", "a:1.1", "a.3", "b", "b:1", "e", DETACHED]
ODD_IDS = ["a/x%2F", "ü:1", ""]
PIDS = ["w1", "w2"]
GROUPS = ["workers", "clients", None]
GROUP_NAMES = ["workers", "workers", "workers", "clients", "https://f.example/x", "none"]
FAR = 2**53 - 1
WHOLE, PAGED = (
    EngineSettings(
        release_backoff_ms=0,
        retry_unheard_ms=30_000,
        retry_unheard_ms_max=30_000,
        unblock_keep_ms=2**53,
        tick_page=page,
    )
    for page in (100_000, 60)
)
"""Ticks of one page, and of several. Whoever is told in a page may lose the turn to somebody in the next,
which shows in the timers: the oracle knows no pages, so that no group is limited where there are several."""
EVERYTHING = 1_000_000


class StillClock(ManualClock):
    """A clock by which nothing wakes up: the test ticks when it wants to."""

    async def sleep_until(self, moment_ms: int) -> None:
        """Sleep for ever."""
        await asyncio.Event().wait()


# -- the histories

Option = tuple[str, Callable[[], Json]]
"""The kind of a request, and how its data is made."""


class Chance:
    """Requests over few ids and versions, so that they meet."""

    def __init__(self, chance: random.Random, oracle: Oracle, now: int, *, limiting: bool) -> None:
        self.random = chance
        self.oracle = oracle
        self.now = now
        self.limiting = limiting

    def pick(self, *items: Any) -> Any:
        return self.random.choice(items)

    def odds(self, share: float) -> bool:
        return self.random.random() < share

    def key(self) -> str:
        return self.pick(*ODD_IDS, "none") if self.odds(0.03) else self.pick(*IDS)

    def held(self) -> tuple[str, int]:
        """Return a task and a version, mostly such that something can be done with it."""
        states = self.pick("acquired", "acquired", "pending", "suspended", "halted")
        likely = [task for task in self.oracle.tasks.values() if task["state"] == states]
        if likely and self.odds(0.85):
            task = self.pick(*likely)
            return task["id"], task["version"] + (self.pick(-1, 1) if self.odds(0.1) else 0)
        return self.key(), self.pick(0, 0, 1, 1, 2, 3)

    def tags(self, key: str) -> dict[str, str]:
        tags: dict[str, str] = {}
        if self.odds(0.6):
            tags["resonate:target"] = self.pick(
                "poll://any@workers", "poll://uni@workers/w1", "poll://any@clients/x", "https://f.example/x"
            )
            if self.odds(0.2):
                tags["resonate:delay"] = str(self.now + self.pick(-10, 0, 30, 40_000))
        for name, share in (("timer", 0.15), ("external", 0.2), ("detached", 0.05)):
            if self.odds(share):
                tags[f"resonate:{name}"] = self.pick("true", "true", "false")
        for name in ("branch", "origin", "parent"):
            if self.odds(0.4):
                tags[f"resonate:{name}"] = self.pick(key, key[:1], key.rpartition(".")[0] or key[:1])
        if self.odds(0.3):
            tags["resonate:priority"] = self.pick("-1000", "-1", "0", "2", "7")
        if self.odds(0.15):
            tags["resonate:attempts"] = self.pick("1", "2", "3")
        if self.odds(0.02):
            tags |= self.pick(
                {"resonate:priority": "1001"},
                {"resonate:attempts": "0"},
                {"resonate:target": "ftp://x"},
                {"resonate:target": "poll://all@g"},
                {"resonate:delay": "soon"},
                {"resonate:origin": "z"},
                {"resonate:prefix": "p.q"},
                {"": "empty"},
            )
        return tags

    def create(self) -> Json:
        key = self.key()
        timeout = self.pick(self.now - 5, self.now, self.now + 20, self.now + 300, FAR, FAR, 2**60)
        data: Json = {"id": key, "timeoutAt": timeout, "tags": self.tags(key)}
        if self.odds(0.3):
            data["param"] = self.pick({}, {"data": "p"}, {"data": "", "headers": {"": "h"}})
        if self.odds(0.02):
            data["timeoutAt"] = -1
        return data

    def claim(self) -> Json:
        data = self.create()
        data["tags"].pop("resonate:delay", None)
        if self.odds(0.9):
            data["tags"].setdefault("resonate:target", "poll://any@workers")
        return {"pid": self.pick(*PIDS), "ttl": self.ttl(), "action": action("promise.create", data)}

    def settle(self, key: str | None = None) -> Json:
        awaited = sorted({awaited for awaited, _ in self.oracle.callbacks})
        if key is None and awaited and self.odds(0.6):
            key = self.pick(*awaited)
        state = self.pick("resolved", "rejected", "rejected_canceled")
        if self.odds(0.03):
            state = self.pick("pending", "rejected_timedout")
        value = self.pick({}, {"data": str(self.random.random())}, {"headers": {"k": "v"}})
        return {"id": key or self.key(), "state": state, "value": value}

    def callback(self, awaiter: str) -> Json:
        known = [key for key, promise in self.oracle.promises.items() if promise["state"] == "pending"]
        near = [key for key in self.pick(IDS, known) if key[:1] == awaiter[:1] and key != awaiter]
        awaited = self.pick(*near) if near and self.odds(0.8) else self.key()
        return {"awaited": awaited, "awaiter": awaiter if self.odds(0.97) else self.key()}

    def suspend(self, key: str, version: int) -> Json:
        count = 0 if self.odds(0.02) else self.pick(1, 1, 2, 3)
        actions = [action("promise.register_callback", self.callback(key)) for _ in range(count)]
        used = {name: True for name in ("heeds", "bare") if self.odds(0.5)}
        return {"id": key, "version": version, "actions": actions, **used}

    def ttl(self) -> int:
        return 0 if self.odds(0.02) else self.pick(50, 5_000, 60_000, FAR)

    def schedule(self) -> Json:
        tags = {"resonate:target": self.pick("poll://any@workers", "https://f.example/x")}
        tags |= self.pick({}, {"resonate:timer": "true"}, {"resonate:origin": "z"}, {"k": "v"})
        data: Json = {
            "id": self.pick("s", "a", "t:1"),
            "cron": self.pick(*PERIODS),
            "promiseId": self.pick("{{.id}}-{{.timestamp}}", "{{.id}}-{{.timestamp}}", "{{.id}}", "b:1"),
            "promiseTimeout": self.pick(0, 15_000, 60_000, FAR // 2),
            "promiseTags": tags,
        }
        if self.odds(0.3):
            data["catchUp"] = self.pick("all", "last", "none")
        if self.odds(0.15):
            data |= self.pick(
                {"id": "a.b"}, {"cron": "* *"}, {"promiseTimeout": -1}, {"promiseTags": {}},
                {"timeZone": "X"}, {"promiseId": ""}, {"promiseTags": {**tags, "resonate:delay": "5"}},
            )  # fmt: skip
        return data

    def references(self) -> list[Json]:
        pairs = [self.held() for _ in range(self.pick(0, 1, 1, 2))]
        return [{"id": key, "version": version} for key, version in pairs]

    def request(self) -> Json:
        """Return one request, valid or not. Only what is chosen is made."""
        key, version = self.held()
        options = [*self.promising(key), *self.tasking(key, version), *self.scheduling(), *self.grouping()]
        kind, make = self.pick(*options)
        if self.odds(0.12):
            # By kind, not by option: what is offered once is refused as often as what is offered four times.
            kind = self.pick(*sorted({kind for kind, _ in options}))
            make = self.pick(*(make for offered, make in options if offered == kind))
            return {"kind": kind, "data": _blank(make())}
        if self.odds(0.4):
            kind, make = self.pick((kind, make), *self.sensible())
        return {"kind": kind, "data": make()}

    def sensible(self) -> list[Option]:
        """Return what would most likely be done next with a task, by its state.

        What needs many steps before it can succeed is too seldom met by chance alone.
        """
        tasks = [task for task in self.oracle.tasks.values() if task["state"] != "fulfilled"]
        if not tasks:
            return []
        state = self.pick(*sorted({task["state"] for task in tasks}))
        task = self.pick(*(task for task in tasks if task["state"] == state))
        key, own = task["id"], {"id": task["id"], "version": task["version"]}
        if state == "acquired":
            return self.holding(key, task["version"])
        if state == "halted":
            return [*[("task.continue", lambda: {"id": key})] * 2, ("task.halt", lambda: {"id": key})]
        if state == "suspended":
            awaited = sorted(awaited for awaited, awaiter in self.oracle.callbacks if awaiter == key)
            # One whose own deadline has passed may rest though nothing that it waits for is open.
            return [("promise.settle", lambda: self.settle(self.pick(*awaited)))] if awaited else []
        return [("task.acquire", lambda: own | {"pid": self.pick(*PIDS), "ttl": self.pick(5_000, 60_000)})]

    def holding(self, key: str, version: int) -> list[Option]:
        own = {"id": key, "version": version}

        def settle(of: str | None) -> Json:
            return own | {"action": action("promise.settle", self.settle(of))}

        return [
            *self.waiting(key, version),
            ("task.suspend", lambda: self.suspend(key, version)),
            ("task.create", lambda: self.claim_of(key)),
            ("task.fulfill", lambda: settle(key)),
            ("task.fence", lambda: own | {"action": action("promise.create", self.create())}),
            ("task.fence", lambda: settle(None)),
            ("task.fence", lambda: settle("none")),
            ("task.release", lambda: dict(own)),
            ("task.halt", lambda: {"id": key}),
        ]

    def waiting(self, key: str, version: int) -> list[Option]:
        """Return how a task may wait for an open promise of its own tree, or what it could wait for."""
        pending = {each: one for each, one in self.oracle.promises.items() if one["state"] == "pending"}
        near = [each for each in pending if each[:1] == key[:1] and each != key]
        if not near:
            child = self.pick("none", *(each for each in IDS if each[:1] == key[:1]))
            return [("promise.create", lambda: {"id": child, "timeoutAt": FAR, "tags": {}})]

        def suspend() -> Json:
            pair = {"awaited": self.pick(*near), "awaiter": key}
            return {"id": key, "version": version, "actions": [action("promise.register_callback", pair)]}

        plain = [each for each in near if "resonate:target" not in pending[each]["tags"]]
        cancels: list[Option] = [("promise.cancel", lambda: {"id": self.pick(*plain)})] if plain else []
        return [*[("task.suspend", suspend)] * 2, *cancels]

    def claim_of(self, key: str) -> Json:
        data = self.claim()
        data["action"]["data"]["id"] = key
        return data

    def promising(self, key: str) -> list[Option]:
        return [
            ("promise.get", lambda: {"id": self.key()}),
            *[("promise.create", self.create)] * 3,
            *[("promise.settle", self.settle)] * 2,
            ("promise.cancel", lambda: {"id": self.pick(key, self.key())}),
            ("promise.cancel", lambda: {"id": self.pick("a", key)}),
            ("promise.terminate", lambda: {"id": self.key() if self.odds(0.4) else "none"}),
            ("promise.register_callback", lambda: self.callback(self.pick(key, self.key()))),
            ("promise.register_callback", lambda: self.callback(key)),
            ("promise.register_listener", self.listener),
            (
                "promise.search",
                lambda: self.search({"limit": self.limit(), "tags": self.pick({}, {"resonate:branch": "a"})}),
            ),
        ]

    def tasking(self, key: str, version: int) -> list[Option]:
        own = {"id": key, "version": version}

        def end(of: str | None) -> Json:
            return own | {"action": action("promise.settle", self.settle(of))}

        def acquire(**how: bool) -> Json:
            return own | {"pid": self.pick(*PIDS), "ttl": self.ttl(), **how}

        return [
            ("task.get", lambda: {"id": key}),
            *[("task.create", self.claim)] * 2,
            ("task.acquire", acquire),
            ("task.acquire", lambda: acquire(bare=self.odds(0.5))),
            ("task.release", lambda: dict(own)),
            ("task.fulfill", lambda: end(key)),
            ("task.fulfill", lambda: end(None)),
            *[("task.suspend", lambda: self.suspend(key, version))] * 2,
            *[("task.fence", lambda: own | {"action": self.inner(key)})] * 2,
            ("task.heartbeat", lambda: {"pid": self.pick(*PIDS), "tasks": self.references()}),
            ("task.halt", lambda: {"id": key if self.odds(0.4) else "none"}),
            ("task.continue", lambda: {"id": key}),
            ("task.search", lambda: self.search({"limit": self.limit()})),
        ]

    def inner(self, key: str) -> Json:
        """Return what a fence is to carry out."""
        kind = self.pick("promise.create", "promise.create", "promise.settle", "promise.get")
        makers = {"promise.create": self.create, "promise.settle": self.settle}
        return action(kind, makers[kind]() if kind in makers else {"id": key})

    def listener(self) -> Json:
        address = self.pick("poll://uni@clients/c1", "poll://any@clients", "https://f.example/x", "poll://x")
        return {"awaited": self.key(), "address": address}

    def limit(self) -> int:
        limit: int = 0 if self.odds(0.05) else self.pick(1, 2, 5, 1000)
        return limit

    def scheduling(self) -> list[Option]:
        key = self.pick("s", "a", "t:1") if self.odds(0.9) else "none"
        return [
            *[("schedule.create", self.schedule)] * 2,
            *[(f"schedule.{name}", lambda: {"id": key}) for name in ("get", "pause", "resume")],
            ("schedule.delete", lambda: {"id": key if self.odds(0.5) else "none"}),
            (
                "schedule.search",
                lambda: {
                    "limit": 0 if self.odds(0.1) else self.pick(1, 2, 10),
                    "tags": self.pick({}, {"k": "v"}),
                },
            ),
        ]

    def grouping(self) -> list[Option]:
        name = self.pick(*GROUP_NAMES) if self.limiting else "none"

        def limit() -> Json:
            return {"limit": 0 if self.odds(0.1) else self.pick(1, 2, 10)}

        return [
            *[("group.set", lambda: self.limits(name))] * 2,
            ("group.pause", lambda: {"id": name if self.odds(0.3) else "none"}),
            *[("group.resume", lambda: {"id": name})] * 2,
            ("group.get", lambda: {"id": name}),
            ("group.search", lambda: limit() | ({"cursor": "none"} if self.odds(0.3) else {})),
            ("task.dead", lambda: limit() | ({"group": name} if self.odds(0.5) else {})),
        ]

    def limits(self, name: str) -> Json:
        changes: Json = {"id": name}
        if self.odds(0.7):
            changes["concurrency"] = self.pick(1, 1, 2, 3, None, 0 if self.odds(0.1) else 1)
        if self.odds(0.3):
            changes |= self.pick(
                {"rate": 1, "period": 100}, {"rate": 2, "period": 7_001}, {"rate": 3, "period": 700},
                {"rate": None, "period": None}, {"rate": 1},
            )  # fmt: skip
        if self.odds(0.3):
            changes["attempts"] = self.pick(1, 2, 3, None, -1 if self.odds(0.1) else 2)
        return changes

    def search(self, data: Json) -> Json:
        if self.odds(0.4):
            data["state"] = self.pick("pending") if "tags" not in data else self.pick("resolved", "pending")
        if self.odds(0.4):
            data["cursor"] = self.pick("a", "a:1", "b")
        return data


def _blank(data: Json) -> Json:
    """Return the data of a request without what it must name."""
    wrong = {"id": "", "awaited": "", "limit": 0, "tasks": [{"id": "", "version": 0}]}
    blank = data | {name: value for name, value in wrong.items() if name in data}
    if "pid" in data and "action" in data:
        blank["action"] = action("promise.create", data["action"]["data"] | {"id": ""})
    return blank


def action(kind: str, data: Json) -> Json:
    return {"kind": kind, "head": {"corrId": "x", "version": VERSION}, "data": data}


# -- the engine, as the wire shows it


async def _asked(engine: Engine, request: Json) -> tuple[int, Any]:
    head = {"corrId": "7", "version": VERSION}
    body = msgspec.json.encode({"kind": request["kind"], "head": head, "data": request["data"]})
    try:
        command = decode_request(body).command
        status, answer = encode_answer(command, "7", await engine.handle(command))
    except Refused as refusal:
        status, answer = refusal.status, encode_refusal(request["kind"], "7", refusal)
    told = msgspec.json.decode(answer)
    assert (told["kind"], told["head"]["corrId"], told["head"]["status"]) == (request["kind"], "7", status)
    if status not in (200, 300):
        assert isinstance(told["data"], str)
        return status, None
    if request["kind"] == "task.fence":
        inner = told["data"]["action"]
        found = inner["head"]["status"] == 200
        told["data"]["action"] = (inner["kind"], inner["head"]["status"], inner["data"] if found else None)
    return status, told["data"]


async def _together(engine: Engine, requests: list[Json]) -> list[tuple[int, Any]]:
    """Ask in one batch: all are queued before the committer is given its turn."""
    return list(await asyncio.gather(*(_asked(engine, request) for request in requests)))


async def _alone(engine: Engine, requests: list[Json]) -> list[tuple[int, Any]]:
    """Ask one after another in one task, which the engine commits at once where its store can."""
    return [await _asked(engine, request) for request in requests]


def _contents(ids: list[str]) -> Program[Json]:
    rows = yield from ask(LoadRows(ids=ids))
    chain = yield from ask(LoadChain(ids=ids))
    executes, unblocks = {}, set()
    for group in GROUPS:
        page = yield from ask(
            LoadOutbox(group=group, after_task="", after_unblock=("", ""), limit=EVERYTHING)
        )
        executes |= {row.task_id: row.version for row in page.executes}
        unblocks |= {(row.promise_id, row.address) for row, _ in page.unblocks}
    schedules = yield from ask(SearchSchedules(tags={}, limit=100, cursor=None, scan_max=1000))
    tasks = [task for _, task in rows if task is not None]
    groups = yield from ask(SearchGroups(limit=100, cursor=None, scan_max=1000))
    names = [group.id for group in groups.items]
    usages = yield from ask(LoadUsages(groups=names))
    places = yield from ask(LoadPlaces(groups=names, ids=ids))
    dead = yield from ask(SearchDead(group=None, limit=EVERYTHING, cursor=None))
    return {
        "groups": {group.id: _without_id(group) for group in groups.items},
        "buckets": {
            group.id: (usages[group.id].level, usages[group.id].leveled_at)
            for group in groups.items
            if group.rate is not None
        },
        "places": {queued.task_id: queued.place.name.lower() for queued in places},
        "dead": {letter.id: msgspec.to_builtins(letter) for letter in dead.items},
        "promises": {promise.id: msgspec.to_builtins(promise) for promise, _ in rows},
        "tasks": {task.id: msgspec.to_builtins(task_record(task)) for task in tasks},
        "timers": {task.id: task.timer_at for task in tasks if task.timer_at is not None},
        "callbacks": set(chain.callbacks),
        "listeners": set(chain.listeners),
        "executes": executes,
        "unblocks": unblocks,
        "schedules": {schedule.id: msgspec.to_builtins(schedule) for schedule in schedules.items},
    }


def _without_id(group: Group) -> Json:
    return {key: value for key, value in msgspec.to_builtins(group).items() if key != "id"}


class Subject:
    """One engine over one store, and how to start it anew."""

    def __init__(
        self, store: Store, clock: ManualClock, again: Callable[[], Store], settings: EngineSettings
    ) -> None:
        self.store, self.clock, self.again, self.settings = store, clock, again, settings
        self.engine = Engine(store, clock, settings)
        self.heard = True

    async def start(self) -> None:
        self.engine._ticker._listening = Listening(here=lambda _: self.heard, elsewhere=False)
        # Time passes only where the history says so: while a tick is under way no deadline is known.
        self.engine._ticker.hold()
        await self.engine.__aenter__()
        await self.engine.tick()

    async def restart(self) -> None:
        await self.engine.stop()
        self.store = self.again()
        self.engine = Engine(self.store, self.clock, self.settings)
        await self.start()

    async def send(self, gone: list[str]) -> None:
        """Remove announcements from the outbox, as if they had been handed to a worker."""
        changes = Changes(executes_sent=[(key, 2**62) for key in gone])
        await self.store.run(lambda _: ask(Write(changes=changes)), self.clock.now_ms())

    async def snapshot(self, known: Iterable[str] = ()) -> Json:
        ids = list({*IDS, *ODD_IDS, "none", *known})
        return await self.store.run(lambda _: _contents(ids), self.clock.now_ms())


@asynccontextmanager
async def _subject(
    clock: ManualClock, again: Callable[[], Store], settings: EngineSettings
) -> AsyncIterator[Subject]:
    subject = Subject(again(), clock, again, settings)
    await subject.start()
    try:
        yield subject
    finally:
        await subject.engine.stop()


# -- comparing


def _compare_answers(requests: list[Json], told: list[Any], expected: list[Any]) -> Iterable[str]:
    for request, mine, right in zip(requests, told, expected, strict=True):
        if mine != right and not (len(requests) > 1 and _lacks_preloads(mine, right)):
            yield f"{request}\n  engine {mine}\n  oracle {right}"


def _lacks_preloads(mine: tuple[int, Any], right: tuple[int, Any]) -> bool:
    """Tell whether only preloads are missing, which is allowed within a larger batch."""
    if mine[0] != right[0] or not right[1] or "preload" not in right[1]:
        return False
    if any(promise not in right[1]["preload"] for promise in mine[1]["preload"]):
        return False
    return {**mine[1], "preload": []} == {**right[1], "preload": []}


def _check_invariants(contents: Json, before: Json, now: int) -> Iterable[str]:
    for key, promise in before["promises"].items():
        if promise["state"] != "pending" and contents["promises"][key] != promise:
            yield f"P1 {key}"
    for key, task in contents["tasks"].items():
        if (task["state"] == "fulfilled") == (contents["promises"][key]["state"] == "pending"):
            yield f"T3 {key}"
        waits = {awaited for awaited, awaiter in contents["callbacks"] if awaiter == key}
        # One whose own deadline has passed is not woken: it is over as soon as anybody looks.
        over = contents["promises"][key]["timeoutAt"] <= now
        if task["state"] == "suspended" and not waits and not over:
            yield f"T4 {key}"
        if (task["state"] in ("pending", "acquired")) != (key in contents["timers"]):
            yield f"T5 {key}"
        if task["version"] < before["tasks"].get(key, task)["version"]:
            yield f"T2 {key}"
    for awaited, awaiter in contents["callbacks"]:
        if "settledAt" in contents["promises"][awaited] or "settledAt" in contents["promises"][awaiter]:
            yield f"callback left behind: {awaiter} for {awaited}"


def _deadline(contents: Json) -> int | None:
    pending = [p["timeoutAt"] for p in contents["promises"].values() if p["state"] == "pending"]
    runs = [each["nextRunAt"] for each in contents["schedules"].values() if not each.get("paused")]
    return min([*pending, *contents["timers"].values(), *runs], default=None)


def opening() -> list[Json]:
    """Return how the first history begins: what chance may miss in a whole run."""
    target = {"resonate:target": "poll://any@workers"}
    tree = [("a", target), ("a:1", {}), ("a:2", {}), ("b", target)]
    created = [
        ("promise.create", {"id": key, "timeoutAt": FAR, "tags": {"resonate:origin": key[:1]} | tags})
        for key, tags in tree
    ]

    def held(version: int, **more: Any) -> Json:
        return {"id": "a", "version": version, **more}

    def waiting(*awaited: str) -> list[Json]:
        pairs = ({"awaited": each, "awaiter": "a"} for each in awaited)
        return [action("promise.register_callback", pair) for pair in pairs]

    def settled(key: str) -> Json:
        return {"id": key, "state": "resolved", "value": {}}

    claim = {"pid": "w1", "ttl": FAR}
    again = action("promise.create", created[0][1])
    bare = action("promise.create", created[1][1] | {"tags": target})
    schedule = {
        "id": "s",
        "cron": next(iter(PERIODS)),
        "promiseId": "{{.id}}-{{.timestamp}}",
        "promiseTimeout": FAR // 2,
        "promiseTags": target,
    }
    steps = [
        *created,
        ("promise.register_callback", {"awaited": "a:2", "awaiter": "a:1"}),
        ("promise.register_callback", {"awaited": "a:2", "awaiter": "a"}),
        ("promise.cancel", {"id": "a:1"}),
        ("task.acquire", held(0, **claim)),
        ("task.create", claim | {"action": again}),
        ("task.create", claim | {"action": bare}),
        ("task.suspend", held(1, actions=waiting("a:9"))),
        ("task.suspend", held(0, actions=waiting("a:1"))),
        ("task.suspend", held(1, actions=waiting("a:1"))),
        ("promise.settle", settled("a:1")),
        ("task.acquire", held(1, **claim)),
        ("task.suspend", held(2, actions=waiting("a:1"))),
        ("task.fence", held(2, action=action("promise.create", created[2][1]))),
        ("task.fence", held(2, action=action("promise.settle", settled("a:2")))),
        ("task.fence", held(2, action=action("promise.settle", settled("none")))),
        ("task.halt", {"id": "a"}),
        ("task.continue", {"id": "a"}),
        ("task.continue", {"id": "a"}),
        ("task.acquire", held(2, **claim)),
        ("task.fulfill", held(3, action=action("promise.settle", settled("a")))),
        ("task.halt", {"id": "a"}),
        ("promise.terminate", {"id": "b"}),
        ("schedule.create", schedule),
        *((f"schedule.{name}", {"id": "s"}) for name in ("get", "pause", "resume", "delete")),
    ]
    return [{"kind": kind, "data": data} for kind, data in steps]


class History:
    """One random history on both engines and the oracle."""

    def __init__(self, chance: random.Random, where: str, seen: Counter[tuple[str, Any]]) -> None:
        self.chance, self.where, self.seen = chance, where, seen
        self.clock, self.oracle = StillClock(), Oracle()
        self.oracle.heard = chance.random() < 0.5
        self.limiting = chance.random() < 0.5
        self.before: Json = {"promises": {}, "tasks": {}}
        self.subjects: list[Subject] = []
        self.did: list[Any] = []

    async def run(self, path: Path | None, url: str | None, first: Sequence[Json] = ()) -> None:
        """Play it, with restarts where there is a path; on a database with that URL, too, if there is one.

        It begins with the requests of `first`, one by one.
        """
        memory, sqlite = MemoryStore(), SqliteStore(path)
        stores: list[Callable[[], Store]] = [
            lambda: memory,
            lambda: sqlite if path is None else SqliteStore(path),
        ]
        if url is not None:
            stores.append(lambda: store_on_the_tests_clock(url))
        settings = WHOLE if self.limiting or first else PAGED
        async with AsyncExitStack() as stack:
            for again in stores:
                self.subjects.append(await stack.enter_async_context(_subject(self.clock, again, settings)))
                self.subjects[-1].heard = self.oracle.heard
            for request in first:
                await self.ask([request])
            for _ in range(STEPS):
                await self.pass_time(restarting=path is not None)
                maker = Chance(self.chance, self.oracle, self.clock.now_ms(), limiting=self.limiting)
                await self.ask([maker.request() for _ in range(self.chance.choice([1, 1, 1, 2, 5]))])

    async def pass_time(self, *, restarting: bool) -> None:
        if self.chance.random() < 0.3:
            jump = self.chance.choice([1, 20, 60, 300, 31_000, 1_700_000])
            self.did.append(("time", self.clock.advance(jump)))
        if self.chance.random() < 0.15:
            self.did.append("tick")
            for subject in self.subjects:
                await subject.engine.tick()
            self.oracle.tick(self.clock.now_ms())
        if self.oracle.executes and self.chance.random() < 0.15:
            gone = self.chance.sample(sorted(self.oracle.executes), 1)
            self.did.append(("sent", gone))
            for subject in self.subjects:
                await subject.send(gone)
            self.oracle.sent(*gone)
        if restarting and self.chance.random() < 0.05:
            self.did.append("restart")
            for subject in self.subjects:
                await subject.restart()
            self.oracle.restart(self.clock.now_ms())

    async def ask(self, requests: list[Json]) -> None:
        now = self.clock.now_ms()
        asked = _alone if len(requests) == 1 and self.chance.random() < 0.7 else _together
        self.did.append(requests)
        expected = self.oracle.batch(requests, now)
        right = self.oracle.snapshot()
        for subject in self.subjects:
            told = await asked(subject.engine, requests)
            faults = list(_compare_answers(requests, told, expected))
            contents = await subject.snapshot(self.oracle.promises)
            faults += [
                f"{name}: engine {contents[name]}\n  oracle {right[name]}"
                for name in right
                if contents[name] != right[name]
            ]
            faults += _check_invariants(contents, self.before, now)
            faults += self._timer_faults(subject, contents)
            assert not faults, self._report(type(subject.store).__name__, faults)
        self.before = contents
        for request, (status, data) in zip(requests, expected, strict=True):
            inner = data["action"][:2] if request["kind"] == "task.fence" and data else ()
            self.seen[request["kind"], (status, *inner)] += 1

    @staticmethod
    def _timer_faults(subject: Subject, contents: Json) -> Iterable[str]:
        due, armed = _deadline(contents), subject.engine._ticker._deadline
        if due is not None and (armed is None or armed > due):
            yield f"T5: the ticker sleeps until {armed}, something is due at {due}"

    def _report(self, store: str, faults: list[str]) -> str:
        last = "\n".join(map(str, self.did[-4:]))
        return f"{self.where}, {store}, step {len(self.did)}:\n" + "\n".join(faults) + f"\n-- after\n{last}"


EXPECTED = {
    "promise.get": [(200,), (400,), (404,)],
    "promise.create": [(200,), (400,)],
    "promise.settle": [(200,), (400,), (404,)],
    "promise.cancel": [(200,), (400,), (404,), (422,)],
    "promise.terminate": [(200,), (400,), (404,)],
    "promise.register_callback": [(200,), (400,), (404,), (422,)],
    "promise.register_listener": [(200,), (400,), (404,)],
    "promise.search": [(200,), (400,)],
    "task.get": [(200,), (400,), (404,)],
    "task.create": [(200,), (400,), (409,), (422,)],
    "task.acquire": [(200,), (400,), (404,), (409,)],
    "task.release": [(200,), (400,), (404,), (409,)],
    "task.fulfill": [(200,), (400,), (404,), (409,)],
    "task.suspend": [(200,), (300,), (400,), (404,), (409,), (422,)],
    "task.fence": [
        (200, "promise.create", 200),
        (200, "promise.settle", 200),
        (200, "promise.settle", 404),
        (400,),
        (404,),
        (409,),
    ],
    "task.heartbeat": [(200,), (400,)],
    "task.halt": [(200,), (400,), (404,), (409,)],
    "task.continue": [(200,), (400,), (404,), (409,)],
    "task.search": [(200,), (400,)],
    "schedule.create": [(200,), (400,)],
    "schedule.get": [(200,), (400,), (404,)],
    "schedule.delete": [(200,), (400,), (404,)],
    "schedule.search": [(200,), (400,)],
    "schedule.pause": [(200,), (400,), (404,)],
    "schedule.resume": [(200,), (400,), (404,)],
    "group.get": [(200,), (400,)],
    "group.set": [(200,), (400,)],
    "group.pause": [(200,), (400,)],
    "group.resume": [(200,), (400,)],
    "group.search": [(200,), (400,)],
    "task.dead": [(200,), (400,)],
}
"""Every way in which an operation can end; all of them must have been seen."""


class Database:
    """One database for many histories, emptied before each."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._url = server.fresh("histories")

    async def emptied(self) -> str:
        """Return its URL, with nothing in it."""
        await self._server.execute(CLEAR, "histories")
        return self._url


@pytest.mark.timeout(14_400 if RECORDS else 180)
async def test_the_engine_agrees_with_the_oracle(tmp_path: Path, postgres_if_any: Server | None) -> None:
    seed = int(os.environ.get("ENGINE_SEED", random.randrange(2**32)))  # noqa: S311
    sequences = int(os.environ.get("ENGINE_SEQUENCES", SEQUENCES))
    print("seed", seed, "(set ENGINE_SEED to repeat)")  # noqa: T201
    seen: Counter[tuple[str, Any]] = Counter()
    database, began = Database(postgres_if_any) if postgres_if_any else None, monotonic()
    began_at = int(os.environ.get("ENGINE_FIRST", "0"))
    for number in range(began_at, sequences):
        path = tmp_path / f"{number}.db" if number % LASTING == 0 else None
        url = await database.emptied() if database and path is not None else None
        if number % PROGRESS == PROGRESS - 1:
            told = f"{number + 1} histories, {seen.total()} operations, {monotonic() - began:.0f} s"
            print(told, flush=True)  # noqa: T201
        chance = random.Random(f"{seed}/{number}")  # noqa: S311
        first = () if number else opening()
        await History(chance, f"seed {seed}, history {number}", seen).run(path, url, first)
        if path is not None:
            path.unlink()
    missing = [(kind, end) for kind, ends in EXPECTED.items() for end in ends if not seen[kind, end]]
    assert began_at or not missing, (seed, missing)
    assert set(EXPECTED) == {kind for kind in COMMANDS if not kind.startswith(("debug.", "server."))}
