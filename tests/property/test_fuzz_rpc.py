"""The endpoint under structured garbage: every operation, right in form or wrong in a place or two.

Whatever is sent, an envelope with a known status comes back in time; what was refused has changed nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from msgspec import inspect

from orchestrator.engine import Engine, ManualClock
from orchestrator.protocol import commands as c
from orchestrator.server import ServerSettings, create_app, listening
from orchestrator.store import open_store
from tests.integration.auth_support import VERSION

STATUSES = {200, 300, 400, 403, 404, 409, 422}
TIMEOUT_S = 10.0
FAR = 2**50
IDS = st.sampled_from(["a", "a:1", "a:1.2", "a.1", "b", "b:1", "c", "é", "a/b?c#d", "x" * 1024])
TARGETS = st.sampled_from(["poll://any@g", "poll://any@g/m", "poll://uni@g/m", "http://127.0.0.1:1/x"])
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(
        ["", "\x00", "x" * 1025, "a" * 5000, "poll://", "poll://any@", "-1", "\ud7ff", "1e999"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "id": IDS,
    "awaited": IDS,
    "awaiter": IDS,
    "pid": st.sampled_from(["w1", "w2"]),
    "address": TARGETS,
    "ttl": st.sampled_from([1, 1000, 2**53 - 1]),
    "version": st.integers(0, 3),
    "limit": st.integers(1, 1000),
    "cursor": IDS,
    "timeoutAt": st.sampled_from([0, 1, FAR, 2**63 - 1]),
    "createdAt": st.sampled_from([0, 1]),
    "tags": st.fixed_dictionaries(
        {},
        optional={
            "resonate:target": TARGETS,
            "resonate:timer": st.sampled_from(["true", "false"]),
            "resonate:scope": st.sampled_from(["local", "global"]),
            "resonate:external": st.just("true"),
            "own": st.text(max_size=5),
        },
    ),
}


def plausible(kind: inspect.Type, name: str = "") -> st.SearchStrategy[Any]:
    """Values of a type, as they stand on the wire."""
    if isinstance(kind, inspect.UnionType):
        return st.one_of([plausible(each, name) for each in kind.types])
    if isinstance(kind, inspect.StructType):
        return structure(kind.cls)
    if isinstance(kind, inspect.ListType):
        return st.lists(plausible(kind.item_type), max_size=3)
    if name in BY_NAME and not isinstance(kind, inspect.NoneType):
        return BY_NAME[name]
    if isinstance(kind, inspect.EnumType):
        return st.sampled_from([member.value for member in kind.cls])
    leaves: dict[type, st.SearchStrategy[Any]] = {
        inspect.DictType: st.dictionaries(st.sampled_from(["k", "l"]), st.text(max_size=5), max_size=2),
        inspect.StrType: st.text(max_size=10),
        inspect.IntType: st.integers(0, 10),
        inspect.BoolType: st.booleans(),
        inspect.NoneType: st.none(),
    }
    return leaves.get(type(kind), JUNK)


def structure(cls: type) -> st.SearchStrategy[Any]:
    """Objects of a struct; a command inside of another travels in an envelope of its own."""
    info = inspect.type_info(cls) if not issubclass(cls, c.Command) else None
    fields = info.fields if isinstance(info, inspect.StructType) else _fields(cls)
    required = {each.encode_name: plausible(each.type, each.encode_name) for each in fields if each.required}
    optional = {
        each.encode_name: plausible(each.type, each.encode_name) for each in fields if not each.required
    }
    data = st.fixed_dictionaries(required, optional=optional)
    return data if info is not None else data.map(lambda each: {"kind": cls.KIND, "head": {}, "data": each})


class _Field:
    def __init__(self, name: str, encode_name: str, kind: Any, required: bool) -> None:
        self.name, self.encode_name, self.type, self.required = name, encode_name, kind, required


def _fields(cls: Any) -> list[Any]:
    """The fields of a command; a union of commands is more than the library describes at once."""
    found = []
    for field in msgspec.structs.fields(cls):
        members = getattr(field.type, "__args__", ())
        if members and all(isinstance(each, type) and issubclass(each, c.Command) for each in members):
            if getattr(field.type, "__origin__", None) is list:
                kind: Any = inspect.ListType(item_type=inspect.StructType(members[0], fields=()))
            else:
                kind = inspect.UnionType(types=tuple(inspect.StructType(each, fields=()) for each in members))
        elif isinstance(field.type, type) and issubclass(field.type, c.Command):
            kind = inspect.StructType(field.type, fields=())
        else:
            kind = inspect.type_info(field.type)
        found.append(_Field(field.name, field.encode_name, kind, field.required))
    return found


@st.composite
def requests(draw: st.DrawFn, damages: tuple[int, ...] = (0,)) -> Any:
    """One request, broken in so many places."""
    kind = draw(st.sampled_from(sorted(c.COMMANDS)))
    request = draw(structure(c.COMMANDS[kind])) | {"head": {"corrId": "f", "version": VERSION}}
    for _ in range(draw(st.sampled_from(damages))):
        request = damaged(draw, request)
    return request


def damaged(draw: st.DrawFn, value: Any) -> Any:
    """Replace, drop or add something at a random place."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        return value | {key: damaged(draw, value[key])}
    if isinstance(value, list) and value and draw(st.booleans()):
        return [damaged(draw, value[0]), *value[1:]]
    if isinstance(value, dict) and value and draw(st.booleans()):
        dropped = draw(st.sampled_from(sorted(value)))
        return {key: each for key, each in value.items() if key != dropped}
    if isinstance(value, dict) and draw(st.booleans()):
        return value | {draw(st.text(max_size=5)): draw(JUNK)}
    return draw(JUNK)


