"""`dao-scorer task`: who works on what, and the ways to step in by hand."""

from __future__ import annotations

import os
import socket
from typing import Annotated

import typer
from rich.markup import escape

from orchestrator.client.codec import encode_value
from orchestrator.client.outcomes import failure_value
from orchestrator.protocol import commands as c
from orchestrator.protocol.groups import TaskDead
from orchestrator.protocol.records import PromiseState, TaskRecord, TaskState
from scorers.cli import options, output
from scorers.cli.arguments import json_of, milliseconds_of
from scorers.cli.flags import configured
from scorers.cli.promise import show as show_promise
from scorers.cli.session import naming, server
from scorers.cli.when import duration, moment
from scorers.settings import Settings

app = typer.Typer(help="Look at tasks, and step in by hand.", no_args_is_help=True, rich_markup_mode=None)
TaskId = Annotated[str, typer.Argument(help="The task's id, which is its promise's.")]
Version = Annotated[int, typer.Option("--version", min=0, help="The version that is held or wanted.")]
Pid = Annotated[str | None, typer.Option("--pid", help="Who acts; by default this machine and process.")]
Ttl = Annotated[str, typer.Option(help="How long it is held without a heartbeat, as 30s or 5m.")]


@app.command("get")
@configured("server")
async def get(
    settings: Settings,
    task_id: TaskId,
    as_json: options.AsJson = False,
) -> None:
    """Show one task."""
    async with server(settings) as transport:
        with naming(task_id, settings, "task"):
            found = await transport.call(c.TaskGet(id=task_id))
    show(found.task, as_json=as_json)


