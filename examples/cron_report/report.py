"""Publish a report at every moment of a cron line; moments that passed meanwhile are made up for."""

import argparse
import asyncio
from datetime import UTC, datetime

from orchestrator import Context, Info, Orchestrator


def publish(info: Info, name: str) -> str:
    """Stand for a mail. The id holds the moment for which it was due, also if it is published later."""
    due_ms = int(info.promise_id.split(":", maxsplit=1)[0].rpartition("-")[2])
    moment = datetime.fromtimestamp(due_ms / 1000, UTC).isoformat()
    print(f"{moment} report {name}", flush=True)
    return moment


async def report(ctx: Context, name: str) -> str:
    return await ctx.run(publish, name)


async def main(at: str, name: str, cron: str, time_zone: str) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000)
    app.register(report)
    async with app:
        # A schedule that exists stays as it is, so that every start may say this.
        await app.schedules.create(f"report-{name}", cron, report, args=[name], time_zone=time_zone)
        print(f"working at {cron} in {time_zone}; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the report: the same name is the same schedule")
    parser.add_argument("--cron", default="0 8 * * MON-FRI", help="when; of six fields the first is seconds")
    parser.add_argument("--time-zone", default="UTC", help="for instance Europe/Vienna")
    parser.add_argument("--at", default="sqlite:///cron.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
