"""`dao-scorer incident list|resolve`: what has stopped a source of the listener, and what to do about it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.markup import escape

from listener.incidents import Decision, Incident
from scorers.cli import options, output
from scorers.cli.flags import configured
from scorers.listening import cursor_store
from scorers.settings import Settings

app = typer.Typer(
    help="Decide about what has stopped the listener.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
@configured("cursor")
async def incident_list(
    settings: Settings,
    everything: Annotated[bool, typer.Option("--all", help="Show those that are decided, too.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show the incidents that wait for a decision. The listener may run."""
    async with cursor_store(settings) as store:
        found = await store.incidents(open_only=not everything)
    if as_json:
        for each in found:
            output.emit(_shown(each))
        return
    rows = [
        (
            each.id,
            escape(str(each.source)),
            each.report.kind,
            _when(each.opened_at_ms),
            each.decision or " or ".join(each.choices),
            escape(each.report.detail),
        )
        for each in found
    ]
    output.table("incidents", ("id", "source", "kind", "since", "decision", "what happened"), rows)


@app.command("resolve")
@configured("cursor")
async def incident_resolve(
    settings: Settings,
    incident_id: Annotated[int, typer.Argument(metavar="ID", help="The incident, as `list` shows it.")],
    decision: Annotated[
        Decision,
        typer.Option(
            "--as",
            help="retry: look again; rewind: take the node's chain and read on from the last common block; "
            "skip: pass over this log for ever.",
        ),
    ],
    as_json: options.AsJson = False,
) -> None:
    """Decide about an incident. A listener that runs goes on by itself."""
    async with cursor_store(settings) as store:
        decided = await store.decide(incident_id, decision, time.time_ns() // 1_000_000)
    if as_json:
        output.emit(_shown(decided))
        return
    output.say(f"incident {decided.id} of {escape(str(decided.source))}: {decided.decision}")
    for promise_id in decided.report.vanished:
        output.say(f"its log is gone, and this promise stays: {escape(promise_id)}")


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")


def _shown(incident: Incident) -> dict[str, Any]:
    report = incident.report
    return {
        "id": incident.id,
        "source": incident.source.name,
        "chain_id": incident.source.chain_id,
        "contract": incident.source.dao,
        "kind": report.kind,
        "detail": report.detail,
        "block_number": report.block_number,
        "log_index": report.log_index,
        "ancestor": report.ancestor_number,
        "vanished": list(report.vanished),
        "opened_at": _when(incident.opened_at_ms),
        "decision": incident.decision,
        "choices": list(incident.choices),
    }
