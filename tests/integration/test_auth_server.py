"""Tokens, origins and proxies over real HTTP: statuses, what reaches the engine, and what a stream hears."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestrator.domain.errors import Refused
from orchestrator.domain.promise import PromiseState
from orchestrator.engine import Engine
from orchestrator.protocol import commands as c
from orchestrator.protocol.messages import Execute
from orchestrator.protocol.paging import fetch_tree
from orchestrator.server import (
    JwtSettings,
    ServerMisconfigured,
    ServerSettings,
    create_app,
    listening,
    reload,
)
from orchestrator.store import open_store
from orchestrator.transport.http import HttpTransport
from tests.integration.auth_support import ed_signer, envelope, p256_signer, unsigned
from tests.integration.server_support import (
    FAR,
    ScriptedEngine,
    get,
    post,
    promise,
    raw_stream,
    served,
)

TOKEN = "0123456789abcdef-secret"
SIGNER = ed_signer()
CREATE = {"id": "team-a-1", "timeoutAt": FAR}
JSON_TYPE = "application/json"


@pytest.fixture
def key(tmp_path: Path) -> JwtSettings:
    return JwtSettings(public_key=SIGNER.file(tmp_path))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def status_of(url: str, kind: str, data: object, token: str | None) -> int:
    status, answer = await post(url, envelope(kind, data, token))
    assert answer["head"]["status"] == status
    assert answer["kind"] == kind
    return status


async def test_a_token_opens_what_its_prefix_names(key: JwtSettings) -> None:
    engine = ScriptedEngine()
    mine, all_of_it = SIGNER.token(prefix="team-a-"), SIGNER.token(role="admin")
    async with served(engine, jwt=key) as url:
        assert await status_of(url, "promise.create", CREATE, mine) == 200
        assert await status_of(url, "promise.create", CREATE | {"id": "team-b-1"}, mine) == 403
        assert await status_of(url, "promise.create", CREATE | {"id": "team-b-1"}, all_of_it) == 200
        assert await status_of(url, "promise.get", {"id": "team-b-1"}, mine) == 403
        assert await status_of(url, "promise.search", {}, mine) == 403
        assert await status_of(url, "promise.search", {}, all_of_it) == 200
        assert await status_of(url, "promise.get", {"id": "team-a-1"}, SIGNER.token()) == 403
    assert [getattr(command, "id", command.KIND) for command in engine.handled] == [
        "team-a-1",
        "team-b-1",
        "promise.search",
    ]


async def test_the_token_is_asked_before_the_operation_is_known(key: JwtSettings) -> None:
    async with served(ScriptedEngine(), jwt=key) as url:
        for kind, data in (("no.such", {}), ("promise.get", {}), ("promise.get", [])):
            assert await status_of(url, kind, data, None) == 401
            assert await status_of(url, kind, data, "forged") == 401
            assert await status_of(url, kind, data, SIGNER.token(role="admin")) == 400
        assert await status_of(url, "no.such", {}, SIGNER.token(prefix="team-a-")) == 403
        # What is no envelope has no token to check.
        assert (await post(url, b"{"))[0] == 400
        assert (await post(url, envelope("promise.get", CREATE, version="1999-01-01")))[0] == 400


async def test_the_shared_token_is_asked_first_too() -> None:
    async with served(ScriptedEngine(), token=TOKEN) as url:
        assert await status_of(url, "no.such", {}, "wrong") == 401
        assert await status_of(url, "no.such", {}, TOKEN) == 400


async def test_no_forgery_reaches_the_engine(key: JwtSettings) -> None:
    engine = ScriptedEngine()
    forged = (
        unsigned(role="admin"),
        p256_signer().token(role="admin"),
        SIGNER.token(exp=int(time.time()) - 60, role="admin"),
        SIGNER.token(without=("exp",), role="admin"),
        SIGNER.token(role="admin")[:-6] + "AAAAAA",
        "x" * 50_000,
    )
    async with served(engine, jwt=key) as url:
        for token in forged:
            status, answer = await post(url, envelope("promise.create", CREATE, token))
            assert status == 401
            assert answer["data"].startswith("Unauthorized")
            assert token[:40] not in answer["data"]
            for path in ("/metrics", "/proofs/team-a-1", "/poll/g/m"):
                if len(token) < 8000:
                    assert (await get(url, path, **bearer(token)))[0] == 401
    assert engine.handled == []
    assert engine.connections == []


async def test_the_other_routes_ask_for_a_token_unless_opened(key: JwtSettings) -> None:
    mine, all_of_it = SIGNER.token(prefix="team-a-"), SIGNER.token(prefix="")
    async with served(ScriptedEngine(), jwt=key) as url:
        assert [(await get(url, path))[0] for path in ("/health", "/ready", "/openapi.json")] == [200] * 3
        assert [(await get(url, path))[0] for path in ("/metrics", "/proofs/team-a-1", "/poll/g/m")] == [
            401
        ] * 3
        assert (await get(url, "/metrics", **bearer(mine)))[0] == 403
        assert (await get(url, "/metrics", **bearer(all_of_it)))[0] == 200
        assert (await get(url, "/proofs/team-b-1", **bearer(mine)))[0] == 403
        assert (await get(url, "/proofs/team-a-1", **bearer(mine)))[0] == 404
    async with served(ScriptedEngine(), jwt=key, open_metrics=True, open_proofs=True) as url:
        assert (await get(url, "/metrics"))[0] == 200
        assert (await get(url, "/proofs/team-a-1"))[0] == 404
        assert (await get(url, "/poll/g/m"))[0] == 401


async def test_a_call_graph_is_shown_to_whom_it_belongs(key: JwtSettings) -> None:
    async with Engine(open_store("memory://")) as engine, served(engine, jwt=key) as url:
        for name in ("team-a-1", "team-b-1"):
            lineage = {"resonate:origin": name, "resonate:branch": name, "resonate:parent": name}
            await engine.handle(c.PromiseCreate(id=name, timeout_at=FAR))
            await engine.handle(c.PromiseCreate(id=f"{name}:1", timeout_at=FAR, tags=lineage))
        a = HttpTransport(url, token=SIGNER.token(prefix="team-a-"))
        top, promises = await fetch_tree(a.call, "team-a-1")
        assert (top.id, [promise.id for promise in promises]) == ("team-a-1", ["team-a-1", "team-a-1:1"])
        for search in (
            {"resonate:origin": "team-b-1"},
            {"resonate:branch": "team-a-1", "resonate:parent": "t"},
        ):
            with pytest.raises(Refused) as caught:
                await a.call(c.PromiseSearch(tags=search))
            assert caught.value.status == 403
        await a.close()


async def test_a_stream_hears_only_of_its_prefix(key: JwtSettings) -> None:
    target = {"resonate:target": "poll://any@g"}
    token, address = SIGNER.token(prefix="team-a-"), "poll://uni@g/m"
    async with (
        Engine(open_store("memory://")) as engine,
        served(engine, jwt=key) as url,
        raw_stream(url, "/poll/g/m", f"Authorization: Bearer {token}") as stream,
    ):
        await stream.until(b":\n\n")
        for foreign in ("team-b-1", "team-a", "x-team-a-1"):
            await engine.handle(c.PromiseCreate(id=foreign, timeout_at=FAR, tags=target))
            await engine.handle(c.PromiseRegisterListener(awaited=foreign, address=address))
            await engine.handle(c.PromiseSettle(id=foreign, state=PromiseState.RESOLVED))
        # Nobody who may hear of it has no room: it waits for somebody who may, and is not tried in a loop.
        assert engine.statistics.unroutable["execute"] == 3
        assert not engine._courier._full
        await engine.handle(c.PromiseCreate(id="team-a-7", timeout_at=FAR, tags=target))
        event = await stream.until(b"\n\n")
        heard = json.loads(event.partition(b"data: ")[2].partition(b"\n")[0])
        assert heard["data"]["task"]["id"] == "team-a-7"
        await engine.handle(c.PromiseRegisterListener(awaited="team-a-7", address=address))
        await engine.handle(c.PromiseSettle(id="team-a-7", state=PromiseState.RESOLVED))
        event = await stream.until(b"\n\n")
        assert json.loads(event.partition(b"data: ")[2])["data"]["promise"]["id"] == "team-a-7"


async def test_a_stranger_of_the_same_name_takes_no_messages_away(key: JwtSettings) -> None:
    mine, stranger = SIGNER.token(prefix="team-a-"), SIGNER.token(prefix="team-b-")
    async with (
        Engine(open_store("memory://")) as engine,
        served(engine, jwt=key) as url,
        raw_stream(url, "/poll/g/m", f"Authorization: Bearer {mine}") as stream,
        raw_stream(url, "/poll/g/m", f"Authorization: Bearer {stranger}") as newer,
    ):
        await stream.until(b":\n\n")
        await newer.until(b":\n\n")
        tags = {"resonate:target": "poll://uni@g/m"}
        await engine.handle(c.PromiseCreate(id="team-a-1", timeout_at=FAR, tags=tags))
        assert b"team-a-1" in await stream.until(b"\n\n")


async def test_a_message_goes_to_the_member_that_may_have_it(key: JwtSettings) -> None:
    async with Engine(open_store("memory://")) as engine, served(engine, jwt=key) as url:
        a = HttpTransport(url, token=SIGNER.token(prefix="team-a-"))
        b = HttpTransport(url, token=SIGNER.token(prefix="team-b-"))
        heard: dict[str, list[str]] = {"a": [], "b": []}
        arrived = asyncio.Event()

        def ear(name: str) -> Any:
            def receive(message: Any) -> None:
                if isinstance(message, Execute):
                    heard[name].append(message.task.id)
                    if sum(map(len, heard.values())) >= 20:
                        arrived.set()

            return receive

        target = {"resonate:target": "poll://any@workers"}
        async with (
            a.connect("workers", "a", ear("a")),
            b.connect("workers", "b", ear("b")),
            asyncio.timeout(20),
        ):
            for number in range(10):
                await a.call(c.PromiseCreate(id=f"team-a-{number}", timeout_at=FAR, tags=target))
                await b.call(c.PromiseCreate(id=f"team-b-{number}", timeout_at=FAR, tags=target))
            await arrived.wait()
            with pytest.raises(Refused, match="Forbidden"):
                await a.call(c.TaskAcquire(id="team-b-0", version=0, pid="a", ttl=1000))
        await a.close()
        await b.close()
    assert set(heard["a"]) == {f"team-a-{number}" for number in range(10)}
    assert set(heard["b"]) == {f"team-b-{number}" for number in range(10)}


async def test_a_stream_ends_with_its_token(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    jwt = JwtSettings(public_key=SIGNER.file(tmp_path), leeway_s=0)
    token = SIGNER.token(exp=int(time.time()) + 2, role="admin")
    async with (
        served(engine, jwt=jwt) as url,
        raw_stream(url, "/poll/g/m", f"Authorization: Bearer {token}") as stream,
    ):
        await stream.until(b":\n\n")
        assert b"data:" not in await stream.until(b"\r\n0\r\n\r\n")
        await engine.until(lambda served_engine: not served_engine.connections)
        assert (await get(url, "/poll/g/m", **bearer(token)))[0] == 401


async def test_keys_are_read_again_without_a_restart(tmp_path: Path) -> None:
    file = SIGNER.file(tmp_path)
    app = create_app(ScriptedEngine(), ServerSettings(port=0, jwt=JwtSettings(public_key=file)))
    async with listening(app) as url:
        assert await status_of(url, "promise.get", CREATE, SIGNER.token(role="admin")) == 404
        file.write_bytes(b"half written")
        reload(app)
        assert await status_of(url, "promise.get", CREATE, SIGNER.token(role="admin")) == 404
        file.write_bytes(p256_signer().public_pem)
        reload(app)
        assert await status_of(url, "promise.get", CREATE, SIGNER.token(role="admin")) == 401
        assert await status_of(url, "promise.get", CREATE, p256_signer().token(role="admin")) == 404


async def test_unsigned_tokens_do_not_open_the_server_to_web_pages() -> None:
    async with served(ScriptedEngine(), jwt=JwtSettings(unsigned=True)) as url:
        body = envelope("promise.create", CREATE, unsigned(role="admin"))
        assert (await post(url, body))[0] == 200
        assert (await post(url, body, Origin="https://evil.example"))[0] == 403
        assert (await post(url, body, Host="evil.example"))[0] == 403
        assert (await post(url, envelope("promise.create", CREATE)))[0] == 401


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Forwarded-Host"])
async def test_an_open_server_answers_no_proxy(header: str) -> None:
    engine = ScriptedEngine()
    async with served(engine) as url:
        status, answer = await post(url, envelope("promise.create", CREATE), **{header: "203.0.113.7"})
    assert (status, engine.handled) == (403, [])
    assert "proxy" in answer["data"]


# -- pages


@asynccontextmanager
async def page(url: str, origin: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(url, headers={"Origin": origin}) as session:
        yield session


async def test_a_page_of_a_configured_origin_is_a_client() -> None:
    engine = ScriptedEngine()
    engine.promises["a"] = promise("a")
    mine = "https://app.example:8443"
    async with served(engine, cors_origins=(mine,)) as url, page(url, mine) as browser:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,authorization",
        }
        for path in ("/", "/poll/g/m", "/proofs/a"):
            async with browser.options(path, headers=asked) as preflight:
                assert preflight.status == 204
                assert preflight.headers["Access-Control-Allow-Origin"] == mine
                assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
                allowed = preflight.headers["Access-Control-Allow-Headers"].lower()
                assert {"authorization", "content-type"} <= set(allowed.split(", "))
                assert "Access-Control-Allow-Credentials" not in preflight.headers
        async with browser.post("/", data=envelope("promise.get", {"id": "a"})) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == mine
            assert response.headers["Vary"] == "Origin"
        async with browser.get("/poll/g/m") as stream:
            assert stream.headers["Access-Control-Allow-Origin"] == mine
            assert await stream.content.readline() == b":\n"
        async with page(url, "https://evil.example") as other:
            async with other.options("/", headers=asked) as preflight:
                assert preflight.status == 403
                assert "Access-Control-Allow-Origin" not in preflight.headers
            async with other.post("/", data=envelope("promise.get", {"id": "a"})) as response:
                assert response.status == 403
                assert "Access-Control-Allow-Origin" not in response.headers
        # Answers without an origin tell caches that they depend on it.
        assert (await get(url, "/health"))[2]["Vary"] == "Origin"


async def test_every_origin_may_be_let_in_where_tokens_are_asked_for(key: JwtSettings) -> None:
    async with (
        served(ScriptedEngine(), jwt=key, cors_origins=("*",)) as url,
        page(url, "null") as browser,
        browser.post("/", data=envelope("promise.get", {"id": "a"})) as response,
    ):
        assert response.status == 401
        assert response.headers["Access-Control-Allow-Origin"] == "null"


async def test_a_public_page_may_ask_this_machine_if_it_is_named() -> None:
    mine = "https://app.example"
    asked = {"Access-Control-Request-Private-Network": "true"}
    async with (
        served(ScriptedEngine(), cors_origins=(mine,)) as url,
        page(url, mine) as browser,
        browser.options("/", headers=asked) as preflight,
    ):
        assert preflight.headers["Access-Control-Allow-Private-Network"] == "true"


# -- settings


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"jwt": JwtSettings(unsigned=True), "host": "0.0.0.0"}, "unsigned tokens prove nothing"),  # noqa: S104
        (
            {"jwt": JwtSettings(unsigned=True), "trusted_proxies": ("127.0.0.1",)},
            "unsigned tokens prove nothing",
        ),
        ({"jwt": JwtSettings()}, "needs a public key"),
        ({"jwt": JwtSettings(public_key=Path("k"), unsigned=True)}, "needs a public key"),
        ({"jwt": JwtSettings(public_key=Path("k")), "token": TOKEN}, "set one of them"),
        ({"jwt": JwtSettings(public_key=Path("k"), leeway_s=3600)}, "leeway_s"),
        ({"jwt": JwtSettings(public_key=Path("k"), audience="")}, "audience is empty"),
        ({"trusted_proxies": ("10.0.0.0/8",)}, "a proxy makes this server reachable"),
        ({"token": TOKEN, "trusted_proxies": ("10.0.0.0/99",)}, "no address or network"),
        ({"cors_origins": ("*",)}, "every web page"),
        ({"cors_origins": ("*",), "jwt": JwtSettings(unsigned=True)}, "every web page"),
        ({"cors_origins": ("https://app.example/",)}, "write it as browsers do"),
        ({"cors_origins": ("app.example",)}, "write it as browsers do"),
        ({"cors_origins": ("https://App.example",)}, "write it as browsers do"),
        ({"headers_s": 0}, "headers_s"),
    ],
)
def test_settings_that_let_anybody_in_cannot_be_made(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ServerMisconfigured, match=fault):
        ServerSettings(**settings)


def test_a_public_key_lets_the_server_listen_to_the_world(tmp_path: Path) -> None:
    settings = ServerSettings(host="0.0.0.0", jwt=JwtSettings(public_key=SIGNER.file(tmp_path)))  # noqa: S104
    assert settings.token is None