class Target:
    """A server on a loop that runs only while it is asked."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.statuses: dict[int, int] = {}
        self.fuzzed: set[str] = set()
        """The ways in which requests were made here: the tests may be spread over processes."""
        self._life: Any = None

    async def open(self, store: str, way: str) -> None:
        self._engine = Engine(open_store(store), ManualClock())
        await self._engine.__aenter__()
        self._life = listening(create_app(self._engine, ServerSettings(port=0, shutdown_s=1)))
        self.url = await self._life.__aenter__()
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        self.channel = await self.session.ws_connect(f"{self.url}/channel") if way == "channel" else None

    async def close(self) -> None:
        if self.channel is not None:
            await self.channel.close()
        await self.session.close()
        await self._life.__aexit__(None, None, None)
        await self._engine.__aexit__(None, None, None)

    async def send(self, body: bytes) -> tuple[int, Any]:
        if self.channel is not None:
            await self.channel.send_bytes(body.replace(b"\n", b" "))
            answer = json.loads(await self.channel.receive_bytes(timeout=TIMEOUT_S))
            return answer["head"]["status"], answer
        async with self.session.post(self.url, data=body) as response:
            return response.status, json.loads(await response.read())

    async def state(self) -> Any:
        """All that can be seen of the store."""
        promises = await self._engine.handle(c.PromiseSearch(limit=1000))
        tasks = await self._engine.handle(c.TaskSearch(limit=1000))
        assert promises.cursor is None
        return promises.promises, tasks.tasks

    async def check(self, body: bytes) -> int:
        """Send a request; hold the answer and what it did to what every answer must be."""
        before = await self.state()
        status, answer = await self.send(body)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        assert set(answer) == {"kind", "head", "data"}
        assert answer["head"]["status"] == status
        assert status in STATUSES, answer
        assert isinstance(answer["data"], (dict, list) if status in (200, 300) else str)
        if status not in (200, 300):
            assert answer["data"]
            assert await self.state() == before, "a refused request changed the state"
        return status


@pytest.fixture(
    scope="module",
    params=[("memory://", "http"), ("sqlite:///:memory:", "http"), ("sqlite:///:memory:", "channel")],
    ids=" by ".join,
)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    loop = asyncio.new_event_loop()
    made = Target(loop)
    loop.run_until_complete(made.open(*request.param))
    yield made
    loop.run_until_complete(made.close())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(request=requests())
def test_requests_of_the_right_form(target: Target, request: Any) -> None:
    target.fuzzed.add("requests_of_the_right_form")
    note(f"{request}")
    target.loop.run_until_complete(target.check(json.dumps(request).encode()))


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(request=requests(damages=(1, 1, 2, 3)))
def test_structured_garbage(target: Target, request: Any) -> None:
    target.fuzzed.add("structured_garbage")
    note(f"{request}")
    target.loop.run_until_complete(target.check(json.dumps(request).encode()))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(request=requests(), seed=st.integers(0, 2**32), places=st.integers(1, 5))
def test_damaged_bytes(target: Target, request: Any, seed: int, places: int) -> None:
    target.fuzzed.add("damaged_bytes")
    body, chance = bytearray(json.dumps(request).encode()), random.Random(seed)  # noqa: S311 - no secret
    for _ in range(places):
        at = chance.randrange(len(body) + 1)
        body[at : at + chance.randint(0, 4)] = chance.randbytes(chance.randint(0, 4))
    note(f"{bytes(body)!r}")
    target.loop.run_until_complete(target.check(bytes(body)))


def test_the_fuzzing_reached_both_sides(target: Target) -> None:
    """Garbage that is always refused, or never, would test nothing."""
    if len(target.fuzzed) < 3:
        pytest.skip("runs after the tests above, in one process with them")
    assert target.statuses.get(200, 0) > 10, target.statuses
    assert target.statuses.get(400, 0) > 10, target.statuses
    assert target.statuses.get(404, 0) + target.statuses.get(409, 0) > 5, target.statuses
