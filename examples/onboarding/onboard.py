"""Onboard each new row of a table of users: its database calls a webhook, the rest takes days."""

import argparse
import hmac
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from orchestrator import Context, Orchestrator, Refused
from orchestrator.server import Gateway, Verifier, attach, webhook

DAY_S = 24 * 3600.0
REMINDERS_MAX = 3


def provision(user: int, name: str) -> str:
    print(f"making a workspace for {name}", flush=True)
    return f"workspace-{user}"


def remove(workspace: str) -> str:
    print(f"removing {workspace}", flush=True)
    return f"{workspace} is removed"


def mail(address: str, text: str) -> None:
    print(f"to {address}: {text}", flush=True)


async def onboard(ctx: Context, change: dict[str, Any]) -> str:
    user = change["record"]
    confirmed = ctx.promise(f"confirmed-{user['id']}")
    workspace = await ctx.run(provision, user["id"], user["name"])
    await ctx.run(mail, user["mail"], f"welcome! please confirm: {confirmed.id}")
    for _ in range(REMINDERS_MAX):
        if await ctx.race(ctx.shield(confirmed), ctx.sleep(DAY_S)):
            await ctx.run(mail, user["mail"], "ten things to try")
            return f"{user['name']} has {workspace}"
        await ctx.run(mail, user["mail"], f"do you still want {workspace}?")
    return await ctx.run(remove, workspace)


def row(token: str) -> Verifier:
    """Return the check of a database's webhook. It knows no event ids: the row's key is the event's."""

    def verify(headers: Mapping[str, str], body: bytes) -> str:
        given = headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise Refused(401, "Unauthorized: the token is missing or wrong")
        return str(json.loads(body)["record"]["id"])

    return verify


def site(at: str, token: str) -> web.Application:
    durable = Orchestrator.at(at, ttl_ms=2_000)
    durable.register(onboard)
    gateway = Gateway(durable, {})

    made = web.Application()
    made.router.add_post("/hooks/users", webhook(gateway, "onboard", durable, row(token), source="user"))
    made.add_subapp("/durable", gateway.application())
    attach(made, durable)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one")
    parser.add_argument("--token", required=True, help="shared with the database")
    parser.add_argument("--at", default="sqlite:///onboarding.db", help="a store, or the URL of a server")
    arguments = parser.parse_args()
    web.run_app(site(arguments.at, arguments.token), host="127.0.0.1", port=arguments.port)
