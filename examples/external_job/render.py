"""Have a film rendered elsewhere: it takes hours, and whoever does it settles a promise at the end."""

import argparse

import aiohttp
from aiohttp import web

from orchestrator import Constant, Context, Orchestrator
from orchestrator.server import Gateway, attach

DAY_S = 24 * 3600.0


async def submit(farm: str, film: str, promise_id: str, callback: str) -> None:
    """Hand the job over. The promise's id is its key, so that a repeated attempt is no second job."""
    print(f"submitting film {film}", flush=True)
    job = {"key": promise_id, "name": film, "callback": callback}
    async with aiohttp.ClientSession() as session, session.post(f"{farm}/jobs", json=job) as answer:
        answer.raise_for_status()


def publish(film: str, rendered: str) -> str:
    print(f"publishing {rendered}", flush=True)
    return f"film {film} is published as {rendered}"


async def produce(ctx: Context, farm: str, here: str, film: str) -> str:
    rendered = ctx.promise(f"rendered-{film}", timeout_s=DAY_S)
    await ctx.run(submit, farm, film, rendered.id, f"{here}/{rendered.id}/resolve")
    return await ctx.run(publish, film, await rendered)


def site(at: str, farm: str, port: int) -> web.Application:
    durable = Orchestrator.at(at, ttl_ms=2_000)
    durable.register(submit, retry=Constant(delay_s=0.5))
    durable.register(produce)
    # No function may be invoked through the gateway: it is there to settle promises and to ask for outcomes.
    gateway = Gateway(durable, {})

    async def order(request: web.Request) -> web.Response:
        film = request.match_info["film"]
        here = f"http://127.0.0.1:{port}/durable"
        handle = await durable.begin_run(f"film-{film}", produce, farm, here, film)
        return web.json_response({"id": handle.id}, status=202)

    made = web.Application()
    made.router.add_post("/films/{film}", order)
    made.add_subapp("/durable", gateway.application())
    attach(made, durable)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="where this listens, and is called back")
    parser.add_argument("--farm", default="http://127.0.0.1:8094", help="the farm: ../stand_ins/farm.py")
    parser.add_argument("--at", default="sqlite:///films.db", help="a store, or the URL of a server")
    arguments = parser.parse_args()
    web.run_app(site(**vars(arguments)), host="127.0.0.1", port=arguments.port)
