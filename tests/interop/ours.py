"""The functions of `programs/member.py`, written with our own SDK."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator import Context, Orchestrator
from orchestrator.domain.errors import ApplicationError
from orchestrator.domain.retry import Never


def echo(value: Any = None) -> Any:
    return value


def step(number: int, pause_ms: int) -> int:
    return number * number


async def chain(ctx: Context, count: int, pause_ms: int) -> list[int]:
    return [await ctx.run(step, number, pause_ms) for number in range(count)]


async def fan_remote(ctx: Context, target: str, width: int) -> list[int]:
    calls = [ctx.options(target=target).begin_rpc("echo", number) for number in range(width)]
    return await ctx.gather(*calls)


async def relay(ctx: Context, target: str, function: str, *args: Any) -> Any:
    return await ctx.options(target=target).rpc(function, *args)


async def spawn(ctx: Context, target: str, function: str, *args: Any) -> str:
    return ctx.options(target=target).detached(function, *args).id


async def refuse(ctx: Context, message: str) -> None:
    raise ValueError(message)


async def recover(ctx: Context, target: str, function: str, *args: Any) -> str:
    try:
        await ctx.options(target=target).rpc(function, *args)
    except ApplicationError as error:
        return f"caught {error.message}"
    return "nothing to catch"


FUNCTIONS = (echo, step, chain, fan_remote, relay, spawn, refuse, recover)


def register(app: Orchestrator, only: Sequence[str] | None = None) -> Orchestrator:
    """Register the functions, or only those named, with an application; return it."""
    for function in FUNCTIONS:
        if only is None or function.__name__ in only:
            app.register(function, retry=Never())
    return app
