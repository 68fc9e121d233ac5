"""An HTTP API on aiohttp: a POST starts a report and says where to look, a GET tells how far it is."""

import argparse

from aiohttp import web

from orchestrator import Context, Orchestrator
from orchestrator.server import attach

CHAPTERS = ("figures", "charts", "summary")


def write(name: str, chapter: str) -> str:
    print(f"writing the {chapter} of {name}", flush=True)
    return f"{chapter} of {name}"


async def report(ctx: Context, name: str) -> list[str]:
    chapters = []
    for chapter in CHAPTERS:
        chapters.append(await ctx.run(write, name, chapter))
        await ctx.sleep(0.1)
    return chapters


def site(at: str) -> web.Application:
    durable = Orchestrator.at(at, ttl_ms=2_000)
    durable.register(report)

    async def start(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        handle = await durable.begin_run(f"report-{name}", report, name)
        return web.json_response({"id": handle.id}, status=202, headers={"Location": f"/reports/{name}"})

    async def status(request: web.Request) -> web.Response:
        handle = await durable.get(f"report-{request.match_info['name']}")
        if not await handle.done():
            return web.json_response({"state": "pending"}, headers={"Retry-After": "1"})
        return web.json_response({"state": "done", "chapters": await handle.result()})

    made = web.Application()
    made.router.add_post("/reports/{name}", start)
    made.router.add_get("/reports/{name}", status)
    attach(made, durable)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    parser.add_argument("--at", default="sqlite:///reports.db", help="a store, or the URL of a server")
    arguments = parser.parse_args()
    web.run_app(site(arguments.at), host="127.0.0.1", port=arguments.port)
