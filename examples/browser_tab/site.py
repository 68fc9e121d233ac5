"""A web page whose tabs are workers: they compute factorials with the published TypeScript SDK."""

import argparse
import asyncio
import json
from pathlib import Path

from aiohttp import web

HERE = Path(__file__).parent
SDK = HERE.parents[1] / ".interop" / "browser" / "sdk.js"
PAUSE_MS = 25


def site(at: str, sdk: Path) -> web.Application:
    changed = asyncio.Condition()

    async def settings(_: web.Request) -> web.Response:
        return web.json_response({"url": at, "group": "tabs", "pause_ms": PAUSE_MS})

    async def told(request: web.Request) -> web.Response:
        news = json.loads(await request.read())
        match news["event"]:
            case "executed":
                print(f"{news['id']}: times {news['number']}", flush=True)
            case "away":
                start = f"dao-scorer serve --cors-origins {request.url.origin()}"
                print(f"no server at {at} lets this page in; start one: {start}", flush=True)
            case _:
                print("working in a tab", flush=True)
        return web.Response()

    async def control(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        async with changed:
            await changed.wait()
        await stream.write(b"event: reload\ndata: now\n\n")
        return stream

    async def reload(_: web.Request) -> web.Response:
        async with changed:
            changed.notify_all()
        return web.Response()

    async def file(request: web.Request) -> web.FileResponse:
        name = request.match_info["file"]
        return web.FileResponse(sdk if name == "sdk.js" else HERE / name)

    made = web.Application()
    made.router.add_get("/settings.json", settings)
    made.router.add_post("/told", told)
    made.router.add_get("/control", control)
    made.router.add_post("/reload", reload)
    made.router.add_get("/{file:index.html|worker.js|sdk.js}", file)
    return made


def existing(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}: `make interop-clients` makes it")
    return Path(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the orchestrator's server")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--sdk", type=existing, default=str(SDK), help="the SDK as one module")
    arguments = parser.parse_args()
    web.run_app(site(arguments.at, arguments.sdk), host="127.0.0.1", port=arguments.port)
