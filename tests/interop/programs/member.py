"""A member of a worker group, written with the published Python SDK, that its standard input drives.

Argument 1 is JSON: `url`, `group`, `pid`, `ttl_ms`, perhaps `token`, and perhaps `functions`, the names to
register (all if absent).
Each line read is one command `{"n", "do", …}`, answered by `{"n", "answer"}` or `{"n", "error"}`; in between
the functions tell `{"event", …}` when they are executed. It ends with its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from datetime import timedelta
from typing import Any

from resonate.context import Context
from resonate.resonate import Resonate
from resonate.retry import Constant, Never
from resonate.types import Value

SETTINGS: dict[str, Any] = json.loads(sys.argv[1])
ATTEMPTS: Counter[str] = Counter()


def tell(**news: Any) -> None:
    sys.stdout.write(json.dumps(news) + "\n")
    sys.stdout.flush()


def executed(ctx: Context, function: str, **more: Any) -> None:
    tell(event="executed", function=function, id=ctx.info.id, **more)


async def echo(ctx: Context, value: Any = None) -> Any:
    executed(ctx, "echo")
    return value


async def member(ctx: Context) -> str:
    executed(ctx, "member")
    return str(SETTINGS["pid"])


async def step(ctx: Context, number: int, pause_ms: int) -> int:
    executed(ctx, "step", number=number)
    await asyncio.sleep(pause_ms / 1000)
    return number * number


async def chain(ctx: Context, count: int, pause_ms: int) -> list[int]:
    return [await ctx.run(step, number, pause_ms) for number in range(count)]


async def fan(ctx: Context, width: int) -> list[int]:
    futures = [ctx.run(step, number, 1) for number in range(width)]
    return [await future for future in futures]


async def fan_remote(ctx: Context, target: str, width: int) -> list[int]:
    futures = [ctx.options(target=target).rpc("echo", number) for number in range(width)]
    return [await future for future in futures]


async def relay(ctx: Context, target: str, function: str, *args: Any) -> Any:
    return await ctx.options(target=target).rpc(function, *args)


async def spawn(ctx: Context, target: str, function: str, *args: Any) -> str:
    return await ctx.options(target=target).detached(function, *args)


async def nap(ctx: Context, pause_ms: int) -> str:
    await ctx.sleep(timedelta(milliseconds=pause_ms))
    executed(ctx, "nap")
    return "woke"


async def ask(ctx: Context, timeout_ms: int) -> Any:
    future = ctx.promise(timeout=timedelta(milliseconds=timeout_ms))
    tell(event="asking", workflow=ctx.info.id, id=await future.id())
    return await future


async def flaky(ctx: Context, failures: int) -> int:
    ATTEMPTS[ctx.info.id] += 1
    executed(ctx, "flaky", attempt=ATTEMPTS[ctx.info.id])
    if ATTEMPTS[ctx.info.id] <= failures:
        raise RuntimeError(f"attempt {ATTEMPTS[ctx.info.id]} fails")
    return ATTEMPTS[ctx.info.id]


async def persist(ctx: Context, failures: int, retries: int) -> int:
    policy = Constant(delay=0, max_retries=retries)
    return await ctx.options(retry_policy=policy).run(flaky, failures)


async def refuse(ctx: Context, message: str) -> None:
    executed(ctx, "refuse")
    raise ValueError(message)


async def recover(ctx: Context, target: str, function: str, *args: Any) -> str:
    try:
        await ctx.options(target=target).rpc(function, *args)
    except Exception as error:
        return f"caught {error}"
    return "nothing to catch"


async def version_1(ctx: Context) -> str:
    return "version 1"


async def version_2(ctx: Context) -> str:
    return "version 2"


async def choose(ctx: Context, target: str, version: int) -> str:
    return await ctx.options(target=target, version=version).rpc("versioned")


FUNCTIONS = [
    *((function.__name__, 1, function) for function in (echo, member, step, chain, fan, fan_remote, relay)),
    *((function.__name__, 1, function) for function in (spawn, nap, ask, flaky, persist, refuse, recover)),
    ("choose", 1, choose),
    ("versioned", 1, version_1),
    ("versioned", 2, version_2),
]


class Driver:
    def __init__(self, client: Resonate) -> None:
        self._client = client
        self._handles: dict[str, Any] = {}

    async def begin(
        self,
        *,
        how: str,
        id: str,  # noqa: A002 - a field of the command
        function: str,
        args: list[Any],
        target: str | None = None,
        version: int = 1,
        timeout_ms: int = 120_000,
    ) -> str:
        caller = self._client.options(
            target=target, version=version, timeout=timedelta(milliseconds=timeout_ms)
        )
        handle = (caller.run if how == "run" else caller.rpc)(id, function, *args)
        self._handles[id] = handle
        return str(await handle.id())

    async def result(self, *, id: str) -> Any:  # noqa: A002
        if id not in self._handles:
            self._handles[id] = await self._client.get(id)
        return await self._handles[id].result()

    async def get(self, *, id: str) -> dict[str, Any]:  # noqa: A002
        record = await self._client.promises.get(id)
        return {"state": record.state, "value": record.value.data}

    async def create(self, *, id: str, timeout_at: int) -> str:  # noqa: A002
        record = await self._client.promises.create(id, timeout_at, Value(), {})
        return str(record.state)

    async def settle(self, *, id: str, how: str, value: Any) -> str:  # noqa: A002
        record = await getattr(self._client.promises, how)(id, Value(data=value))
        return str(record.state)

    async def schedule(
        self,
        *,
        id: str,  # noqa: A002
        cron: str,
        function: str,
        args: list[Any],
        target: str,
    ) -> str:
        await self._client.options(target=target).schedule(id, cron, function, tuple(args))
        record = await self._client.schedules.get(id)
        return str(record.cron)

    async def unschedule(self, *, id: str) -> None:  # noqa: A002
        await self._client.schedules.delete(id)

    async def carry_out(self, command: dict[str, Any]) -> None:
        number, do = command.pop("n"), command.pop("do")
        try:
            tell(n=number, answer=await getattr(self, do)(**command))
        except Exception as error:
            tell(n=number, error=str(error), name=type(error).__name__)


async def main() -> None:
    client = Resonate(
        url=SETTINGS["url"],
        group=SETTINGS["group"],
        pid=SETTINGS["pid"],
        ttl=timedelta(milliseconds=SETTINGS["ttl_ms"]),
        token=SETTINGS.get("token"),
        retry_policy=Never(),
    )
    for name, version, function in FUNCTIONS:
        if name in SETTINGS.get("functions", [name]):
            client.register(function, name=name, version=version)
    driver = Driver(client)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin.buffer
    )
    tell(event="started")
    running: set[asyncio.Task[None]] = set()
    async for line in lines:
        task = asyncio.create_task(driver.carry_out(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
    for task in running:
        task.cancel()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(client.stop(), 5)


asyncio.run(main())
