"""Each bad input over HTTP: its status, a message that names the fault, and a state that is as it was."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from yarl import URL

from orchestrator.engine import Engine, ManualClock
from orchestrator.protocol import commands as c
from orchestrator.protocol.schedules import ScheduleSearch
from orchestrator.store import open_store
from tests.integration.auth_support import envelope
from tests.integration.server_support import served

FAR = 2**50
TARGET = {"resonate:target": "poll://any@g"}
LIMIT = 64 * 1024
CREATE = {"id": "n", "timeoutAt": FAR}
ACTION = {"kind": "promise.create", "head": {}, "data": CREATE | {"tags": TARGET}}
SETTLE = {"kind": "promise.settle", "head": {}, "data": {"id": "root", "state": "resolved"}}
CALLBACK = {"kind": "promise.register_callback", "head": {}, "data": {"awaited": "root:1", "awaiter": "root"}}
Case = tuple[str, Any, int, str]


def created(**changes: Any) -> dict[str, Any]:
    return CREATE | changes


def tagged(**tags: str) -> dict[str, Any]:
    return created(tags={f"resonate:{name}": text for name, text in tags.items()})


IDS: list[Case] = [
    ("promise.get", {"id": ""}, 400, "the id is empty"),
    ("promise.get", {"id": "a\x00b"}, 400, "NUL"),
    ("promise.get", {"id": "x" * 1025}, 400, "longer than 1024"),
    ("promise.get", {"id": 7}, 400, "`$.id`"),
    ("promise.get", {"id": None}, 400, "`$.id`"),
    ("promise.get", {}, 400, "missing required field `id`"),
    ("task.acquire", {"id": "", "version": 0, "pid": "p", "ttl": 1}, 400, "the id is empty"),
    ("task.heartbeat", {"pid": "p", "tasks": [{"id": "", "version": 1}]}, 400, "the id is empty"),
    ("promise.register_callback", {"awaited": "root", "awaiter": "root"}, 400, "cannot await itself"),
    ("promise.get", {"id": "nobody"}, 404, "Promise not found"),
]
NUMBERS: list[Case] = [
    ("promise.create", created(timeoutAt=-1), 400, "timeoutAt"),
    ("promise.create", created(timeoutAt=2**63), 400, "timeoutAt"),
    ("promise.create", created(timeoutAt=2**64), 400, ""),
    ("promise.create", created(timeoutAt=1.5), 400, "timeoutAt"),
    ("promise.create", created(timeoutAt="1"), 400, "timeoutAt"),
    ("promise.create", created(timeoutAt=True), 400, "timeoutAt"),
    ("task.acquire", {"id": "root", "version": -1, "pid": "p", "ttl": 1}, 400, "version"),
    ("task.acquire", {"id": "root", "version": 9, "pid": "p", "ttl": 1}, 409, ""),
    ("task.acquire", {"id": "root", "version": 0, "pid": "p", "ttl": 0}, 400, "ttl"),
    ("task.acquire", {"id": "root", "version": 0, "pid": "p" * 1025, "ttl": 1}, 400, "pid"),
    ("task.acquire", {"id": "root", "version": 0, "pid": "\x00", "ttl": 1}, 400, "pid"),
]
TAGS: list[Case] = [
    ("promise.create", created(tags={f"t{number}": "" for number in range(65)}), 400, "more than 64 tags"),
    ("promise.create", created(tags={"k": "v" * 4097}), 400, "4096"),
    ("promise.create", created(tags={"k" * 4097: "v"}), 400, "4096"),
    ("promise.create", created(tags={"k": 1}), 400, "$.tags"),
    ("promise.create", created(tags=[]), 400, "$.tags"),
    ("promise.create", tagged(origin="other"), 400, "does not extend its resonate:origin"),
    ("promise.create", tagged(branch="other"), 400, "does not extend its resonate:branch"),
    ("promise.create", tagged(parent="other"), 400, "does not extend its resonate:parent"),
    ("promise.create", tagged(delay="soon", target="poll://any@g"), 400, "resonate:delay"),
    ("promise.create", tagged(delay="9" * 5000, target="poll://any@g"), 400, ""),
    ("promise.create", tagged(delay="10"), 400, "needs resonate:target"),
    ("promise.create", created(param={"headers": {f"h{n}": "" for n in range(65)}}), 400, "64 headers"),
]
ADDRESSES: list[Case] = [
    ("promise.create", tagged(target=text), 400, "Invalid resonate:target address")
    for text in (
        "",
        "g",
        "poll://g",
        "poll://one@g",
        "poll://any@",
        "ftp://h/x",
        "http://",
        "http://[::1/x",
        "bash://x",
    )
] + [
    ("promise.register_listener", {"awaited": "root", "address": text}, 400, "ddress")
    for text in ("", "poll://any@", "javascript:alert(1)", "poll://any@" + "g" * 5000)
]
SEARCHES: list[Case] = [
    (kind, data, 400, message)
    for kind in ("promise.search", "task.search")
    for data, message in (
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "10"}, "limit"),
        ({"state": "lost"}, "state"),
        ({"cursor": ""}, "Invalid cursor"),
        ({"cursor": "a\x00"}, "Invalid cursor"),
        ({"cursor": "x" * 1025}, "Invalid cursor"),
        ({"cursor": 7}, "cursor"),
    )
]
NESTED: list[Case] = [
    ("task.create", {"pid": "p", "ttl": 1, "action": SETTLE}, 400, "expected promise.create"),
    ("task.create", {"pid": "p", "ttl": 1, "action": {"kind": "promise.create"}}, 400, "data"),
    ("task.create", {"pid": "p", "ttl": 1, "action": ACTION | {"data": CREATE}}, 400, "resonate:target"),
    ("task.fulfill", {"id": "root", "version": 1, "action": ACTION}, 400, "expected promise.settle"),
    ("task.fulfill", {"id": "other", "version": 1, "action": SETTLE}, 400, "its own promise"),
    ("task.fence", {"id": "root", "version": 1, "action": CALLBACK}, 400, "cannot be fenced"),
    ("task.fence", {"id": "root", "version": 1, "action": SETTLE}, 400, "another promise than its own"),
    ("task.suspend", {"id": "root", "version": 1, "actions": []}, 400, "actions"),
    ("task.suspend", {"id": "other", "version": 1, "actions": [CALLBACK]}, 400, "is not the task"),
    (
        "task.suspend",
        {"id": "root", "version": 1, "actions": [SETTLE]},
        400,
        "expected promise.register_callback",
    ),
    ("promise.settle", {"id": "root", "state": "pending"}, 400, "state must be"),
    ("promise.settle", {"id": "root", "state": "rejected_timedout"}, 400, "state must be"),
    ("promise.settle", {"id": "root", "state": "RESOLVED"}, 400, "state"),
    ("no.such", {}, 400, "Unknown operation: no.such"),
    ("", {}, 400, "kind is empty"),
]
SCHEDULE = {
    "id": "s",
    "cron": "* * * * *",
    "promiseId": "{{.id}}-{{.timestamp}}",
    "promiseTimeout": 1,
    "promiseTags": TARGET,
}
SCHEDULES: list[Case] = (
    [
        ("schedule.create", SCHEDULE | {"cron": text}, 400, "Invalid cron")
        for text in (
            "",
            "every minute",
            "* * * *",
            "61 * * * *",
            "0 0 30 2 *",
            "* * * * * * * *",
            "*/0 * * * *",
        )
    ]
    + [
        ("schedule.create", SCHEDULE | changes, 400, message)
        for changes, message in (
            ({"cron": 5}, "cron"),
            ({"id": "a.b"}, "must not contain '.'"),
            ({"id": ""}, "the id is empty"),
            ({"promiseId": ""}, "Invalid promiseId"),
            ({"promiseId": "x" * 1025}, "Invalid promiseId"),
            ({"promiseTimeout": -1}, "promiseTimeout"),
            ({"promiseTags": {}}, "must include resonate:target"),
            ({"promiseTags": {"resonate:target": "nowhere"}}, "Invalid resonate:target address"),
            ({"promiseTags": TARGET | {"resonate:delay": "5"}}, "take no resonate:delay"),
            ({"timeZone": "Middle/Earth"}, "Middle/Earth"),
            ({"catchUp": "some"}, "catchUp"),
        )
    ]
    + [
        ("schedule.search", {"limit": 0}, 400, "limit"),
        ("schedule.search", {"cursor": "a\x00"}, 400, "Invalid cursor"),
        ("schedule.get", {"id": "nobody"}, 404, "Schedule not found"),
        ("schedule.delete", {"id": "nobody"}, 404, "Schedule not found"),
    ]
)
CASES = IDS + NUMBERS + TAGS + ADDRESSES + SEARCHES + NESTED + SCHEDULES


@pytest.fixture
async def world() -> AsyncIterator[tuple[str, Engine]]:
    async with (
        Engine(open_store("memory://"), ManualClock()) as engine,
        served(engine, body_bytes_max=LIMIT) as url,
    ):
        await engine.handle(c.PromiseCreate(id="root", timeout_at=FAR, tags=TARGET))
        await engine.handle(c.PromiseCreate(id="root:1", timeout_at=FAR))
        yield url, engine


async def seen(engine: Engine) -> Any:
    promises = await engine.handle(c.PromiseSearch(limit=1000))
    tasks = await engine.handle(c.TaskSearch(limit=1000))
    return promises, tasks, await engine.handle(ScheduleSearch(limit=1000))


async def test_each_bad_input_has_its_status_and_message_and_changes_nothing(
    world: tuple[str, Engine],
) -> None:
    url, engine = world
    before = await seen(engine)
    async with aiohttp.ClientSession() as session:
        for kind, data, status, message in CASES:
            case = f"{kind} {str(data)[:200]}"
            async with session.post(url, data=envelope(kind, data)) as response:
                answer = json.loads(await response.read())
            assert response.status == answer["head"]["status"] == status, f"{case}: {answer}"
            assert message in answer["data"], f"{case}: {answer['data']}"
            assert 0 < len(answer["data"]) < 10_000, case
            assert await seen(engine) == before, case


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "Invalid request"),
        (b"not json", 400, "Invalid request"),
        (b'{"kind":"promise.get"', 400, "Invalid request"),
        (b'\xff\xfe{"kind"', 400, "Invalid request"),
        (b"[" * 5000, 400, "nested deeper"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, 400, "nested deeper"),
        (envelope("promise.get", [[[[1]]]]), 400, "promise.get"),
        (envelope("promise.get", {"id": "a"}, version="1"), 400, "Unsupported version"),
        (envelope("promise.get", {"id": "a"}, version=1), 400, "Invalid request"),
        (envelope("promise.get", {"id": "a"}, corrId=7), 400, "Invalid request"),
        (envelope("promise.get", {"id": "a"}, auth=7), 400, "Invalid request"),
        (b'{"kind":"promise.get","head":null,"data":{}}', 400, "Invalid request"),
        (envelope("promise.create", created(param={"data": "x" * LIMIT})), 413, str(LIMIT)),
        (b" " * (LIMIT + 1), 413, str(LIMIT)),
    ],
)
async def test_a_body_that_is_no_request(
    world: tuple[str, Engine], body: bytes, status: int, message: str
) -> None:
    url, engine = world
    before = await seen(engine)
    async with aiohttp.ClientSession() as session, session.post(url, data=body) as response:
        answer = json.loads(await response.read())
    assert response.status == answer["head"]["status"] == status
    assert message in answer["data"]
    assert await seen(engine) == before


async def test_lists_are_bounded() -> None:
    references = [{"id": "a", "version": 1}] * 10_001
    callbacks = [CALLBACK] * 10_001
    async with (
        Engine(open_store("memory://"), ManualClock()) as engine,
        served(engine) as url,
        aiohttp.ClientSession() as session,
    ):
        for kind, data, message in (
            ("task.heartbeat", {"pid": "p", "tasks": references}, "more than 10000 tasks"),
            ("task.suspend", {"id": "root", "version": 1, "actions": callbacks}, "1 to 10000"),
        ):
            async with session.post(url, data=envelope(kind, data)) as response:
                assert response.status == 400
                assert message in json.loads(await response.read())["data"]


@pytest.mark.parametrize(
    "path", ["/nowhere", "/poll", "/poll/g", "/poll/g/m/x", "/proofs", "/../etc/passwd", "/%00"]
)
async def test_paths_that_are_none(world: tuple[str, Engine], path: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(world[0] + path) as response:
        assert response.status in (400, 404)


@pytest.mark.parametrize("promise_id", ["nobody", "x" * 1025, "a%00b", "%F0%9F%92%A9", "%FF"])
async def test_proofs_of_what_is_not_there(world: tuple[str, Engine], promise_id: str) -> None:
    url = URL(f"{world[0]}/proofs/{promise_id}", encoded=True)
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status in (400, 404)
        assert (await response.json())["error"]
