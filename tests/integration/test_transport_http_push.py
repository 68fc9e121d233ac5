"""Pushing messages to functions that listen on a URL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.protocol.envelope import decode_message
from orchestrator.transport.push import PushSender, PushSettings
from tests.integration.server_support import execute, unblock


@contextlib.asynccontextmanager
async def function(handle: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/hook", handle)
    async with TestServer(app) as server:
        yield str(server.make_url("/hook"))


async def test_a_message_is_posted_as_json() -> None:
    received: list[tuple[bytes, str]] = []

    async def take(request: web.Request) -> web.Response:
        received.append((await request.read(), request.content_type))
        return web.Response(status=202)

    async with function(take) as url, PushSender(PushSettings(server_url="http://scores.example")) as sender:
        assert await sender.post(url, execute("a", 3))
        assert await sender.post(url, unblock("b", "c"))
    assert [decode_message(body) for body, _ in received] == [execute("a", 3), unblock("b", "c")]
    assert b'"serverUrl":"http://scores.example"' in received[0][0]
    assert {kind for _, kind in received} == {"application/json"}


@pytest.mark.parametrize("status", [302, 400, 404, 500])
async def test_anything_but_success_is_no_delivery(status: int) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/hook"})

    async with function(refuse) as url, PushSender() as sender:
        assert not await sender.post(url, execute("a"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://", "nonsense", "http://[::1", "ftp://x/y"])
async def test_what_cannot_be_reached_is_no_delivery_and_no_error(url: str) -> None:
    async with PushSender(PushSettings(connect_s=0.5, request_s=1)) as sender:
        assert not await sender.post(url, execute("a"))


async def test_a_function_that_does_not_answer_is_given_up() -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with function(hang) as url, PushSender(PushSettings(request_s=0.1)) as sender:
        assert not await sender.post(url, execute("a"))


async def test_posts_are_bounded_in_flight_and_in_waiting() -> None:
    running, most = 0, 0
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            entered.set()
        await release.wait()
        running -= 1
        return web.Response()

    settings = PushSettings(together_max=2, waiting_max=3)
    async with (
        asyncio.timeout(10),
        function(slow) as url,
        PushSender(settings) as sender,
        asyncio.TaskGroup() as group,
    ):
        posts = [group.create_task(sender.post(url, execute(str(number)))) for number in range(8)]
        await entered.wait()
        release.set()
    taken = [post.result() for post in posts]
    assert most == 2
    assert taken == [True] * 5 + [False] * 3


async def test_a_token_is_told_to_its_own_origin_only() -> None:
    seen: list[str | None] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response()

    async with (
        function(take) as known,
        function(take) as foreign,
        PushSender(PushSettings(tokens={known: "the-token"})) as sender,
    ):
        assert await sender.post(known, execute("a"))
        assert await sender.post(foreign, execute("a"))
    assert seen == ["Bearer the-token", None]


async def test_a_closed_sender_posts_no_more() -> None:
    async def take(_: web.Request) -> web.Response:
        return web.Response()

    async with function(take) as url:
        sender = PushSender()
        assert await sender.post(url, execute("a"))
        await sender.close()
        assert not await sender.post(url, execute("a"))
