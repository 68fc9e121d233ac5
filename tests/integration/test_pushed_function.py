"""A stateless function: what is posted is executed in the time of the request, and nothing is held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator import ApplicationError, Context, Never, Orchestrator
from orchestrator.engine import Engine, EngineSettings
from orchestrator.protocol.envelope import encode_message
from orchestrator.server import push_handler
from orchestrator.store.memory import MemoryStore
from orchestrator.testing import ExecutionLog
from orchestrator.transport.push import PushSender, PushSettings
from orchestrator.worker import PushResult
from tests.integration.server_support import execute, served, unblock

TOKEN = "a-token-of-the-function"
TIMEOUT_S = 20


def double(number: int) -> int:
    return 2 * number


async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


async def flow(ctx: Context, number: int) -> list[object]:
    first = await ctx.run(double, number)
    await ctx.sleep(0.05)
    called = await ctx.rpc(double, first)
    answer = await ctx.promise("approval")
    return [first, called, answer]


async def busy(ctx: Context) -> list[object]:
    """A remote outcome is awaited beside a running step: nothing tells of it but looking."""
    step = ctx.begin_run(slow, 1.0)
    called = await ctx.rpc(double, 4)
    return [called, await step]


async def two_steps(ctx: Context) -> list[str]:
    return [await ctx.run(slow, 0.0), await ctx.run(slow, 0.6), await ctx.run(slow, 0.6)]


class Function:
    """A web server with the function, and what it was asked and answered."""

    def __init__(self, *, limit_s: float) -> None:
        self.server = ""
        self.limit_s = limit_s
        self.url = ""
        self.answers: list[PushResult] = []
        self.log = ExecutionLog()

    async def handle(self, body: bytes, authorization: str | None) -> PushResult:
        # A process may serve one request only: everything is made anew.
        app = Orchestrator.remote(self.server, group=self.url, ttl_ms=2_000)
        for function in (double, flow, busy, two_steps):
            app.register(function, retry=Never())
        app.observe(self.log)
        answer = await app.handle_push(body, authorization, token=TOKEN, limit_s=self.limit_s)
        assert app._surroundings is None
        self.answers.append(answer)
        return answer


@asynccontextmanager
async def deployed(*, limit_s: float = 30.0) -> AsyncIterator[tuple[Function, Orchestrator]]:
    """Run the function behind HTTP, an engine that pushes to it, its server, and a client."""
    function = Function(limit_s=limit_s)
    web_app = web.Application()
    web_app.router.add_post("/run", push_handler(function.handle))
    settings = EngineSettings(retry_timeout_ms=300)
    async with TestServer(web_app) as deployment:
        function.url = str(deployment.make_url("/run"))
        async with (
            PushSender(PushSettings(tokens={str(deployment.make_url("/").origin()): TOKEN})) as sender,
            Engine(MemoryStore(), settings=settings, push=sender.post) as engine,
            served(engine) as function.server,
            Orchestrator.remote(function.server, group="clients", worker=False) as client,
        ):
            yield function, client


async def test_a_workflow_runs_over_many_requests() -> None:
    async with deployed() as (function, client), asyncio.timeout(TIMEOUT_S):
        handle = await client.options(target=function.url).begin_rpc("w", "flow", 5)
        await client.promises.create("approval")
        await client.promises.resolve("approval", "yes")
        assert await handle.result() == [10, 20, "yes"]
    outcomes = [answer.outcome for answer in function.answers if answer.promise_id == "w"]
    assert outcomes.count("settled") == 1
    assert outcomes.count("suspended") >= 2
    assert not function.log.again_after_settling
    assert function.log.started["w:1"] == 1


async def test_a_remote_outcome_is_seen_beside_a_running_step() -> None:
    async with deployed() as (function, client), asyncio.timeout(TIMEOUT_S):
        assert await client.options(target=function.url).rpc("w", "busy") == [8, "slept"]


async def test_what_takes_longer_than_a_request_goes_on_in_the_next() -> None:
    async with deployed(limit_s=0.9) as (function, client), asyncio.timeout(TIMEOUT_S):
        assert await client.options(target=function.url).rpc("w", "two_steps") == ["slept"] * 3
    outcomes = [str(answer.outcome) for answer in function.answers if answer.promise_id == "w"]
    assert "released" in outcomes
    assert function.log.started["w:1"] == 1


async def test_a_function_that_is_not_there_is_said_to_be_missing() -> None:
    async with deployed() as (function, client), asyncio.timeout(TIMEOUT_S):
        await client.options(target=function.url).begin_rpc("w", "nobody")
        while not function.answers:  # noqa: ASYNC110 - the push is on its way
            await asyncio.sleep(0.01)
        answer = function.answers[0]
        assert (answer.status, answer.outcome) == (503, "released")
        assert "nobody" in answer.reason


async def test_a_failure_is_an_outcome() -> None:
    async with deployed() as (function, client), asyncio.timeout(TIMEOUT_S):
        with pytest.raises(ApplicationError, match="missing a required argument"):
            await client.options(target=function.url).rpc("w", "flow")


@pytest.mark.parametrize(
    ("body", "authorization", "token", "status"),
    [
        (encode_message(execute("w")), None, TOKEN, 401),
        (encode_message(execute("w")), "Bearer wrong", TOKEN, 401),
        (encode_message(execute("w")), TOKEN, TOKEN, 401),
        (encode_message(execute("w")), "Bearer ", "", 401),
        (encode_message(execute("w")), "Bearer None", None, 401),
        (encode_message(execute("w")), "Bearer short", "short", 401),
        (encode_message(execute("w")), "Bearer \xe9", TOKEN, 401),
        (b"", f"Bearer {TOKEN}", TOKEN, 400),
        (b"[]", f"Bearer {TOKEN}", TOKEN, 400),
        (b'{"kind": "execute", "data": {}}', f"Bearer {TOKEN}", TOKEN, 400),
        (b"[" * 100_000, f"Bearer {TOKEN}", TOKEN, 400),
        (b" " * (9 * 2**20), f"Bearer {TOKEN}", TOKEN, 413),
        (b'{"kind": "other", "data": {}}', f"bearer {TOKEN}", TOKEN, 200),
        (encode_message(unblock("w")), f"Bearer {TOKEN}", TOKEN, 200),
        (encode_message(execute("w")), f"Bearer {TOKEN}", TOKEN, 503),
    ],
)
async def test_what_is_posted_is_checked_before_anything_else(
    body: bytes, authorization: str | None, token: str | None, status: int, unused_tcp_port: int
) -> None:
    app = Orchestrator.remote(f"http://127.0.0.1:{unused_tcp_port}")
    answer = await app.handle_push(body, authorization, token=token)
    assert (answer.status, bool(answer.reason)) == (status, True)


async def test_a_message_that_comes_twice_or_late_is_declined() -> None:
    async with Engine(MemoryStore()) as engine, served(engine) as server:
        async with Orchestrator.remote(server, group="clients", worker=False) as client:
            await client.options(target="poll://any@nobody").begin_rpc("w", "double", 4)
        app = Orchestrator.remote(server)
        app.register(double)
        push = partial(app.handle_push, encode_message(execute("w")), f"Bearer {TOKEN}", token=TOKEN)
        first, second = await asyncio.gather(push(), push())
        assert {str(first.outcome), str(second.outcome)} == {"settled", "declined"}
        assert (await push()).outcome == "declined"
        unknown = await app.handle_push(encode_message(execute("x")), f"Bearer {TOKEN}", token=TOKEN)
        assert (unknown.status, str(unknown.outcome)) == (200, "declined")
