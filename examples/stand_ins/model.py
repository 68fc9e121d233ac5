"""A language model behind HTTP that other examples ask. It answers by rule, so that runs can be compared."""

import argparse

from aiohttp import web

ANSWERS = {
    "research": "notes on {0}",
    "write": "a draft from {0}",
    "review": "{0}, reviewed",
    "chat": "You said {0}, which is message {1}.",
}
CALCULATION, SEARCH = "calculate", "search"


def answer(role: str, messages: list[str]) -> str:
    """Answer the last message in a role. As an agent: name a tool and its input, or give the final answer."""
    last = messages[-1]
    if role != "agent":
        return ANSWERS[role].format(last, len(messages))
    if last.startswith("result "):
        return f"answer: {last.removeprefix('result ')}"
    if any(sign in last for sign in "+-*"):
        return f"{CALCULATION} {last}"
    return f"{SEARCH} {last}" if last.endswith("?") else f"answer: {last}, too"


async def complete(request: web.Request) -> web.Response:
    asked = await request.json()
    print(f"{asked['role']} is asked: {asked['messages'][-1]}", flush=True)
    return web.json_response({"text": answer(asked["role"], asked["messages"])})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8091, help="0 takes a free one")
    site = web.Application()
    site.router.add_post("/complete", complete)
    web.run_app(site, host="127.0.0.1", port=parser.parse_args().port)
