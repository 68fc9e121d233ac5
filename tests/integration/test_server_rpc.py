"""The RPC endpoint over real HTTP: statuses, envelopes, and what never reaches the engine."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from typing import Any

import aiohttp
import pytest

from orchestrator.domain.errors import Unavailable
from tests.integration.server_support import FAR, ScriptedEngine, get, post, promise, raw_stream, served

TOKEN = "0123456789abcdef-secret"
VERSION = "2026-04-01"


def request(kind: str, data: object, corr_id: str = "c1", **head: object) -> bytes:
    return json.dumps(
        {"kind": kind, "head": {"corrId": corr_id, "version": VERSION, **head}, "data": data}
    ).encode()


CREATE = {"id": "a", "timeoutAt": FAR}
SUSPEND = {
    "id": "a",
    "version": 1,
    "actions": [
        {"kind": "promise.register_callback", "head": {}, "data": {"awaited": "a:1", "awaiter": "a"}}
    ],
}


@pytest.mark.parametrize(
    ("body", "status", "kind", "corr_id"),
    [
        (request("promise.create", CREATE), 200, "promise.create", "c1"),
        (request("task.suspend", SUSPEND), 300, "task.suspend", "c1"),
        (request("promise.get", {"id": "nobody"}), 404, "promise.get", "c1"),
        (request("task.halt", {"id": "a"}), 409, "task.halt", "c1"),
    ],
)
async def test_the_http_status_is_that_of_the_head(body: bytes, status: int, kind: str, corr_id: str) -> None:
    async with served(ScriptedEngine()) as url:
        answered, envelope = await post(url, body)
    assert answered == envelope["head"]["status"] == status
    assert (envelope["kind"], envelope["head"]["corrId"]) == (kind, corr_id)
    assert envelope["head"]["version"] == VERSION
    assert isinstance(envelope["data"], dict if status in (200, 300) else str)


@pytest.mark.parametrize(
    ("body", "kind", "corr_id"),
    [
        (b"", "unknown", "0"),
        (b"{", "unknown", "0"),
        (b"\xff\xfe", "unknown", "0"),
        (b"[]", "unknown", "0"),
        (b"null", "unknown", "0"),
        (b"[" * 100_000, "unknown", "0"),
        (b'{"kind":"promise.get"}', "promise.get", "0"),
        (b'{"kind":"\\ud800","head":{"corrId":"\\udfff"}}', "unknown", "0"),
        (b'{"kind":7,"head":{"corrId":"c9"}}', "unknown", "c9"),
        (request("", CREATE), "", "c1"),
        (request("promise.create", []), "promise.create", "c1"),
        (request("promise.create", "x"), "promise.create", "c1"),
        (request("promise.create", {"id": 7, "timeoutAt": 1}), "promise.create", "c1"),
        (request("promise.create", CREATE, version="2020-01-01"), "promise.create", "c1"),
        (request("promise.destroy", {}), "promise.destroy", "c1"),
        (request("task.suspend", {"id": "a"}), "task.suspend", "c1"),
        (
            request("promise.create", 0).replace(b'"data": 0', b'"data": ' + b"[" * 9000 + b"]" * 9000),
            "unknown",
            "0",
        ),
    ],
)
async def test_a_malformed_request_is_answered_and_leaves_the_state_alone(
    body: bytes, kind: str, corr_id: str
) -> None:
    engine = ScriptedEngine()
    async with served(engine) as url:
        status, envelope = await post(url, body)
        assert status == envelope["head"]["status"] == 400
        assert (envelope["kind"], envelope["head"]["corrId"]) == (kind, corr_id)
        assert isinstance(envelope["data"], str)
        assert envelope["data"]
        assert engine.handled == []
        assert (await post(url, request("promise.create", CREATE)))[0] == 200


async def test_an_oversized_body_is_refused_before_it_is_parsed() -> None:
    engine = ScriptedEngine()
    large = request("promise.create", CREATE | {"param": {"data": "x" * 5000}})
    async with served(engine, body_bytes_max=4096) as url:
        status, envelope = await post(url, large)
        assert status == 413
        assert "4096" in envelope["data"]
        # Small on the wire, large unpacked.
        status, _ = await post(url, gzip.compress(large), **{"Content-Encoding": "gzip"})
        assert status == 413
        assert engine.handled == []
        assert (await post(url, request("promise.create", CREATE)))[0] == 200


async def test_a_body_that_is_not_what_it_says_is_a_bad_request() -> None:
    engine = ScriptedEngine()
    async with served(engine) as url:
        status, envelope = await post(url, b"not gzip at all", **{"Content-Encoding": "gzip"})
    assert status == 400
    assert isinstance(envelope["data"], str)
    assert engine.handled == []


async def test_an_engine_that_is_away_answers_503_in_an_envelope() -> None:
    engine = ScriptedEngine()

    async def away(_: Any) -> None:
        raise Unavailable("the database is locked")

    engine.before = away
    async with served(engine) as url:
        status, envelope = await post(url, request("promise.create", CREATE))
        assert status == envelope["head"]["status"] == 503
        assert envelope["head"]["corrId"] == "c1"
        assert "database is locked" in envelope["data"]
        assert (await get(url, "/ready"))[0] == 503
        assert (await get(url, "/health"))[:2] == (200, b"")
        engine.before = None
        assert (await get(url, "/ready"))[0] == 200


async def test_a_fault_of_ours_answers_500_and_does_not_tell_its_details() -> None:
    engine = ScriptedEngine()

    async def broken(_: Any) -> None:
        raise KeyError("secret-detail")

    engine.before = broken
    async with served(engine) as url:
        status, envelope = await post(url, request("promise.create", CREATE))
        assert status == envelope["head"]["status"] == 500
        assert envelope["kind"] == "promise.create"
        assert "secret-detail" not in envelope["data"]


async def test_the_token_is_read_from_the_head_only() -> None:
    engine = ScriptedEngine()
    async with served(engine, token=TOKEN) as url:
        for body, headers in (
            (request("promise.create", CREATE), {}),
            (request("promise.create", CREATE, auth="wrong"), {}),
            (request("promise.create", CREATE), {"Authorization": f"Bearer {TOKEN}"}),
        ):
            status, envelope = await post(url, body, **headers)
            assert status == envelope["head"]["status"] == 401
            assert TOKEN not in envelope["data"]
        assert engine.handled == []
        status, _ = await post(url, request("promise.create", CREATE, auth=TOKEN))
        assert status == 200
        assert len(engine.handled) == 1
        assert (await get(url, "/metrics"))[0] == 401
        assert (await get(url, "/proofs/a"))[0] == 401
        assert (await get(url, "/metrics", Authorization=f"Bearer {TOKEN}"))[0] == 200
        assert (await get(url, "/health"))[0] == 200


async def test_a_page_of_another_origin_is_refused() -> None:
    engine = ScriptedEngine()
    async with served(engine) as url:
        status, _ = await post(url, request("promise.create", CREATE), Origin="https://evil.example")
        assert status == 403
        assert engine.handled == []
        async with aiohttp.ClientSession() as session, session.options(url) as response:
            assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("path", ["/promises", "/promises/x/y", "/tasks/claim", "/schedules"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
async def test_the_legacy_interface_is_gone(path: str, method: str) -> None:
    async with (
        served(ScriptedEngine()) as url,
        aiohttp.ClientSession() as session,
        session.request(method, url + path) as response,
    ):
        assert response.status == 410
        assert isinstance((await response.json())["error"], str)


async def test_a_header_with_a_colon_in_its_name_is_no_obstacle() -> None:
    # A published client sends `resonate:origin: ID`, which parsers read as a header named `resonate`.
    body = request("promise.create", CREATE).decode()
    line = f"POST / HTTP/1.1\r\nHost: localhost\r\nresonate:origin: default\r\nContent-Length: {len(body)}"
    async with served(ScriptedEngine()) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{line}\r\n\r\n{body}".encode())
        async with asyncio.timeout(5):
            assert b"200" in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_a_caller_that_hangs_up_is_let_go() -> None:
    engine = ScriptedEngine()
    entered, left = asyncio.Event(), asyncio.Event()

    async def slow(_: Any) -> None:
        entered.set()
        try:
            await asyncio.sleep(60)
        finally:
            left.set()

    engine.before = slow
    async with served(engine) as url, asyncio.timeout(10):
        body = request("promise.create", CREATE).decode()
        async with raw_stream(url, "/nowhere") as other:
            other.writer.write(
                f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            await entered.wait()
        await left.wait()


async def test_metrics_count_requests_by_operation_and_invent_no_labels() -> None:
    engine = ScriptedEngine()
    engine.promises["a"] = promise("a")
    async with served(engine) as url:
        await post(url, request("promise.get", {"id": "a"}))
        await post(url, request("promise.get", {"id": "nobody"}))
        await post(url, request("made.up.by.a.client", {}))
        status, text, headers = await get(url, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    lines = text.decode().splitlines()
    assert 'orchestrator_requests_total{kind="promise.get",status="200"} 1.0' in lines
    assert 'orchestrator_requests_total{kind="promise.get",status="404"} 1.0' in lines
    assert 'orchestrator_requests_total{kind="invalid",status="400"} 1.0' in lines
    assert 'orchestrator_request_duration_seconds_count{kind="promise.get"} 2.0' in lines
    assert "made.up" not in text.decode()


async def test_two_servers_in_one_process_count_apart() -> None:
    async with served(ScriptedEngine()) as one, served(ScriptedEngine()) as two:
        await post(one, request("promise.get", {"id": "a"}))
        assert b'status="404"' in (await get(one, "/metrics"))[1]
        assert b'status="404"' not in (await get(two, "/metrics"))[1]


async def test_whatever_is_sent_an_envelope_comes_back() -> None:
    seed = random.SystemRandom().getrandbits(32)
    chance = random.Random(seed)  # noqa: S311 - no secret
    engine = ScriptedEngine()
    bodies = (request("promise.create", CREATE), request("task.suspend", SUSPEND))
    async with served(engine) as url, aiohttp.ClientSession() as session:
        for _ in range(300):
            body = bytearray(chance.choice(bodies))
            for _ in range(chance.randint(1, 4)):
                position = chance.randrange(len(body))
                body[position : position + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 2))
            async with session.post(url, data=bytes(body)) as response:
                envelope = json.loads(await response.read())
            assert response.status == envelope["head"]["status"], f"seed {seed}: {bytes(body)!r}"
            assert response.status in (200, 300, 400), f"seed {seed}: {bytes(body)!r}"
