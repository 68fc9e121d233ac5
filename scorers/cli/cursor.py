"""`dao-scorer cursor show|rewind`: where the listener stands, and how to have it read again."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from listener.store import Cursor
from scorers import composition
from scorers.cli import options, output
from scorers.cli.flags import configured
from scorers.listening import cursor_store, source_named
from scorers.settings import Settings

app = typer.Typer(help="Look at the listener's place.", no_args_is_help=True, rich_markup_mode=None)


@app.command("show")
@configured("cursor")
async def cursor_show(settings: Settings, as_json: options.AsJson = False) -> None:
    """Show how far each source is dispatched. The listener may run."""
    async with cursor_store(settings) as store:
        found = [(source, cursor, await store.counts(source)) for source, cursor in await store.cursors()]
    if as_json:
        for source, cursor, counts in found:
            output.emit(
                {
                    "source": source.name,
                    "chain_id": source.chain_id,
                    "contract": source.dao,
                    "block_number": cursor.block_number,
                    "block_hash": "0x" + cursor.block_hash.hex(),
                    "first_block": cursor.first_block,
                    "open_proposals": counts.open,
                    "parked_proposals": counts.parked,
                }
            )
        return
    rows = [
        (escape(str(source)), cursor.first_block, cursor.block_number, counts.open, counts.parked)
        for source, cursor, counts in found
    ]
    output.table("cursors", ("source", "from block", "to block", "open votes", "parked"), rows)


@app.command("rewind")
@configured("cursor", "rpc", "chain_id", "dao")
async def cursor_rewind(
    settings: Settings,
    block: Annotated[int, typer.Argument(metavar="BLOCK", min=0, help="The last block to keep.")],
    source_name: Annotated[
        str | None, typer.Option("--source", help="The source's name; the DAO of --dao without one.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Have the blocks after BLOCK read again. Nothing is dispatched twice; the listener may run."""
    async with cursor_store(settings) as store:
        source = await source_named(settings, store, source_name)
        stands = await store.cursor(source)
        if stands is None:
            output.fail(f"{source} has no cursor yet: nothing is to be read again")
        if not stands.first_block - 1 <= block < stands.block_number:
            output.fail(
                f"block {block} is not between {stands.first_block - 1}, where the scan began, and "
                f"{stands.block_number}, where the cursor stands"
            )
        if block < stands.first_block:
            await store.rewind(source, None)
        else:
            async with composition.node_of(settings) as node:
                header = await node.header(block)
            place = Cursor(block_number=block, block_hash=header.hash, first_block=stands.first_block)
            await store.rewind(source, place)
    if as_json:
        output.emit({"source": source.name, "contract": source.dao, "block_number": block})
    else:
        output.say(f"{escape(str(source))} reads again from block {block + 1}")