@app.command("search")
@configured("server")
async def search(
    settings: Settings,
    state: Annotated[TaskState | None, typer.Option(help="Only tasks in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Tasks a page.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """List tasks by state, in order of id."""
    async with server(settings) as transport:
        page = await transport.call(c.TaskSearch(state=state, limit=limit, cursor=cursor))
    if as_json:
        for task in page.tasks:
            output.emit(task)
        return
    rows = [(escape(task.id), task.state, task.version, escape(task.pid or "-")) for task in page.tasks]
    output.table(f"{len(rows)} tasks", ("id", "state", "version", "held by"), rows)
    if page.cursor:
        output.say(f"more: --cursor {escape(page.cursor)}")


@app.command("acquire")
@configured("server")
async def acquire(
    settings: Settings,
    task_id: TaskId,
    version: Version,
    ttl: Ttl = "60s",
    pid: Pid = None,
    as_json: options.AsJson = False,
) -> None:
    """Take a pending task, so that no worker does. Its version is one higher from then on."""
    request = c.TaskAcquire(
        id=task_id, version=version, pid=pid or pid_here(), ttl=milliseconds_of(ttl, "--ttl")
    )
    async with server(settings) as transport:
        with naming(task_id, settings, "task"):
            claim = await transport.call(request)
    show(claim.task, as_json=as_json)


@app.command("release")
@configured("server")
async def release(
    settings: Settings,
    task_id: TaskId,
    version: Version,
    as_json: options.AsJson = False,
) -> None:
    """Give an acquired task back, whoever holds it. It is announced again."""
    await _act(settings, c.TaskRelease(id=task_id, version=version), "released", as_json=as_json)


@app.command("fulfill")
@configured("server")
async def fulfill(
    settings: Settings,
    task_id: TaskId,
    version: Version,
    value: Annotated[
        str | None, typer.Option("--value", help="The result as JSON (text that is no JSON is a string).")
    ] = None,
    error: Annotated[str | None, typer.Option("--error", help="Reject with this message instead.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Settle the promise of an acquired task for who holds it."""
    if error is not None and value is not None:
        output.fail("--value and --error exclude each other: the task either succeeds or fails")
    if error is None:
        result = None if value is None else json_of(value, "--value")
        state, settled = PromiseState.RESOLVED, encode_value(result, "--value")
    else:
        state, settled = PromiseState.REJECTED, failure_value(RuntimeError(error))
    action = c.PromiseSettle(id=task_id, state=state, value=settled)
    async with server(settings) as transport:
        with naming(task_id, settings, "task"):
            answer = await transport.call(c.TaskFulfill(id=task_id, version=version, action=action))
    show_promise(answer.promise, as_json=as_json)


@app.command("heartbeat")
@configured("server")
async def heartbeat(
    settings: Settings,
    pid: Annotated[str, typer.Option("--pid", help="Whose leases are renewed.")],
    as_json: options.AsJson = False,
) -> None:
    """Renew all leases of a worker."""
    async with server(settings) as transport:
        await transport.call(c.TaskHeartbeat(pid=pid))
    _tell("renewed the leases of", pid, as_json=as_json)


@app.command("halt")
@configured("server")
async def halt(
    settings: Settings,
    task_id: TaskId,
    as_json: options.AsJson = False,
) -> None:
    """Stop a task until it is continued; whoever holds it loses it."""
    await _act(settings, c.TaskHalt(id=task_id), "halted", as_json=as_json)


@app.command("continue")
@configured("server")
async def resume(
    settings: Settings,
    task_id: TaskId,
    as_json: options.AsJson = False,
) -> None:
    """Let a halted task go on."""
    await _act(settings, c.TaskContinue(id=task_id), "continued", as_json=as_json)


@app.command("dead")
@configured("server")
async def dead(
    settings: Settings,
    of_group: Annotated[str | None, typer.Option("--of", help="Only tasks of this group.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Tasks a page.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the tasks that were halted because their attempts are spent."""
    async with server(settings) as transport:
        page = await transport.call(TaskDead(group=of_group, limit=limit, cursor=cursor))
    if as_json:
        for letter in page.tasks:
            output.emit(letter)
        return
    rows = [
        (escape(each.id), escape(each.group), each.attempts, each.reason, moment(each.died_at))
        for each in page.tasks
    ]
    output.table(f"{len(rows)} dead tasks", ("id", "group", "attempts", "last one", "died"), rows)
    if page.cursor:
        output.say(f"more: --cursor {escape(page.cursor)}")


@app.command("revive")
@configured("server")
async def revive(
    settings: Settings,
    task_id: Annotated[str | None, typer.Argument(help="The task's id; or --all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead tasks, or all of --of.")] = False,
    of_group: Annotated[str | None, typer.Option("--of", help="With --all: of this group.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Let a dead task go on, with all its attempts."""
    if (task_id is None) is not everything or (of_group is not None and not everything):
        output.fail("name either the id of one task, or --all, with --of GROUP for those of one group")
    if task_id is not None:
        await _act(settings, c.TaskContinue(id=task_id), "revived", as_json=as_json)
        return
    async with server(settings) as transport:
        after: str | None = None
        while True:
            page = await transport.call(TaskDead(group=of_group, cursor=after))
            for letter in page.tasks:
                await transport.call(c.TaskContinue(id=letter.id))
                _tell("revived", letter.id, as_json=as_json)
            after = page.cursor
            if after is None:
                return


async def _act(
    settings: Settings, request: c.TaskRelease | c.TaskHalt | c.TaskContinue, done: str, *, as_json: bool
) -> None:
    async with server(settings) as transport:
        with naming(request.id, settings, "task"):
            await transport.call(request)
    _tell(done, request.id, as_json=as_json)


def _tell(done: str, name: str, *, as_json: bool) -> None:
    if as_json:
        output.emit({"id": name})
    else:
        output.say(f"{done} {escape(name)}")


def pid_here() -> str:
    """Return who acts unless it is said: this machine and process."""
    return f"{socket.gethostname()}-{os.getpid()}"


def show(task: TaskRecord, *, as_json: bool) -> None:
    """Print one task."""
    if as_json:
        output.emit(task)
        return
    output.record(
        task.id,
        {
            "state": task.state,
            "version": task.version,
            "resumes": task.resumes,
            "held by": task.pid or "nobody",
            "lease": "-" if task.ttl is None else duration(task.ttl),
        },
    )
