"""A worker of a limited group as a process of its own: see test_group_killed.

Arguments: the server's URL, and `holds` (each task it takes it keeps for ever) or `ends`. It prints the id of
each task that it begins.
"""

from __future__ import annotations

import asyncio
import sys

from orchestrator import Context, Orchestrator
from orchestrator.transport.http import HttpTransport

GROUP = "limited"
LEASE_MS = 1_500
BEGUN = "begun "
"""With this begins a line that names a task; others are the log."""


async def main(url: str, what: str) -> None:
    async def work(ctx: Context) -> str:
        print(BEGUN + ctx.id, flush=True)  # noqa: T201
        if what == "holds":
            await ctx.run(_for_ever)
        return what

    async def _for_ever() -> None:
        await asyncio.Event().wait()

    app = Orchestrator(transport=HttpTransport(url), group=GROUP, ttl_ms=LEASE_MS)
    app.register(work, name="work")
    async with app:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
