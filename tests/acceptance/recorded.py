"""Concurrent clients of live servers that write down what they asked, when, and what they were answered.

Ids are few, so that clients meet; after CALLS_MAX calls an origin is left and another takes its place, so
that each can be checked by itself. Deadlines and leases are far away, or have passed long ago: nothing that
is seen depends on when it is looked at.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from time import perf_counter

import aiohttp
import msgspec

from orchestrator.protocol.envelope import VERSION
from tests.engine_oracle import Json
from tests.linearizability import Answer, Call, origin_of

FAR = 2**50
CALLS_MAX = 150
ORIGINS = 3
CHILDREN = (":1", ":2", ":1.1")
PIDS = ("w1", "w2")
TARGET = "poll://any@nobody"
TIMEOUT_S = 20.0
IMPATIENT = 0.02
"""The share of calls whose client hangs up before it can have been answered."""
AWAY_PAUSE_S = 0.02


class Script:
    """What is asked next: mostly something that can succeed, as far as the answers so far tell.

    `answered` counts the answers by (kind, status).
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.answered = Counter[tuple[str, int]]()
        self._count = 0
        self._started = 0
        self._asked: dict[str, int] = {}
        self._origins: list[str] = []
        self._tasks: dict[str, tuple[str, int]] = {}
        for _ in range(ORIGINS):
            self._origins.append(self._fresh())

    def _fresh(self) -> str:
        self._started += 1
        return f"o{self._started}"

    def _mark(self) -> str:
        self._count += 1
        return str(self._count)

    def request(self) -> Json:
        """Return the next request."""
        place = self.chance.randrange(ORIGINS)
        origin = self._origins[place]
        self._asked[origin] = self._asked.get(origin, 0) + 1
        if self._asked[origin] >= CALLS_MAX:
            self._origins[place] = self._fresh()
        kind, data = self._pick(origin)
        return {"kind": kind, "data": data}

    def origins(self) -> list[str]:
        """Return all origins that were used."""
        return [f"o{number + 1}" for number in range(self._started)]

    def _key(self, origin: str) -> str:
        return self.chance.choice([origin, origin, *(origin + child for child in CHILDREN)])

    def _held(self, origin: str) -> tuple[str, str, int]:
        key = self._key(origin)
        state, version = self._tasks.get(key, ("none", 0))
        return key, state, version + (self.chance.choice([-1, 1]) if self.chance.random() < 0.05 else 0)

    def _pick(self, origin: str) -> tuple[str, Json]:
        key, state, version = self._held(origin)
        own: Json = {"id": key, "version": max(version, 0)}
        likely: dict[str, list[Callable[[], tuple[str, Json]]]] = {
            "none": [
                lambda: ("promise.create", self._create(key)),
                lambda: ("task.create", self._claim(key)),
            ],
            "pending": [lambda: ("task.acquire", {**own, "pid": self.chance.choice(PIDS), "ttl": FAR})],
            "acquired": [
                lambda: ("task.suspend", self._suspend(own)),
                lambda: ("task.fence", {**own, "action": self._inner(origin)}),
                lambda: ("task.fence", {**own, "action": self._inner(origin)}),
                lambda: ("task.release", own),
                lambda: ("task.fulfill", {**own, "action": _action("promise.settle", self._settle(key))}),
                lambda: ("task.heartbeat", {"pid": self.chance.choice(PIDS), "tasks": [own]}),
            ],
            "suspended": [lambda: ("promise.settle", self._settle(origin + self.chance.choice(CHILDREN)))],
            "halted": [lambda: ("task.continue", {"id": key})],
            "fulfilled": [],
        }
        anyhow: list[Callable[[], tuple[str, Json]]] = [
            lambda: ("promise.get", {"id": key}),
            lambda: ("promise.create", self._create(key)),
            lambda: ("promise.settle", self._settle(self._key(origin))),
            lambda: ("promise.register_callback", {"awaited": self._key(origin), "awaiter": key}),
            lambda: ("promise.register_listener", {"awaited": key, "address": "poll://any@listeners"}),
            lambda: ("promise.search", {"tags": {"resonate:origin": origin}, "limit": 1000}),
            lambda: ("task.get", {"id": key}),
            lambda: ("task.create", self._claim(key)),
            lambda: ("task.acquire", {**own, "pid": self.chance.choice(PIDS), "ttl": FAR}),
            lambda: ("task.halt", {"id": key}),
            lambda: self._end(key),
            lambda: ("task.continue", {"id": key}),
            lambda: ("task.release", own),
        ]
        return self.chance.choice(likely[state] * 3 + anyhow)()

    def _create(self, key: str) -> Json:
        tags = {"resonate:origin": key.partition(":")[0]}
        if self.chance.random() < 0.75:
            tags["resonate:target"] = TARGET
        if self.chance.random() < 0.3:
            tags["resonate:branch"] = key.partition(":")[0]
        over = self.chance.random() < 0.03
        return {"id": key, "timeoutAt": 0 if over else FAR, "param": {"data": self._mark()}, "tags": tags}

    def _claim(self, key: str) -> Json:
        data = self._create(key)
        data["tags"]["resonate:target"] = TARGET
        return {"pid": self.chance.choice(PIDS), "ttl": FAR, "action": _action("promise.create", data)}

    def _settle(self, key: str) -> Json:
        state = self.chance.choice(["resolved", "rejected", "rejected_canceled"])
        return {"id": key, "state": state, "value": {"data": self._mark()}}

    def _inner(self, origin: str) -> Json:
        child = origin + self.chance.choice(CHILDREN)
        if self.chance.random() < 0.6:
            return _action("promise.create", self._create(child))
        return _action("promise.settle", self._settle(child))

    def _end(self, key: str) -> tuple[str, Json]:
        return ("promise.terminate" if self.chance.random() < 0.1 else "promise.cancel", {"id": key})

    def _suspend(self, own: Json) -> Json:
        origin = own["id"].partition(":")[0]
        others = [key for key in (origin, *(origin + child for child in CHILDREN)) if key != own["id"]]
        awaited = self.chance.sample(others, self.chance.choice([1, 1, 2]))
        actions = [
            _action("promise.register_callback", {"awaited": key, "awaiter": own["id"]}) for key in awaited
        ]
        return {**own, "actions": actions}

    def learn(self, request: Json, answer: Answer) -> None:
        """Take in what an answer says about a task."""
        status, data = answer
        self.answered[request["kind"], status] += 1
        key = request["data"].get("id", "")
        if status == 200 and "task" in data:
            task = data["task"]
            self._tasks[task["id"]] = (task["state"], task["version"])
        elif status == 200 and request["kind"] in _AFTERWARDS:
            self._tasks[key] = (_AFTERWARDS[request["kind"]], self._tasks.get(key, ("", 0))[1])
        elif status in (404, 409):
            self._tasks.pop(key, None)
        if status == 200 and request["kind"] == "promise.create":
            created = request["data"]
            if "resonate:target" in created["tags"]:
                self._tasks.setdefault(created["id"], ("pending", 0))


