"""`dao-scorer db upgrade|check|backup|compact`: what an operator does to the server's store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.markup import escape

from orchestrator.store import maintenance
from scorers.cli import options, output
from scorers.cli.flags import configured
from scorers.settings import Settings

app = typer.Typer(help="Look after the server's store.", no_args_is_help=True, rich_markup_mode=None)


@app.command("upgrade")
@configured("store")
async def upgrade(settings: Settings, as_json: options.AsJson = False) -> None:
    """Bring the store's schema up to date, as a starting server does. Say from what to what."""
    done = await maintenance.upgrade(settings.store)
    if as_json:
        output.emit(done)
    elif done.before == done.after:
        output.say(f"the store is up to date: revision {done.after}")
    elif done.before is None:
        output.say(f"a new store was made: revision {done.after}")
    else:
        output.say(f"the store was upgraded: revision {done.before} → {done.after}")


@app.command("check")
@configured("store")
async def check(settings: Settings, as_json: options.AsJson = False) -> None:
    """Look for damage and for what must not be in a store. A server may use it meanwhile."""
    findings = await maintenance.check(settings.store)
    wrong = sum(finding.faults > 0 for finding in findings)
    if as_json:
        for finding in findings:
            output.emit(finding)
    else:
        rows = [
            (
                output.mark(not finding.faults),
                finding.check,
                finding.invariant,
                finding.faults,
                escape(", ".join(finding.examples)),
            )
            for finding in findings
        ]
        output.table("the store", ("", "check", "invariant", "faults", "such as"), rows)
    if wrong:
        output.fail(
            f"{wrong} of {len(findings)} checks found faults: keep a copy of this store, "
            "and restore a sound one"
        )


@app.command("backup")
@configured("store")
async def backup(
    settings: Settings,
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The copy, a new file.")],
    as_json: options.AsJson = False,
) -> None:
    """Copy the store into a new file, also while a server uses it."""
    size = await maintenance.backup(settings.store, target)
    if as_json:
        output.emit({"file": str(target), "bytes": size})
    else:
        output.say(f"{escape(str(target))}: {decimal(size)}, checked")


@app.command("compact")
@configured("store")
async def compact(settings: Settings, as_json: options.AsJson = False) -> None:
    """Give the space of what was deleted back to the disk. Stop the server of a SQLite file before."""
    done = await maintenance.compact(settings.store)
    if as_json:
        output.emit(done)
    else:
        output.say(f"{decimal(done.before)} → {decimal(done.after)}")
