"""An MCP server over stdio for jobs that outlast a conversation: start one, look how far it is, await it."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from mcp.server import MCPServer

from orchestrator import Context, Orchestrator


def convert(document: str, page: int) -> str:
    print(f"converting page {page} of {document}", flush=True)
    return f"{document}-{page}"


async def conversion(ctx: Context, document: str, pages: int, pause_s: float) -> str:
    """Convert page by page; the pauses stand for how long it takes."""
    for page in range(1, pages + 1):
        await ctx.run(convert, document, page)
        await ctx.sleep(pause_s)
    return f"{pages} pages of {document}"


async def told(asked: Awaitable[str]) -> str:
    """Return what came of it, or why nothing did: an assistant can read either."""
    return str((await asyncio.gather(asked, return_exceptions=True))[0])


def tools(at: str, pause_s: float) -> MCPServer[None]:
    durable = Orchestrator.at(at, ttl_ms=2_000)
    durable.register(conversion)

    @asynccontextmanager
    async def running(_: MCPServer[None]) -> AsyncIterator[None]:
        async with durable:
            yield

    async def state(job: str) -> str:
        return (await durable.promises.get(job)).state

    async def result(job: str) -> str:
        handle = await durable.get(job)
        return str(await handle.result())

    server = MCPServer("conversions", lifespan=running, log_level="WARNING")

    @server.tool(name="start")
    async def start(document: str, pages: int) -> str:
        """Start to convert a document, and return the job's id. The same document is the same job."""
        job = await durable.begin_run(f"convert-{document}", conversion, document, pages, pause_s)
        return job.id

    @server.tool(name="probe")
    async def probe(job: str) -> str:
        """Tell whether a job is pending, resolved or rejected."""
        return await told(state(job))

    @server.tool(name="await")
    async def wait(job: str) -> str:
        """Wait until a job is through, and return what came of it."""
        return await told(result(job))

    return server


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pause-s", type=float, default=1.0, help="seconds that a page takes")
    parser.add_argument("--at", default="sqlite:///conversions.db", help="a store, or the URL of a server")
    tools(**vars(parser.parse_args())).run()
