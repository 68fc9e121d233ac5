"""Durable functions by plain HTTP: idempotent, long-polled, settled with checks, followed, guarded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request

from orchestrator import Context, Info, Keyring, Never, Orchestrator
from orchestrator.client import progress
from orchestrator.domain.errors import Refused
from orchestrator.engine import Engine
from orchestrator.server import Gateway, GatewaySettings, Guard, ServerMisconfigured
from orchestrator.server.gateway_access import guard_of
from orchestrator.store.memory import MemoryStore
from orchestrator.transport.local import LocalTransport

TOKEN = "a-token-of-the-gateway"
TIMEOUT_S = 20


async def add(first: int, second: int) -> int:
    return first + second


async def broken() -> None:
    raise ValueError("out of order")


async def approved(ctx: Context, name: str) -> str:
    first = await ctx.run(add, 1, 2)
    answer = await ctx.promise(f"approval-{name}")
    return f"{first} {answer}"


class Site:
    """A web application with a gateway in it, and a client for it."""

    def __init__(self, url: str, session: aiohttp.ClientSession, app: Orchestrator) -> None:
        self.url = url
        self.session = session
        self.app = app

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any, Any]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        async with self.session.request(method, self.url + path, data=data, headers=names) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None, response.headers


@asynccontextmanager
async def opened(
    *,
    app: Orchestrator | None = None,
    token: str | None = None,
    guard: Guard | None = None,
    **settings: Any,
) -> AsyncIterator[Site]:
    app = app or Orchestrator.local(":memory:")
    for function in (add, broken, approved):
        app.register(function, retry=Never())
    functions = {"add": app, "broken": app, "approved": app.options(timeout_s=60)}
    chosen = GatewaySettings(**({"look_s": 0.02} | settings))
    site = web.Application()
    site.add_subapp(
        "/durable", Gateway(app, functions, token=token, guard=guard, settings=chosen).application()
    )
    async with (
        app,
        asyncio.timeout(TIMEOUT_S),
        aiohttp.ClientSession() as session,
        TestServer(site) as server,
    ):
        yield Site(str(server.make_url("/durable")), session, app)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with opened() as made:
        yield made


async def test_a_function_is_invoked_once_by_its_key(site: Site) -> None:
    status, body, headers = await site.ask(
        "POST", "/add?wait=5", {"first": 1, "second": 2}, Idempotency_Key="a-1"
    )
    assert (status, body) == (200, {"id": "a-1", "state": "resolved", "value": 3})
    assert headers["Location"] == "/durable/a-1"
    again = await site.ask("POST", "/add/a-1", {"first": 1, "second": 2})
    assert again[:2] == (status, body)
    assert (await site.ask("GET", headers["Location"].removeprefix("/durable")))[1] == body


async def test_without_a_key_each_request_is_a_call_of_its_own(site: Site) -> None:
    first, second = [await site.ask("POST", "/add?wait=5", [1, 2]) for _ in range(2)]
    assert first[1]["value"] == second[1]["value"] == 3
    assert first[1]["id"] != second[1]["id"]


async def test_an_id_is_not_taken_for_another_call(site: Site) -> None:
    assert (await site.ask("POST", "/add/a-1?wait=5", [1, 2]))[0] == 200
    for path, body in (("/add/a-1", [1, 3]), ("/broken/a-1", None), ("/add/a-1", {"first": 1, "second": 2})):
        status, answer, _ = await site.ask("POST", path, body)
        assert status == 409, path
        assert "a-1 exists" in answer["error"]


async def test_a_failure_is_told_with_type_and_message(site: Site) -> None:
    status, body, _ = await site.ask("POST", "/broken/b-1?wait=5")
    assert (status, body["state"]) == (200, "rejected")
    assert (body["error"]["name"], body["error"]["message"]) == ("ValueError", "out of order")


async def test_what_takes_its_time_is_answered_by_where_to_ask(site: Site) -> None:
    status, body, headers = await site.ask("POST", "/approved/w-1", ["w-1"])
    assert (status, body) == (202, {"id": "w-1", "state": "pending"})
    pending = await site.ask("GET", "/w-1?wait=0.05")
    assert pending[0] == 202
    waiting = asyncio.create_task(site.ask("GET", "/w-1?wait=10", If_None_Match=pending[2]["ETag"]))
    await site.app.promises.create("approval-w-1")
    settled = await site.ask("POST", "/approval-w-1/resolve", "yes")
    assert settled[:2] == (200, {"id": "approval-w-1", "state": "resolved", "value": "yes"})
    status, body, headers = await waiting
    assert (status, body["value"]) == (200, "3 yes")
    unchanged = await site.ask("GET", "/w-1", If_None_Match=headers["ETag"])
    assert unchanged[:2] == (304, None)


async def test_settling_is_checked(site: Site) -> None:
    await site.ask("POST", "/approved/w-1", ["w-1"])
    status, answer, _ = await site.ask("POST", "/w-1/resolve", "mine")
    assert (status, "is settled by the function" in answer["error"]) == (403, True)
    assert (await site.ask("POST", "/nobody/resolve", "yes"))[0] == 404
    await site.app.promises.create("open-1")
    assert (await site.ask("POST", "/open-1/reject"))[0] == 400
    status, answer, _ = await site.ask("POST", "/open-1/reject", {"message": "no money"})
    assert (status, answer["error"]["message"]) == (200, "no money")
    assert (await site.ask("POST", "/open-1/resolve", "yes"))[0] == 409
    await site.app.promises.create("open-2")
    values = [(await site.ask("POST", "/open-2/resolve", value))[0] for value in (7, 7, 8)]
    assert values == [200, 200, 409]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/unknown", None, 404),
        ("POST", "/add/a:1", [1, 2], 400),
        ("POST", "/add", b"{", 400),
        ("POST", "/add", b"[" * 1_000, 400),
        ("POST", "/add", b"7", 400),
        ("POST", "/add", b"\xff", 400),
        ("POST", "/add?wait=soon", [1, 2], 400),
        ("POST", "/add?wait=-1", [1, 2], 400),
        ("POST", "/add?wait=nan", [1, 2], 400),
        ("POST", "/add", b'"' + b"x" * 5_000 + b'"', 413),
        ("GET", "/nobody", None, 404),
        ("GET", "/nobody/events", None, 404),
        ("DELETE", "/a-1", None, 405),
    ],
)
async def test_what_is_wrong_with_a_request_is_said(
    method: str, path: str, body: object, status: int
) -> None:
    async with (
        opened(body_bytes_max=4_000) as site,
        site.session.request(
            method, site.url + path, data=body if isinstance(body, bytes) else json.dumps(body)
        ) as response,
    ):
        assert response.status == status
        if status != 405:
            assert (await response.json())["error"]


async def events(site: Site, promise_id: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the data of what the stream of a promise tells."""
    async with site.session.get(f"{site.url}/{promise_id}/events") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        name = ""
        async for line in response.content:
            if line.startswith(b"event: "):
                name = line[7:].decode().strip()
            elif line.startswith(b"data: "):
                yield name, json.loads(line[6:])


