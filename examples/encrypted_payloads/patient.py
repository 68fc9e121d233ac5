"""Keep what a workflow knows secret from whoever reads its database or runs its server."""

import argparse
import asyncio

from orchestrator import Context, Keyring, Orchestrator


def diagnose(patient: str) -> str:
    print("diagnosing", flush=True)
    return f"{patient} is well"


def file_away(finding: str) -> str:
    print("filing", flush=True)
    return f"filed: {finding}"


async def examine(ctx: Context, patient: str) -> str:
    return await ctx.run(file_away, await ctx.run(diagnose, patient))


async def main(at: str, keys: str, number: int, patient: str) -> None:
    app = Orchestrator.at(at, ttl_ms=2_000, encryptor=Keyring.from_file(keys))
    app.register(examine)
    async with app:
        print(await app.run(f"patient-{number}", examine, patient))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("keys", help="the key file, as `dao-scorer encryption-key FILE` makes it")
    parser.add_argument("number", type=int, help="of the examination: the same number is the same one")
    parser.add_argument("patient", help="a name that nobody reads in the database")
    parser.add_argument("--at", default="sqlite:///patients.db", help="a store, or the URL of a server")
    asyncio.run(main(**vars(parser.parse_args())))
