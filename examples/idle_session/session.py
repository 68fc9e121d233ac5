"""Keep a user's session open while something happens in it, and close it after some idle seconds."""

import argparse
import asyncio
from itertools import count

from orchestrator import Context, Orchestrator


def note(session: str, action: str) -> None:
    print(f"{session}: {action}", flush=True)


def close(session: str, actions: int) -> str:
    print(f"{session} closes", flush=True)
    return f"{session} closed after {actions} actions"


async def keep(ctx: Context, session: str, idle_s: float) -> str:
    for number in count(1):
        # Each action settles the promise of its number; the timer is a new one each time.
        action = await ctx.race(ctx.promise(f"{session}-action-{number}"), ctx.sleep(idle_s))
        if action is None:
            return await ctx.run(close, session, number - 1)
        await ctx.run(note, session, action)
    raise AssertionError("count has no end")


async def work(at: str) -> None:
    app = Orchestrator.remote(at, group="sessions", ttl_ms=2_000)
    app.register(keep)
    async with app:
        print("working; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


async def begin(at: str, session: str, idle_s: float) -> None:
    async with Orchestrator.remote(at, group="sessions", worker=False) as app:
        print(await app.rpc(f"session-{session}", "keep", session, idle_s))


async def act(at: str, session: str, number: int, action: str) -> None:
    async with Orchestrator.remote(at, group="sessions", worker=False) as app:
        promise_id = f"{session}-action-{number}"
        await app.promises.create(promise_id)
        print(f"action {number}: {(await app.promises.resolve(promise_id, action)).state}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the server")
    commands = parser.add_subparsers(required=True, metavar="work | begin | act")
    for command, words in ((work, "keep sessions"), (begin, "begin one"), (act, "do something in one")):
        added = commands.add_parser(command.__name__, help=words)
        added.set_defaults(command=command)
        if command is not work:
            added.add_argument("session", help="its name: the same name is the same session")
    commands.choices["begin"].add_argument(
        "--idle-s", type=float, default=30.0, help="seconds until it closes"
    )
    commands.choices["act"].add_argument("number", type=int, help="of the action, from 1")
    commands.choices["act"].add_argument("action", help="what was done")
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
