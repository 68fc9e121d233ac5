"""One printer, many who want it: a group that executes one job at a time needs no lock."""

import argparse
import asyncio

from orchestrator import Context, Orchestrator

GROUP = "printer"


def warm_up(job: int) -> None:
    print(f"job {job} has the printer", flush=True)


def output(job: int) -> str:
    print(f"job {job} is printed", flush=True)
    return f"job {job}"


async def use(ctx: Context, job: int) -> str:
    """Use the printer for two steps; nobody else's job runs between them."""
    await ctx.run(warm_up, job)
    return await ctx.run(output, job)


async def work(at: str) -> None:
    app = Orchestrator.remote(at, group=GROUP, ttl_ms=2_000)
    app.register(use)
    async with app:
        await app.groups.set(GROUP, concurrency=1)
        print("working; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


async def ask(at: str, jobs: list[int]) -> None:
    async with Orchestrator.remote(at, group=GROUP, worker=False) as app:
        await app.groups.set(GROUP, concurrency=1)
        asked = [await app.begin_rpc(f"print-{job}", "use", job) for job in jobs]
        print(", ".join([await job.result() for job in asked]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the server")
    commands = parser.add_subparsers(required=True, metavar="work | ask")
    commands.add_parser("work", help="be a worker at the printer").set_defaults(command=work)
    added = commands.add_parser("ask", help="have jobs printed")
    added.set_defaults(command=ask)
    added.add_argument("jobs", type=int, nargs="+", help="their numbers: the same number is the same job")
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