async def test_progress_is_followed_to_the_end(site: Site) -> None:
    await site.ask("POST", "/approved/w-1", ["w-1"])
    heard = []
    async for name, event in events(site, "w-1"):
        heard.append((name, event))
        if event["id"] == "w-1:1" and event["state"] == "resolved":
            await site.app.promises.create("approval-w-1")
            await site.app.promises.resolve("approval-w-1", "yes")
    told = [(name, event["id"], event["state"]) for name, event in heard]
    assert told[-1] == ("end", "w-1", "resolved")
    assert told.count(("promise", "w-1:1", "resolved")) == 1
    assert ("promise", "w-1", "resolved") in told
    assert {event["what"] for _, event in heard} == {"call of approved version 1", "step add version 1"}


class Noting:
    """Functions of which a step notes what it is told to, one after the other."""

    def __init__(self) -> None:
        self.wanted = asyncio.Queue[object]()

    async def rows(self, info: Info) -> str:
        while (wanted := await self.wanted.get()) is not None:
            info.heartbeat(wanted)
        return "all"

    async def imported(self, ctx: Context) -> str:
        return await ctx.run(self.rows)

    def added_to(self, app: Orchestrator) -> Orchestrator:
        app.register(self.rows)
        app.register(self.imported)
        return app


async def notes(site: Site, noting: Noting) -> list[Any]:
    """Return what two viewers are told of two notes of a running step; the second viewer comes late."""
    told = list[Any]()
    noting.wanted.put_nowait({"row": 1})
    async for name, event in events(site, "w"):
        if name != "progress":
            continue
        told.append(event)
        if len(told) == 1:
            noting.wanted.put_nowait({"row": "x" * 5_000})
            continue
        told.append(await anext(event async for name, event in events(site, "w") if name == "progress"))
        noting.wanted.put_nowait(None)
    assert {(event["id"], event["what"]) for event in told} == {("w:1", "step rows version 1")}
    return [{key: event[key] for key in event.keys() - {"id", "what"}} for event in told]


@pytest.mark.parametrize("keys", [None, Keyring({"k": bytes(32)})], ids=["plain", "encrypted"])
async def test_what_a_running_step_notes_is_told(
    monkeypatch: pytest.MonkeyPatch, keys: Keyring | None
) -> None:
    monkeypatch.setattr(progress, "INTERVAL_S", 0.01)
    noting = Noting()
    async with opened(app=noting.added_to(Orchestrator.local(":memory:", encryptor=keys))) as site:
        await site.app.begin_run("w", noting.imported)
        second = {"progress": {"row": "x" * 5_000}}
        assert await notes(site, noting) == [{"progress": {"row": 1}}, second, second]