_AFTERWARDS = {
    "task.suspend": "suspended",
    "task.release": "pending",
    "task.fulfill": "fulfilled",
    "task.halt": "halted",
    "task.continue": "pending",
}


def _action(kind: str, data: Json) -> Json:
    return {"kind": kind, "head": {"corrId": "x", "version": VERSION}, "data": data}


class Recorder:
    """Asks servers, by HTTP and by channels in turns, and keeps the history."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.calls: list[Call] = []
        self._session = session
        self._idle: defaultdict[str, list[aiohttp.ClientWebSocketResponse]] = defaultdict(list)
        self._turns = itertools.count()

    async def ask(self, url: str, request: Json, patience_s: float = TIMEOUT_S) -> Answer | None:
        """Ask once; None where nobody knows, which is kept, or where nobody was reached, which is not."""
        head = {"corrId": "1", "version": VERSION}
        body = msgspec.json.encode({**request, "head": head})
        sent, answer = perf_counter(), None
        try:
            async with asyncio.timeout(patience_s):
                ask = self._by_channel if next(self._turns) % 2 else self._by_http
                answer = _told(request, await ask(url, body))
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(AWAY_PAUSE_S)
            return None
        except (aiohttp.ClientError, TimeoutError):
            pass
        if answer is None or answer[0] == 503:
            self.calls.append(Call(request=request, sent=sent, where=url))
            return None
        self.calls.append(Call(request=request, sent=sent, answered=perf_counter(), answer=answer, where=url))
        return answer

    async def _by_http(self, url: str, body: bytes) -> bytes:
        async with self._session.post(url, data=body) as response:
            return await response.read()

    async def _by_channel(self, url: str, body: bytes) -> bytes:
        """Ask on a channel that nobody else uses meanwhile; it is kept if it has answered."""
        idle = self._idle[url] = [channel for channel in self._idle[url] if not channel.closed]
        channel = idle.pop() if idle else await self._session.ws_connect(f"{url.rstrip('/')}/channel")
        try:
            await channel.send_bytes(body)
            message = await channel.receive()
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise aiohttp.ServerDisconnectedError
        except BaseException:
            channel._response.close()
            raise
        idle.append(channel)
        return bytes(message.data)

    async def read_everything(self, url: str, script: Script) -> None:
        """Read all that was written: what was acknowledged must be there."""
        for origin in script.origins():
            for kind in ("promise.get", "task.get"):
                for child in ("", *CHILDREN):
                    request = {"kind": kind, "data": {"id": origin + child}}
                    answer = await self.ask(url, request)
                    assert answer is not None, f"{url} does not answer {request}"
                    assert origin_of(request) == origin


def _told(request: Json, body: bytes) -> Answer:
    told = msgspec.json.decode(body)
    status, data = told["head"]["status"], told["data"]
    if status not in (200, 300, 400, 404, 409, 422, 503):
        raise AssertionError(f"{request} was answered {status}: {data}")
    if status not in (200, 300):
        return status, None
    if request["kind"] == "task.fence":
        inner = data["action"]
        found = inner["head"]["status"] == 200
        data["action"] = (inner["kind"], inner["head"]["status"], inner["data"] if found else None)
    return status, data


async def play(
    urls: Callable[[], list[str]], script: Script, clients: int, until: Callable[[], bool]
) -> list[Call]:
    """Let so many clients ask, each at a server of its choice, until told; return the history."""
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        recorder = Recorder(session)

        async def client() -> None:
            while not until():
                request, url = script.request(), script.chance.choice(urls())
                hasty = script.chance.random() < IMPATIENT
                patience_s = script.chance.uniform(0, 0.004) if hasty else TIMEOUT_S
                answer = await recorder.ask(url, request, patience_s)
                if answer is not None:
                    script.learn(request, answer)

        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(client())
        await recorder.read_everything(urls()[0], script)
        return recorder.calls
