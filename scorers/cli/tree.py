"""`dao-scorer tree`: the call graph of an invocation, drawn."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.live import Live
from rich.markup import escape
from rich.tree import Tree

from orchestrator.protocol.paging import fetch_tree
from orchestrator.protocol.records import PromiseState
from orchestrator.protocol.transport import Transport
from scorers.cli import options, output
from scorers.cli.flags import configured
from scorers.cli.session import naming, server
from scorers.cli.when import duration
from scorers.settings import Settings
from scorers.tree import Call, call_tree

WATCH_S = 0.5
"""Between two looks at an invocation that is watched."""
MARKS = {
    PromiseState.PENDING: "[yellow]●[/]",
    PromiseState.RESOLVED: "[green]✔[/]",
    PromiseState.REJECTED: "[red]✘[/]",
    PromiseState.REJECTED_CANCELED: "[red]⊘[/]",
    PromiseState.REJECTED_TIMEDOUT: "[red]⌛[/]",
}


@configured("server")
async def tree(
    settings: Settings,
    promise_id: Annotated[str, typer.Argument(help="The invocation's id, or that of a call below it.")],
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw it again as it changes, until the invocation has settled.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Draw the calls of an invocation with their states and times."""
    async with server(settings) as transport:
        with naming(promise_id, settings):
            root = await _fetch(transport, promise_id)
        if watch and not as_json and output.out.is_terminal:
            await _show_live(transport, promise_id, root)
            return
        _print(root, as_json=as_json)
        while watch and root.promise.pending:
            await asyncio.sleep(WATCH_S)
            before, root = root, await _fetch(transport, promise_id)
            if root != before:
                _print(root, as_json=as_json)


async def _fetch(transport: Transport, promise_id: str) -> Call:
    return call_tree(*await fetch_tree(transport.call, promise_id))


async def _show_live(transport: Transport, promise_id: str, root: Call) -> None:
    with Live(_drawn(root), console=output.out, auto_refresh=False) as live:
        while root.promise.pending:
            await asyncio.sleep(WATCH_S)
            root = await _fetch(transport, promise_id)
            live.update(_drawn(root), refresh=True)


def _print(root: Call, *, as_json: bool) -> None:
    if as_json:
        output.emit(_record(root))
    else:
        output.draw(_drawn(root))


def _drawn(root: Call) -> Tree:
    drawn = Tree(_line(root, root.promise.id))
    stack = [(root, drawn)]
    while stack:
        call, branch = stack.pop()
        stack.extend((child, branch.add(_line(child, _place(child, root)))) for child in call.children)
    return drawn


def _place(call: Call, root: Call) -> str:
    """Return the id, on a terminal without the part that all calls share: it would fold every line."""
    return call.promise.id.removeprefix(root.promise.id) if output.out.is_terminal else call.promise.id


def _line(call: Call, place: str) -> str:
    promise = call.promise
    return (
        f"{MARKS[promise.state]} [bold]{escape(call.function)}[/] [dim]{escape(place)}[/]"
        f" {promise.state} [cyan]{duration(call.duration_ms)}[/]"
    )


def _record(call: Call) -> dict[str, object]:
    return {
        "id": call.promise.id,
        "function": call.function,
        "state": call.promise.state,
        "created_at": call.promise.created_at,
        "settled_at": call.promise.settled_at,
        "children": [_record(child) for child in call.children],
    }
