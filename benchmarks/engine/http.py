"""A server as its own process, this one as its client: operations a second and how long each takes."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

from benchmarks.engine.report import Line, Size
from benchmarks.engine.shapes import FAR, LANES, random_id
from orchestrator.protocol import commands as c
from orchestrator.transport.http import HttpTransport, SessionSettings

RATE_MIN, P99_MS_MAX = 5_000, 50
START_S = 60


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


async def _round(transport: HttpTransport, operations: int) -> tuple[float, list[float]]:
    """Carry out so many creates by many lanes; operations a second, and the seconds of each."""
    latencies: list[float] = []

    async def lane() -> None:
        for _ in range(operations // LANES):
            started = perf_counter()
            await transport.call(c.PromiseCreate(id=random_id(), timeout_at=FAR))
            latencies.append(perf_counter() - started)

    begun = perf_counter()
    await asyncio.gather(*(lane() for _ in range(LANES)))
    return len(latencies) / (perf_counter() - begun), latencies


async def _rounds(url: str, settings: SessionSettings, rounds: int) -> tuple[list[float], list[list[float]]]:
    """Measure with a client that has asked what the server knows; rates, and the seconds of each create."""
    rates, latencies = [], []
    transport = HttpTransport(url, session=settings)
    if settings.channel:
        await transport.call(c.Describe())
    await _round(transport, 1_000)
    for _ in range(rounds):
        rate, each = await _round(transport, 6_400)
        rates.append(rate)
        latencies.append(each)
    await transport.close()
    return rates, latencies


async def measure(size: Size) -> list[Line]:
    """Measure creates over HTTP, 64 in flight: a request each, and as our client sends them."""
    lines = []
    with tempfile.TemporaryDirectory() as name:
        async with serving(f"sqlite:///{Path(name) / 'engine.db'}") as url:
            for way, channel in (("a request each", False), ("by a channel", True)):
                rates, latencies = await _rounds(url, SessionSettings(channel=channel), size.pick_rounds())
                lines += _lines(way, rates, latencies)
    return lines


def _lines(way: str, rates: list[float], latencies: list[list[float]]) -> list[Line]:
    shape = f"creates, {LANES} in flight, {way}"
    middle = [median(each) * 1000 for each in latencies]
    slowest = [quantiles(each, n=100)[98] * 1000 for each in latencies]
    return [
        Line(part="http", shape=shape, figure=median(rates), unit="/s", at_least=RATE_MIN),
        Line(part="http", shape=f"{way}: half within", figure=median(middle), unit="ms"),
        Line(part="http", shape=f"{way}: 99 % within", figure=median(slowest), unit="ms", at_most=P99_MS_MAX),
    ]
