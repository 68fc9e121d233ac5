"""Tenants of one server: each has a token for the ids that begin with its name, and reaches no others."""

import argparse
import asyncio
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from orchestrator import Context, Orchestrator

DAY_S = 24 * 3600


def written(path: Path, text: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(text)


async def sign(tenants: list[str]) -> None:
    """Stand for an identity provider: make a key, and a token of each tenant. Only `public.pem` leaves it."""
    key = Ed25519PrivateKey.generate()
    public = form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    written(Path("public.pem"), key.public_key().public_bytes(*public))
    for tenant in tenants:
        claims = {"prefix": f"{tenant}.", "exp": int(time.time()) + DAY_S}
        written(Path(f"{tenant}.token"), jwt.encode(claims, key, algorithm="EdDSA").encode())
    print(f"public.pem is for the server, {', '.join(tenants)} have tokens for a day")


def write(text: str) -> str:
    print(f"writing {text!r}", flush=True)
    return f"{text!r} is written"


def count(text: str) -> int:
    print(f"counting {text!r}", flush=True)
    return len(text.split())


async def note(ctx: Context, text: str) -> str:
    return f"{await ctx.run(write, text)}, {await ctx.run(count, text)} words"


def known(tenant: str) -> str:
    if not Path(f"{tenant}.token").exists():
        raise argparse.ArgumentTypeError(f"there is no {tenant}.token here: notes.py sign {tenant}")
    return tenant


def client(at: str, tenant: str, *, worker: bool) -> Orchestrator:
    # A file is read again when the server believes its token no more: put a new one there before it ends.
    token = Path(f"{tenant}.token")
    return Orchestrator.remote(at, group=tenant, token=token, worker=worker, ttl_ms=2_000)


async def keep(at: str, tenant: str, number: int, text: str) -> None:
    app = client(at, tenant, worker=True)
    app.register(note)
    async with app:
        print(await app.run(f"{tenant}.note-{number}", note, text))


async def read(at: str, tenant: str, promise_id: str) -> None:
    async with client(at, tenant, worker=False) as app:
        found = (await asyncio.gather(app.get(promise_id), return_exceptions=True))[0]
        print(f"refused: {found}" if isinstance(found, BaseException) else await found.result())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="sign | keep | read")
    added = commands.add_parser("sign", help="make a key, and tokens of these tenants")
    added.set_defaults(command=sign)
    added.add_argument("tenants", nargs="+", help="their names")
    for command, words in ((keep, "keep a note"), (read, "read one, by its id")):
        added = commands.add_parser(command.__name__, help=words)
        added.set_defaults(command=command)
        added.add_argument("--at", default="http://127.0.0.1:8001", help="the URL of the server")
        added.add_argument("tenant", type=known, help="whose token is used: TENANT.token, here")
    commands.choices["keep"].add_argument("number", type=int, help="the same number is the same note")
    commands.choices["keep"].add_argument("text")
    commands.choices["read"].add_argument("promise_id", metavar="id", help="such as ada.note-1")
    arguments = vars(parser.parse_args())
    asyncio.run(arguments.pop("command")(**arguments))
