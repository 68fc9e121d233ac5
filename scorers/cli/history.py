"""`dao-scorer history` and `dao-scorer replay-history`: recorded executions, and replays on other code."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from orchestrator import Orchestrator
from orchestrator.client.history import fetch_history, read_history
from orchestrator.client.replaying import Replay
from scorers.cli import options, output
from scorers.cli.flags import configured
from scorers.cli.session import command, naming, server
from scorers.errors import ScorerError
from scorers.settings import Settings

app = typer.Typer(name="history", help="Recorded executions as files.", no_args_is_help=True)
APPLICATION = "app"
DIFFERENT = 1


class NoApplication(ScorerError):
    """A module does not offer the application whose functions are to be replayed."""


class NoHistory(ScorerError):
    """A history's file cannot be read or written."""


@app.command()
@configured("server")
async def export(
    settings: Settings,
    promise_id: Annotated[str, typer.Argument(help="The invocation's id, or that of a call below it.")],
    to: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; standard output without it.")
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option("--with", help="A promise of another tree that the invocation awaits; repeatable."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Write the promises of an invocation to a JSON file, for replay-history; values stay as stored."""
    async with server(settings) as transport:
        with naming(promise_id, settings):
            now_ms = time.time_ns() // 1_000_000
            history = await fetch_history(transport, promise_id, now_ms=now_ms, also=also or ())
    if to is None:
        sys.stdout.write(history.to_json().decode())
        return
    try:
        await asyncio.to_thread(to.write_bytes, history.to_json())
    except OSError as error:
        raise NoHistory(f"cannot write {to}: {error.strerror}") from error
    if as_json:
        output.emit({"id": history.id, "promises": len(history.promises), "file": str(to)})
    else:
        output.say(f"{len(history.promises)} promises of {history.id} written to {to}")


@command
async def replay_history(
    files: Annotated[list[Path], typer.Argument(help="Files written by history export.")],
    module: Annotated[
        str,
        typer.Option(
            "--module",
            "-m",
            help="The module, or module:name, that holds the application.",
        ),
    ],
    as_json: options.AsJson = False,
) -> None:
    """Replay recorded executions on the functions of a module; exit with 1 if they do not repeat them.

    Needs no server, and executes none of the functions. Encrypted values are opened by the keys that the
    application was given.
    """
    application = load(module)
    different = False
    for file in files:
        content = await asyncio.to_thread(_content, file)
        for replayed in await application.replay(read_history(content, str(file))):
            different = different or replayed.fault is not None
            _tell(file, replayed, as_json=as_json)
    if different:
        raise SystemExit(DIFFERENT)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise NoHistory(f"cannot read {file}: {error.strerror}") from error


def load(name: str) -> Orchestrator:
    """Return the application of a module: the one named after a colon, else `app`, else its only one.

    Raises NoApplication that says what to write.
    """
    path, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # a user's module lies where the command is run
    try:
        module = importlib.import_module(path)
    except ImportError as error:
        raise NoApplication(f"cannot import {path}: {error}; run this where the module lies") from error
    offered = {key: value for key, value in vars(module).items() if isinstance(value, Orchestrator)}
    if attribute or APPLICATION in offered:
        found = offered.get(attribute or APPLICATION)
    else:
        found = next(iter(offered.values())) if len(offered) == 1 else None
    if found is None:
        known = f": it has {', '.join(offered)}" if offered else ""
        wanted = attribute or APPLICATION
        raise NoApplication(f"{path} has no Orchestrator {wanted!r}{known}; name it MODULE:NAME")
    return found


def _tell(file: Path, replayed: Replay, *, as_json: bool) -> None:
    if as_json:
        output.emit(
            {
                "file": str(file),
                "id": replayed.promise_id,
                "function": replayed.function,
                "complete": replayed.complete,
                "reached": replayed.reached or None,
                "difference": str(replayed.fault) if replayed.fault is not None else None,
            }
        )
        return
    if replayed.fault is not None:
        output.say(f"✘ {replayed.promise_id} ({replayed.function}) differs\n    {replayed.fault}")
    elif replayed.complete:
        output.say(f"✔ {replayed.promise_id} ({replayed.function}) repeats its record")
    else:
        output.say(
            f"● {replayed.promise_id} ({replayed.function}) repeats its record up to: {replayed.reached}"
        )
