"""Restate: `python -m benchmarks.contestants.with_restate SERVER_BINARY SECONDS`.

Server, service and client are three processes, as they are meant to be; the client calls the ingress.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import hypercorn.asyncio
import hypercorn.config
import restate

from benchmarks.contestants import shapes

SERVICE = "Bench"
LOOPBACK = "127.0.0.1"
bench = restate.Service(SERVICE)


async def trivial() -> int:
    """Do nothing worth recording."""
    return 1


@bench.handler()
async def stepwise(ctx: restate.Context, steps: int) -> int:
    """Await so many trivial steps."""
    total = 0
    for _ in range(steps):
        total += await ctx.run_typed("trivial", trivial)
    return total


async def serve(port: int) -> None:
    """Be the service until the process is ended."""
    config = hypercorn.config.Config()
    config.bind = [f"{LOOPBACK}:{port}"]
    config.h2_max_concurrent_streams = 2_147_483_647
    config.keep_alive_max_requests = 2_147_483_647
    config.errorlog = None
    await hypercorn.asyncio.serve(restate.app([bench]), config)


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def process(*command: str, env: dict[str, str]) -> AsyncIterator[Process]:
    """Run a program, and what it starts itself, until the block ends."""
    child = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **env}, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
    )
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            # The npm package's launcher does not pass a signal on to the server.
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()


async def until_answered(session: aiohttp.ClientSession, method: str, url: str, **given: object) -> None:
    """Repeat a request until it succeeds. Raises TimeoutError after a minute."""
    async with asyncio.timeout(60):
        while True:
            try:
                async with session.request(method, url, **given) as response:  # type: ignore[arg-type]
                    if response.status < 300:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def measure(binary: str, seconds: float) -> shapes.Figures:
    """Measure with this server."""
    ingress, admin, node, service = (free_port() for _ in range(4))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        env = {
            "RESTATE_BASE_DIR": folder,
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_BIND_IP": LOOPBACK,
            "RESTATE_BIND_PORT": str(node),
            "RESTATE_INGRESS__BIND_PORT": str(ingress),
            "RESTATE_ADMIN__BIND_PORT": str(admin),
            "RESTATE_DISABLE_TELEMETRY": "true",
        }
        own = (sys.executable, "-m", "benchmarks.contestants.with_restate", "service", str(service))
        async with (
            process(binary, "--no-logo", env=env),
            process(*own, env={}),
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        ):
            deployment = {"uri": f"http://{LOOPBACK}:{service}", "use_http_11": False}
            await until_answered(session, "POST", f"http://{LOOPBACK}:{admin}/deployments", json=deployment)

            async def run(steps: int) -> object:
                url = f"http://{LOOPBACK}:{ingress}/{SERVICE}/stepwise"
                async with session.post(url, json=steps) as response:
                    response.raise_for_status()
                    return await response.json()

            await until_answered(session, "POST", f"http://{LOOPBACK}:{ingress}/{SERVICE}/stepwise", json=1)
            return shapes.Figures(
                single=await shapes.one_at_a_time(lambda _: run(shapes.STEPS), seconds),
                many=await shapes.many_at_once(lambda _: run(shapes.STEPS), seconds),
                steps=await shapes.step_rate(run),
            )


if __name__ == "__main__":
    if sys.argv[1] == "service":
        shapes.run_process(serve(int(sys.argv[2])))
    else:
        shapes.tell(shapes.run_process(measure(sys.argv[1], float(sys.argv[2]))))
