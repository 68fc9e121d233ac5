"""A render farm: takes a job over HTTP, and posts its result to the URL that came with it."""

import argparse
import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

CALL_AGAIN_S = 0.3


async def render(name: str, seconds: float, callback: str) -> None:
    """Render, then call back until somebody takes it: whoever asked may be away at that moment."""
    await asyncio.sleep(seconds)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        while True:
            try:
                async with session.post(callback, json=f"{name}.mp4") as answer:
                    if answer.status < 500:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(CALL_AGAIN_S)


def farm(seconds: float) -> web.Application:
    jobs: dict[str, asyncio.Task[None]] = {}

    async def take(request: web.Request) -> web.Response:
        wanted = await request.json()
        if wanted["key"] not in jobs:
            print(f"rendering {wanted['name']}", flush=True)
            jobs[wanted["key"]] = asyncio.create_task(render(wanted["name"], seconds, wanted["callback"]))
        return web.json_response({"job": wanted["key"]}, status=202)

    async def ended(_: web.Application) -> AsyncIterator[None]:
        yield
        for job in jobs.values():
            job.cancel()

    made = web.Application()
    made.router.add_post("/jobs", take)
    made.cleanup_ctx.append(ended)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8094, help="0 takes a free one")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long a job takes")
    arguments = parser.parse_args()
    web.run_app(farm(arguments.seconds), host="127.0.0.1", port=arguments.port)
