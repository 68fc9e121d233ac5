"""An application within a site of aiohttp: one lifetime, and what the engine refuses as an answer."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from orchestrator import Context, NotStarted, Orchestrator, Unavailable
from orchestrator.server import attach


async def double(ctx: Context, number: int) -> int:
    return 2 * number


def site() -> tuple[web.Application, Orchestrator]:
    durable = Orchestrator.local(":memory:")
    durable.register(double)

    async def make(request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        return web.json_response(await durable.run(f"double-{number}", double, number))

    async def found(request: web.Request) -> web.Response:
        handle = await durable.get(f"double-{request.match_info['number']}")
        return web.json_response(await handle.result())

    async def away(_: web.Request) -> web.Response:
        raise Unavailable("the server does not answer")

    made = web.Application()
    made.router.add_post("/{number}", make)
    made.router.add_get("/{number}", found)
    made.router.add_put("/", away)
    attach(made, durable)
    return made, durable


async def test_it_starts_and_stops_with_the_site() -> None:
    made, durable = site()
    async with TestClient(TestServer(made)) as client:
        async with client.post("/21") as answer:
            assert await answer.json() == 42
        assert await (await durable.get("double-21")).result() == 42
    with pytest.raises(NotStarted):
        await durable.get("double-21")


async def test_what_the_engine_refuses_is_answered() -> None:
    made, _ = site()
    async with TestClient(TestServer(made)) as client:
        async with client.get("/7") as answer:
            assert answer.status == 404
            assert await answer.json() == {"error": "Promise not found"}
        async with client.put("/") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


async def test_what_the_site_itself_answers_stays() -> None:
    made, _ = site()
    async with TestClient(TestServer(made)) as client, client.delete("/7") as answer:
        assert answer.status == 405
