"""`dao-scorer encryption-key`: new keys for encrypted values, in a file that only its owner reads."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.client.encryption import Keyring
from scorers.cli import options, output
from scorers.cli.session import command

OWNER_ONLY = 0o600


@command
async def encryption_key(
    file: Annotated[Path, typer.Argument(help="The key file; made if there is none.")],
    key_id: Annotated[
        str | None, typer.Option("--id", help="The new key's id; by default the time, to the second.")
    ] = None,
    last: Annotated[
        bool, typer.Option("--last", help="Let it only read for now: put it behind the others.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Add a new key for encrypted values to a key file, as the one that writes."""
    name = key_id or datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    known = _known(file)
    line = Keyring.new_line(name) + "\n"
    text = known.rstrip("\n") + "\n" + line if last and known else line + known
    keys = Keyring.parse(text)
    _replace(file, text)
    if as_json:
        output.emit({"file": str(file), "id": name, "writes": keys.writing})
    else:
        output.say(f"added key {name} to {file}: {keys.writing} writes")


def _known(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""


def _replace(file: Path, text: str) -> None:
    """Write a file as a whole, readable by its owner only: half a key would be a lost one."""
    beside = file.with_name(file.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
    with open(descriptor, "w", encoding="utf-8") as new:
        new.write(text)
        new.flush()
        os.fsync(new.fileno())
    os.replace(beside, file)