async def test_progress_that_is_too_large_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL_S", 0.01)
    noting = Noting()
    mine = noting.added_to(Orchestrator.local(":memory:"))
    async with opened(app=mine, progress_bytes_max=4_000) as site:
        await site.app.begin_run("w", noting.imported)
        withheld = {"withheld": "it has more than 4000 bytes"}
        assert await notes(site, noting) == [{"progress": {"row": 1}}, withheld, withheld]


async def test_what_the_gateway_has_no_key_for_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL_S", 0.01)
    noting, keys = Noting(), Keyring({"k": bytes(32)})
    async with Engine(MemoryStore()) as engine:
        transport = LocalTransport(engine)
        worker = noting.added_to(Orchestrator(transport=transport, encryptor=keys))
        async with worker, opened(app=Orchestrator(transport=transport, group="gateway")) as site:
            handle = await worker.begin_run("w", noting.imported)
            reason = "this process has no keys; give an encryptor"
            withheld = {"withheld": f"the progress of w:1 is encrypted with key 'k': {reason}"}
            assert await notes(site, noting) == [withheld] * 3
            assert await handle.result() == "all"
            status, answer, _ = await site.ask("GET", "/w")
            assert (status, "the value of w is encrypted with key 'k'" in answer["error"]) == (500, True)


async def test_only_ids_with_the_prefix_pass() -> None:
    async with opened(prefix="shop-") as site:
        await site.app.promises.create("other-1")
        assert (await site.ask("GET", "/other-1"))[0] == 403
        assert (await site.ask("POST", "/other-1/resolve"))[0] == 403
        assert (await site.ask("POST", "/add/other-2", [1, 2]))[0] == 403
        status, body, _ = await site.ask("POST", "/add?wait=5", [1, 2])
        assert (status, body["id"].startswith("shop-")) == (200, True)


async def test_a_token_is_asked_for_everywhere() -> None:
    async with opened(token=TOKEN) as site:
        for method, path in (
            ("POST", "/add"),
            ("GET", "/a-1"),
            ("POST", "/a-1/resolve"),
            ("GET", "/a-1/events"),
        ):
            assert (await site.ask(method, path))[0] == 401
            assert (await site.ask(method, path, Authorization="Bearer wrong"))[0] == 401
        assert (await site.ask("POST", "/add?wait=5", [1, 2], Authorization=f"Bearer {TOKEN}"))[0] == 200


async def test_a_guard_of_the_application_takes_the_place_of_a_token() -> None:
    async def guard(request: web.Request) -> None:
        if request.headers.get("X-User") != "ada":
            raise Refused(403, "Forbidden: only Ada")

    async with opened(guard=guard) as site:
        assert (await site.ask("POST", "/add", [1, 2]))[0] == 403
        assert (await site.ask("POST", "/add?wait=5", [1, 2], X_User="ada"))[0] == 200


@pytest.mark.parametrize(
    ("remote", "headers", "passes"),
    [
        ("127.0.0.1", {"Host": "localhost:80"}, True),
        ("::1", {"Host": "[::1]:80"}, True),
        ("10.0.0.7", {"Host": "localhost"}, False),
        ("", {"Host": "localhost"}, False),
        ("127.0.0.1", {"Host": "gateway.example"}, False),
        ("127.0.0.1", {"Host": "localhost", "Origin": "https://evil.example"}, False),
        ("127.0.0.1", {"Host": "localhost", "X-Forwarded-For": "10.0.0.7"}, False),
    ],
)
async def test_without_a_token_only_this_machine_is_answered(
    remote: str, headers: dict[str, str], passes: bool
) -> None:
    request = make_mocked_request("GET", "/a-1", headers=headers).clone(remote=remote)
    if passes:
        await guard_of(None, None)(request)
    else:
        with pytest.raises(Refused) as refused:
            await guard_of(None, None)(request)
        assert refused.value.status == 403


def test_a_short_token_is_no_token() -> None:
    with pytest.raises(ServerMisconfigured, match="at least 16"):
        guard_of("short", None)


async def test_those_who_wait_are_answered_when_the_site_stops() -> None:
    async with opened() as site:
        await site.ask("POST", "/approved/w-1", ["w-1"])
        waiting = asyncio.create_task(site.ask("GET", "/w-1?wait=60"))
        streaming = asyncio.create_task(site.ask("GET", "/nobody/events"))
        await asyncio.sleep(0.05)
    assert (await waiting)[0] == 202
    assert (await streaming)[0] == 404


async def test_waiting_is_bounded() -> None:
    async with opened(waiting_max=1) as site:
        await site.ask("POST", "/approved/w-1", ["w-1"])
        asked = [asyncio.create_task(site.ask("GET", "/w-1?wait=50")) for _ in range(3)]
        refused = asyncio.as_completed(asked)
        for _ in range(2):
            status, _, headers = await next(refused)
            assert (status, bool(headers["Retry-After"])) == (503, True)
        await site.app.promises.create("approval-w-1")
        await site.app.promises.resolve("approval-w-1", "yes")
        assert (await next(refused))[0] == 200
