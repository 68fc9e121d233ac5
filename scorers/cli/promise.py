"""`dao-scorer promise get|search`: look at promises as they are stored."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape

from orchestrator.protocol.commands import PromiseGet, PromiseSearch
from orchestrator.protocol.records import PromiseRecord, PromiseState, Value
from scorers.cli import options, output
from scorers.cli.session import command, naming, server
from scorers.cli.when import duration, moment
from scorers.settings import load_settings

SECONDS = len("2000-01-01 00:00:00")
"""A listing shows times to the second."""

app = typer.Typer(help="Look at durable promises.", no_args_is_help=True, rich_markup_mode=None)


@app.command("get")
@command
async def get(
    promise_id: Annotated[str, typer.Argument(help="The promise's id.")],
    server_url: options.Server = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """Show one promise."""
    settings = load_settings(config, server=server_url)
    async with server(settings) as transport:
        with naming(promise_id, settings):
            promise = (await transport.call(PromiseGet(id=promise_id))).promise
    if as_json:
        output.emit(promise)
        return
    output.record(
        promise.id,
        {
            "state": promise.state,
            "created": moment(promise.created_at),
            "settled": moment(promise.settled_at),
            "deadline": moment(promise.timeout_at),
            "param": readable(promise.param),
            "value": readable(promise.value),
            "tags": ", ".join(f"{name}={value}" for name, value in sorted(promise.tags.items())) or "none",
        },
    )


@app.command("search")
@command
async def search(
    state: Annotated[PromiseState | None, typer.Option(help="Only promises in this state.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only promises with this tag, as NAME=VALUE.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Promises a page.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    server_url: options.Server = None,
    config: options.Config = None,
    as_json: options.AsJson = False,
) -> None:
    """List promises by state and tags, in order of id."""
    request = PromiseSearch(state=state, tags=_tags(tag or []), limit=limit, cursor=cursor)
    async with server(load_settings(config, server=server_url)) as transport:
        page = await transport.call(request)
    if as_json:
        for promise in page.promises:
            output.emit(promise)
        return
    rows = [
        (escape(promise.id), promise.state, moment(promise.created_at)[:SECONDS], _lasted(promise))
        for promise in page.promises
    ]
    output.table(f"{len(rows)} promises", ("id", "state", "created", "took"), rows)
    if page.cursor:
        output.say(f"more: --cursor {escape(page.cursor)}")


def _lasted(promise: PromiseRecord) -> str:
    return duration(None if promise.settled_at is None else promise.settled_at - promise.created_at)


def _tags(pairs: list[str]) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs]
    for name, separator, _ in split:
        if not name or not separator:
            output.fail(f"tag {name!r} has no value: write --tag NAME=VALUE")
    return {name: value for name, _, value in split}


def readable(value: Value) -> str:
    """Return a stored value as JSON text where it is that, else as it stands."""
    if value.data is None:
        return "empty"
    try:
        decoded: Any = msgspec.json.decode(base64.b64decode(value.data, validate=True))
    except (binascii.Error, ValueError):
        return value.data
    return msgspec.json.encode(decoded).decode()
