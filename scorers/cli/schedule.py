"""`dao-scorer schedule`: functions that are invoked again and again, by a cron line."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from orchestrator.client.invocation import invocation_value
from orchestrator.client.options import NO_DEADLINE_MS
from orchestrator.client.schedules import RUN_ID
from orchestrator.domain import tags as tag_names
from orchestrator.domain.address import any_of
from orchestrator.domain.schedule import UTC, CatchUp, Schedule
from orchestrator.protocol import schedules as s
from scorers.cli import options, output
from scorers.cli.arguments import json_of, milliseconds_of, tags_of
from scorers.cli.flags import configured
from scorers.cli.promise import readable
from scorers.cli.session import naming, server
from scorers.cli.when import duration, moment
from scorers.settings import Settings

SECONDS = len("2000-01-01 00:00:00")
app = typer.Typer(
    help="Invoke functions again and again, by cron lines.", no_args_is_help=True, rich_markup_mode=None
)
ScheduleId = Annotated[str, typer.Argument(help="The schedule's id.")]


@app.command("create")
@configured("group", "server")
async def create(
    settings: Settings,
    schedule_id: ScheduleId,
    cron: Annotated[
        str, typer.Option("--cron", help="5 fields; 6 with seconds before them; 7 with years behind them.")
    ],
    function: Annotated[str, typer.Option("--func", "-f", help="Name of the registered function.")],
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", help="An argument as JSON (text that is no JSON is a string)."),
    ] = None,
    version: Annotated[int, typer.Option(min=1, help="Version of the function.")] = 1,
    target: Annotated[
        str | None, typer.Option(help="Delivery address; by default any member of --group.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(help="How long a run may take, as 90s, 1h30m or 2d; by default for ever.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag of every run, as NAME=VALUE.")] = None,
    time_zone: Annotated[str, typer.Option(help="By whose wall clock the line goes (IANA name).")] = UTC,
    catch_up: Annotated[
        CatchUp, typer.Option(help="Which missed runs are made up after the server was away.")
    ] = CatchUp.ALL,
    promise_id: Annotated[str, typer.Option(help="Template of a run's id.")] = RUN_ID,
    as_json: options.AsJson = False,
) -> None:
    """Create a schedule; one that exists is shown as it is."""
    arguments = [json_of(text, "--arg") for text in arg or []]
    request = s.ScheduleCreate(
        id=schedule_id,
        cron=cron,
        promise_id=promise_id,
        promise_timeout=milliseconds_of(timeout, "--timeout") if timeout else NO_DEADLINE_MS,
        promise_param=invocation_value(function, version, arguments, {}),
        promise_tags={
            **tags_of(tag),
            tag_names.SCOPE: tag_names.SCOPE_GLOBAL,
            tag_names.TARGET: target or any_of(settings.group),
        },
        time_zone=time_zone,
        catch_up=catch_up,
    )
    async with server(settings) as transport:
        _show((await transport.call(request)).schedule, as_json=as_json)


@app.command("get")
@configured("server")
async def get(
    settings: Settings,
    schedule_id: ScheduleId,
    as_json: options.AsJson = False,
) -> None:
    """Show one schedule."""
    async with server(settings) as transport:
        with naming(schedule_id, settings, "schedule"):
            found = await transport.call(s.ScheduleGet(id=schedule_id))
    _show(found.schedule, as_json=as_json)


@app.command("search")
@configured("server")
async def search(
    settings: Settings,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only schedules whose runs have this tag, as NAME=VALUE.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Schedules a page.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """List schedules in order of id."""
    request = s.ScheduleSearch(tags=tags_of(tag), limit=limit, cursor=cursor)
    async with server(settings) as transport:
        page = await transport.call(request)
    if as_json:
        for schedule in page.schedules:
            output.emit(schedule)
        return
    rows = [
        (escape(each.id), escape(each.cron), each.time_zone, _next(each), moment(each.last_run_at)[:SECONDS])
        for each in page.schedules
    ]
    output.table(f"{len(rows)} schedules", ("id", "cron", "time zone", "next run", "last run"), rows)
    if page.cursor:
        output.say(f"more: --cursor {escape(page.cursor)}")


@app.command("delete")
@configured("server")
async def delete(
    settings: Settings,
    schedule_id: ScheduleId,
    as_json: options.AsJson = False,
) -> None:
    """Delete a schedule; the promises of its runs stay."""
    async with server(settings) as transport:
        with naming(schedule_id, settings, "schedule"):
            await transport.call(s.ScheduleDelete(id=schedule_id))
    if as_json:
        output.emit({"id": schedule_id})
    else:
        output.say(f"deleted {escape(schedule_id)}")


@app.command("pause")
@configured("server")
async def pause(
    settings: Settings,
    schedule_id: ScheduleId,
    as_json: options.AsJson = False,
) -> None:
    """Let a schedule rest until it is resumed."""
    async with server(settings) as transport:
        with naming(schedule_id, settings, "schedule"):
            paused = await transport.call(s.SchedulePause(id=schedule_id))
    _show(paused.schedule, as_json=as_json)


@app.command("resume")
@configured("server")
async def resume(
    settings: Settings,
    schedule_id: ScheduleId,
    as_json: options.AsJson = False,
) -> None:
    """Let a paused schedule run again, from its next moment on."""
    async with server(settings) as transport:
        with naming(schedule_id, settings, "schedule"):
            resumed = await transport.call(s.ScheduleResume(id=schedule_id))
    _show(resumed.schedule, as_json=as_json)


def _next(schedule: Schedule) -> str:
    return "paused" if schedule.paused else moment(schedule.next_run_at)[:SECONDS]


def _show(schedule: Schedule, *, as_json: bool) -> None:
    if as_json:
        output.emit(schedule)
        return
    unlimited = schedule.promise_timeout >= NO_DEADLINE_MS
    output.record(
        schedule.id,
        {
            "cron": schedule.cron,
            "time zone": schedule.time_zone,
            "next run": _next(schedule),
            "last run": moment(schedule.last_run_at),
            "catch up": schedule.catch_up,
            "run id": schedule.promise_id,
            "timeout": "never" if unlimited else duration(schedule.promise_timeout),
            "param": readable(schedule.promise_param),
            "tags": ", ".join(f"{name}={value}" for name, value in sorted(schedule.promise_tags.items())),
        },
    )
