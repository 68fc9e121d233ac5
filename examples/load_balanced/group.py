"""A group of workers that share jobs: each takes what it has room for, and takes over from one that dies."""

import argparse
import asyncio
import hashlib

from orchestrator import Context, Orchestrator

AT_ONCE = 2


def grind(job: int) -> str:
    """Stand for work that takes a core for a while."""
    ground = hashlib.pbkdf2_hmac("sha256", str(job).encode(), b"salt", 100_000).hex()
    print(f"job {job} ground", flush=True)
    return ground


async def batch(ctx: Context, jobs: int) -> str:
    ground = await ctx.gather(*[ctx.rpc(grind, job) for job in range(1, jobs + 1)])
    return f"{len(ground)} jobs: {hashlib.sha256(''.join(ground).encode()).hexdigest()[:8]}"


async def work(at: str) -> None:
    app = Orchestrator.remote(at, group="grinders", ttl_ms=2_000, concurrency=AT_ONCE)
    for function in (grind, batch):
        app.register(function)
    async with app:
        print("working; end with Ctrl-C", flush=True)
        await asyncio.Event().wait()


async def submit(at: str, name: str, jobs: int) -> None:
    async with Orchestrator.remote(at, group="grinders", worker=False) as app:
        print(await app.rpc(f"batch-{name}", "batch", jobs))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the server")
    commands = parser.add_subparsers(required=True, metavar="work | submit")
    commands.add_parser("work", help="be one of the group").set_defaults(command=work)
    added = commands.add_parser("submit", help="have a batch of jobs done")
    added.add_argument("name", help="of the batch: the same name is the same batch")
    added.add_argument("jobs", type=int, help="how many")
    added.set_defaults(command=submit)
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
