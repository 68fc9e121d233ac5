"""Remind somebody every few days until it is done. Between two reminders nothing of it is in memory."""

import argparse
import asyncio

from orchestrator import Context, Orchestrator

DAY_S = 24 * 3600.0


def remind(task: str, number: int) -> None:
    """Stand for a mail; it may come twice."""
    print(f"reminder {number}: {task}", flush=True)


async def reminders(ctx: Context, name: str, task: str, every_s: float, most: int) -> str:
    done = ctx.promise(f"done-{name}")
    for number in range(1, most + 1):
        if await ctx.race(done, ctx.sleep(every_s)):
            return f"done after {number - 1} reminders"
        await ctx.run(remind, task, number)
    return f"given up after {most} reminders"


async def remember(at: str, name: str, task: str, days: float, most: int) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(reminders)
    async with app:
        print(await app.run(f"reminder-{name}", reminders, name, task, days * DAY_S, most))


async def done(at: str, name: str) -> None:
    async with Orchestrator.at(at, worker=False) as app:
        await app.promises.create(f"done-{name}")
        print(f"told: {(await app.promises.resolve(f'done-{name}', True)).state}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="sqlite:///reminder.db", help="a store, or the URL of a server")
    commands = parser.add_subparsers(required=True, metavar="remember | done")
    for command, words in ((remember, "remind until it is done"), (done, "tell that it is done")):
        added = commands.add_parser(command.__name__, help=words)
        added.set_defaults(command=command)
        added.add_argument("name", help="of the reminder: the same name is the same one")
    added = commands.choices["remember"]
    added.add_argument("task", help="what is to be done")
    added.add_argument("--days", type=float, default=3.0, help="between two reminders; 0.00001 is a second")
    added.add_argument("--most", type=int, default=10, help="reminders before it is given up")
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
