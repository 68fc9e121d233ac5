"""`dao-scorer promise`: promises as they are stored, and settling them by hand."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape

from orchestrator.client.clock import SystemClock
from orchestrator.client.promises import Promises
from orchestrator.client.sealing import UnopenedValue
from orchestrator.protocol.commands import (
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSearch,
    PromiseSettle,
)
from orchestrator.protocol.records import PromiseRecord, PromiseState, Value
from scorers.cli import options, output
from scorers.cli.arguments import address_of, json_of, milliseconds_of, tags_of
from scorers.cli.flags import configured
from scorers.cli.session import naming, server
from scorers.cli.when import duration, moment
from scorers.settings import Settings

SECONDS = len("2000-01-01 00:00:00")
"""A listing shows times to the second."""

app = typer.Typer(
    help="Look at durable promises, and settle them by hand.", no_args_is_help=True, rich_markup_mode=None
)
PromiseId = Annotated[str, typer.Argument(help="The promise's id.")]


@app.command("get")
@configured("server", "encryption_key_file")
async def get(
    settings: Settings,
    promise_id: PromiseId,
    as_json: options.AsJson = False,
) -> None:
    """Show one promise."""
    async with server(settings) as transport:
        with naming(promise_id, settings):
            promise = (await transport.call(PromiseGet(id=promise_id))).promise
    show(promise, as_json=as_json)


@app.command("create")
@configured("server", "encryption_key_file")
async def create(
    settings: Settings,
    promise_id: PromiseId,
    timeout: Annotated[
        str | None, typer.Option(help="When it times out, as 90s, 1h30m or 2d; by default never.")
    ] = None,
    param: Annotated[
        str | None, typer.Option(help="What it is about, as JSON (text that is no JSON is a string).")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag, as NAME=VALUE.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Create a promise that is settled by hand. One that exists is shown as it is."""
    value = None if param is None else json_of(param, "--param")
    seconds = milliseconds_of(timeout, "--timeout") / 1000 if timeout else None
    async with server(settings) as transport:
        promises = Promises(transport, SystemClock())
        show(
            await promises.create(promise_id, param=value, timeout_s=seconds, tags=tags_of(tag)),
            as_json=as_json,
        )


@app.command("resolve")
@configured("server", "encryption_key_file")
async def resolve(
    settings: Settings,
    promise_id: PromiseId,
    value: Annotated[
        str | None, typer.Option("--value", help="The result as JSON (text that is no JSON is a string).")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Resolve a promise; one that has settled is shown as it is."""
    result = None if value is None else json_of(value, "--value")
    async with server(settings) as transport:
        with naming(promise_id, settings):
            settled = await Promises(transport, SystemClock()).resolve(promise_id, result)
    show(settled, as_json=as_json)


@app.command("reject")
@configured("server", "encryption_key_file")
async def reject(
    settings: Settings,
    promise_id: PromiseId,
    error: Annotated[str, typer.Option("--error", help="What went wrong.")] = "rejected by hand",
    as_json: options.AsJson = False,
) -> None:
    """Reject a promise; one that has settled is shown as it is."""
    async with server(settings) as transport:
        with naming(promise_id, settings):
            settled = await Promises(transport, SystemClock()).reject(promise_id, error)
    show(settled, as_json=as_json)


@app.command("cancel")
@configured("server")
async def cancel(
    settings: Settings,
    promise_id: PromiseId,
    as_json: options.AsJson = False,
) -> None:
    """Settle one promise as canceled; one that has settled is shown as it is."""
    request = PromiseSettle(id=promise_id, state=PromiseState.REJECTED_CANCELED)
    async with server(settings) as transport:
        with naming(promise_id, settings):
            settled = (await transport.call(request)).promise
    show(settled, as_json=as_json)


@app.command("cancel-tree")
@configured("server")
async def cancel_tree(
    settings: Settings,
    promise_id: PromiseId,
    as_json: options.AsJson = False,
) -> None:
    """Ask a workflow and all that it called to clean up and end."""
    await _end_tree(settings, promise_id, Promises.cancel, as_json=as_json)


@app.command("terminate-tree")
@configured("server")
async def terminate_tree(
    settings: Settings,
    promise_id: PromiseId,
    as_json: options.AsJson = False,
) -> None:
    """Settle a promise and all that it called as canceled, at once."""
    await _end_tree(settings, promise_id, Promises.terminate, as_json=as_json)


async def _end_tree(
    settings: Settings,
    promise_id: str,
    end: Callable[[Promises, str], Coroutine[Any, Any, PromiseRecord]],
    *,
    as_json: bool,
) -> None:
    async with server(settings) as transport:
        with naming(promise_id, settings):
            record = await end(Promises(transport, SystemClock()), promise_id)
    show(record, as_json=as_json)


@app.command("register-callback")
@configured("server")
async def register_callback(
    settings: Settings,
    promise_id: PromiseId,
    awaiter: Annotated[str, typer.Option(help="The task that goes on once the promise settles.")],
    as_json: options.AsJson = False,
) -> None:
    """Have a task of the same tree wait for a promise, too."""
    await _wait_for(settings, PromiseRegisterCallback(awaited=promise_id, awaiter=awaiter), as_json=as_json)


@app.command("register-listener")
@configured("server")
async def register_listener(
    settings: Settings,
    promise_id: PromiseId,
    address: Annotated[str, typer.Option(help="Who is told, as poll://any@GROUP or a URL.")],
    as_json: options.AsJson = False,
) -> None:
    """Have an address be told once a promise settles."""
    request = PromiseRegisterListener(awaited=promise_id, address=address_of(address, "--address"))
    await _wait_for(settings, request, as_json=as_json)


async def _wait_for(
    settings: Settings, request: PromiseRegisterCallback | PromiseRegisterListener, *, as_json: bool
) -> None:
    async with server(settings) as transport:
        with naming(request.awaited, settings):
            promise = (await transport.call(request)).promise
    show(promise, as_json=as_json)


@app.command("search")
@configured("server")
async def search(
    settings: Settings,
    state: Annotated[PromiseState | None, typer.Option(help="Only promises in this state.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only promises with this tag, as NAME=VALUE.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Promises a page.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """List promises by state and tags, in order of id."""
    request = PromiseSearch(state=state, tags=tags_of(tag), limit=limit, cursor=cursor)
    async with server(settings) as transport:
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


def show(promise: PromiseRecord, *, as_json: bool) -> None:
    """Print one promise."""
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


def readable(value: Value) -> str:
    """Return a stored value as JSON text where it is that, else as it stands."""
    if value.data is None:
        return "empty"
    if value.key_id is not None:
        reason = value.reason if isinstance(value, UnopenedValue) else "--encryption-key-file shows it"
        return f"encrypted with key {value.key_id}: {reason}"
    try:
        decoded: Any = msgspec.json.decode(base64.b64decode(value.data, validate=True))
    except (binascii.Error, ValueError):
        return value.data
    return msgspec.json.encode(decoded).decode()
