"""`dao-scorer invoke`: start a function by hand, and wait for its result if asked."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator import Orchestrator
from orchestrator.protocol.commands import PromiseSearch
from scorers.cli import options, output
from scorers.cli.arguments import address_of, json_of
from scorers.cli.flags import configured
from scorers.cli.session import keys_of, server
from scorers.settings import Settings, token_of


@configured("group", "server", "encryption_key_file")
async def invoke(
    settings: Settings,
    promise_id: Annotated[str, typer.Argument(help="The invocation's id; one that exists is attached to.")],
    function: Annotated[str, typer.Option("--func", "-f", help="Name of the registered function.")],
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", help="An argument as JSON (text that is no JSON is a string)."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Delivery address; by default any member of --group.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result and print it.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Invoke a function on a worker group."""
    app = Orchestrator.remote(
        settings.server,
        group="command-line",
        token=token_of(settings),
        worker=False,
        encryptor=keys_of(settings),
    )
    address = address_of(target, "--target") if target else f"poll://any@{settings.group}"
    arguments = [json_of(text, "--arg") for text in arg or []]
    async with server(settings) as transport:
        # The application would wait for a server that is away; whoever types a command wants to know.
        await transport.call(PromiseSearch(limit=1))
    async with app:
        handle = await app.options(target=address).begin_rpc(promise_id, function, *arguments)
        result: Any = await handle.result() if wait else None
    if as_json:
        output.emit({"id": promise_id, "result": result} if wait else {"id": promise_id})
    elif wait:
        output.out.print(result)
    else:
        output.say(f"invoked {promise_id}: see dao-scorer tree {promise_id}")
