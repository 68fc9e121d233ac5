"""A server as its own process, this one as its client: operations a second and how long each takes."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from benchmarks.engine.load import plain_connections
from benchmarks.engine.machine import Machine
from benchmarks.engine.report import Line, Size
from benchmarks.engine.shapes import FAR, LANES, random_id
from orchestrator.protocol import commands as c
from orchestrator.transport.http import HttpTransport

RATE_MIN, P99_MS_MAX = 5_000, 50
START_S = 60
Create = Callable[[], Awaitable[object]]


@asynccontextmanager
async def serving(store: str) -> AsyncIterator[str]:
    """Run a server on a store until the block ends; its URL."""
    command = (sys.executable, "-m", "scorers", "serve", "--store", store, "--port", "0")
    child = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=DEVNULL)
    assert child.stdout is not None
    try:
        line = await asyncio.wait_for(child.stdout.readline(), timeout=START_S)
        yield line.decode().split()[-1]
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def _round(lanes: Sequence[Create], operations: int) -> tuple[float, list[float]]:
    """Carry out so many creates by all lanes at once; operations a second, and the seconds of each."""
    latencies: list[float] = []

    async def lane(create: Create) -> None:
        for _ in range(operations // len(lanes)):
            started = perf_counter()
            await create()
            latencies.append(perf_counter() - started)

    begun = perf_counter()
    await asyncio.gather(*map(lane, lanes))
    return len(latencies) / (perf_counter() - begun), latencies


async def _rounds(
    lanes: Sequence[Create], rounds: int, machine: Machine
) -> tuple[list[float], list[list[float]]]:
    """Measure once warmed up; rates, and the seconds of each create."""
    await _round(lanes, 1_000)
    measured = [await machine.undisturbed(_round, lanes, 6_400) for _ in range(rounds)]
    return [rate for rate, _ in measured], [each for _, each in measured]


async def measure(size: Size) -> list[Line]:
    """Measure creates over HTTP, 64 in flight: a request each, and as our client sends them."""
    machine = Machine()
    with tempfile.TemporaryDirectory() as name:
        async with serving(f"sqlite:///{Path(name) / 'engine.db'}") as url:
            async with plain_connections(url, LANES) as connections:
                lanes: list[Create] = [each.create for each in connections]
                lines = _lines("a request each", *await _rounds(lanes, size.pick_rounds(), machine))
            transport = HttpTransport(url)
            await transport.call(c.Describe())  # which tells it that the server knows channels
            lanes = [lambda: transport.call(c.PromiseCreate(id=random_id(), timeout_at=FAR))] * LANES
            lines += _lines("by a channel", *await _rounds(lanes, size.pick_rounds(), machine))
            await transport.close()
    return [*lines, machine.line("http")]


def _lines(way: str, rates: list[float], latencies: list[list[float]]) -> list[Line]:
    shape = f"creates, {LANES} in flight, {way}"
    middle = [median(each) * 1000 for each in latencies]
    slowest = [quantiles(each, n=100)[98] * 1000 for each in latencies]
    return [
        Line(part="http", shape=shape, figure=median(rates), unit="/s", at_least=RATE_MIN),
        Line(part="http", shape=f"{way}: half within", figure=median(middle), unit="ms"),
        Line(part="http", shape=f"{way}: 99 % within", figure=median(slowest), unit="ms", at_most=P99_MS_MAX),
    ]
