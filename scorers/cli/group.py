"""`dao-scorer group`: how much of a worker group's work runs at once, and how often."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec import UNSET, UnsetType
from rich.markup import escape

from orchestrator.protocol import groups as g
from scorers.cli import options, output
from scorers.cli.arguments import milliseconds_of
from scorers.cli.flags import configured
from scorers.cli.session import server
from scorers.cli.when import duration
from scorers.settings import Settings

NONE = "none"
app = typer.Typer(
    help="Limit worker groups, pause and resume them.", no_args_is_help=True, rich_markup_mode=None
)
GroupId = Annotated[str, typer.Argument(metavar="GROUP", help="The group's name; of a push target its URL.")]
Limit = int | UnsetType | None


@app.command("show")
@configured("server")
async def show(
    settings: Settings,
    name: GroupId,
    as_json: options.AsJson = False,
) -> None:
    """Show a group's limits, and how many of its tasks run and wait."""
    await _call(settings, g.GroupGet(id=name), as_json=as_json)


@app.command("set")
@configured("server")
async def set_limits(
    settings: Settings,
    name: GroupId,
    concurrency: Annotated[str | None, typer.Option(help="Tasks acquired at once, or none.")] = None,
    rate: Annotated[str | None, typer.Option(help="Acquisitions in a time, as 10/1s or 500/1h.")] = None,
    attempts: Annotated[
        str | None, typer.Option(help="Acquisitions of a task in a row without progress, or none.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Set limits of a group; what is not named stays as it is."""
    count, period = _rate(rate)
    request = g.GroupSet(
        id=name,
        concurrency=_number(concurrency, "--concurrency"),
        rate=count,
        period=period,
        attempts=_number(attempts, "--attempts"),
    )
    await _call(settings, request, as_json=as_json)


@app.command("pause")
@configured("server")
async def pause(
    settings: Settings,
    name: GroupId,
    as_json: options.AsJson = False,
) -> None:
    """Hand out no task of a group until it is resumed; those that run go on."""
    await _call(settings, g.GroupPause(id=name), as_json=as_json)


@app.command("resume")
@configured("server")
async def resume(
    settings: Settings,
    name: GroupId,
    as_json: options.AsJson = False,
) -> None:
    """Let a paused group go on."""
    await _call(settings, g.GroupResume(id=name), as_json=as_json)


@app.command("list")
@configured("server")
async def list_groups(
    settings: Settings,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Groups a page.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the groups of which anything is set, in order of name."""
    async with server(settings) as transport:
        page = await transport.call(g.GroupSearch(limit=limit, cursor=cursor))
    if as_json:
        for group in page.groups:
            output.emit(group)
        return
    rows = [(escape(group.id), *_columns(group).values()) for group in page.groups]
    output.table(f"{len(rows)} groups", ("group", *_columns(g.GroupRecord(id=""))), rows)
    if page.cursor:
        output.say(f"more: --cursor {escape(page.cursor)}")


async def _call(settings: Settings, request: g.GroupGet | g.GroupChange, *, as_json: bool) -> None:
    async with server(settings) as transport:
        group = (await transport.call(request)).group
    if as_json:
        output.emit(group)
    else:
        output.record(group.id, _columns(group))


def _columns(group: g.GroupRecord) -> dict[str, str]:
    rate = "-" if group.rate is None else f"{group.rate} in {duration(group.period or 0)}"
    return {
        "state": "paused" if group.paused else "open",
        "concurrency": _shown(group.concurrency),
        "rate": rate,
        "attempts": _shown(group.attempts),
        "acquired": _shown(group.acquired),
        "waiting": _shown(group.waiting),
    }


def _shown(number: int | None) -> str:
    return "-" if number is None else str(number)


def _number(text: str | None, flag: str) -> Limit:
    if text is None:
        return UNSET
    if text == NONE:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        output.fail(f"{flag} {text[:64]!r} is no limit: write a whole number from 1 on, or none")
    return int(text)


def _rate(text: str | None) -> tuple[Limit, Limit]:
    if text is None or text == NONE:
        return (UNSET, UNSET) if text is None else (None, None)
    count, slash, period = text.partition("/")
    if not slash:
        output.fail(f"--rate {text[:64]!r} is no rate: write 10/1s, 500/1h or none")
    return _number(count, "--rate"), milliseconds_of(period, "--rate")
