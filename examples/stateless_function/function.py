"""A stateless function behind HTTP, and a page that starts it and asks until it is done."""

import argparse
from functools import partial

from aiohttp import web

from orchestrator import Context, Orchestrator
from orchestrator.server import Gateway, attach, push_handler

PAGE = """<!doctype html><meta charset="utf-8"><title>Convert</title>
<button>Convert picture 7</button> <output></output>
<script>
const shown = document.querySelector("output");
async function poll(path) {
  const answer = await (await fetch(path + "?wait=20")).json();
  shown.textContent = answer.state + (answer.value ? ": " + answer.value : "");
  if (answer.state == "pending") poll(path);
}
document.querySelector("button").onclick = async () => {
  await fetch("durable/convert/picture-7", { method: "POST", body: '{"picture": "7"}' });
  poll("durable/picture-7");
};
</script>"""


def shrink(picture: str) -> str:
    print(f"shrinking picture {picture}", flush=True)
    return f"small {picture}"


def store(picture: str) -> str:
    print(f"storing {picture}", flush=True)
    return f"{picture} stored"


async def convert(ctx: Context, picture: str) -> str:
    small = await ctx.run(shrink, picture)
    await ctx.sleep(0.3)  # nothing waits: the request has been answered, and another one comes
    return await ctx.run(store, small)


async def page(_: web.Request) -> web.Response:
    return web.Response(text=PAGE, content_type="text/html")


def site(at: str, here: str, token: str) -> web.Application:
    # Never started: each message from the server is one request, and nothing is held between two.
    function = Orchestrator.remote(at, group=f"{here}/run", ttl_ms=2_000)
    function.register(convert)
    asking = Orchestrator.remote(at, group="page", worker=False)
    gateway = Gateway(asking, {"convert": asking.options(target=f"{here}/run")})
    made = web.Application()
    made.router.add_get("/", page)
    made.router.add_post("/run", push_handler(partial(function.handle_push, token=token)))
    made.add_subapp("/durable", gateway.application())
    attach(made, asking)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the orchestrator's server")
    parser.add_argument("--port", type=int, default=8080, help="where the server and the page find it")
    parser.add_argument("--token", default="a-token-for-the-function", help="what the server must send")
    arguments = parser.parse_args()
    here = f"http://127.0.0.1:{arguments.port}"
    web.run_app(site(arguments.at, here, arguments.token), host="127.0.0.1", port=arguments.port)
