"""`dao-scorer task create|suspend|fence`: what a worker does with a task that it holds, by hand."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from orchestrator.client.clock import SystemClock
from orchestrator.client.codec import encode_value
from orchestrator.client.options import CallOptions
from orchestrator.client.outcomes import failure_value
from orchestrator.domain import tags as tags_known
from orchestrator.domain.ids import extends, origin_of
from orchestrator.protocol import commands as c
from orchestrator.protocol.records import PromiseRecord, PromiseState, Value
from scorers.cli import options, output
from scorers.cli.arguments import address_of, json_of, milliseconds_of, tags_of
from scorers.cli.flags import configured
from scorers.cli.promise import show as show_promise
from scorers.cli.session import naming, server
from scorers.cli.task import Pid, TaskId, Ttl, Version, app, pid_here
from scorers.cli.task import show as show_task
from scorers.errors import UnknownPromise
from scorers.settings import Settings

Timeout = Annotated[
    str | None, typer.Option(help="When the promise times out, as 90s, 1h30m or 2d; by default never.")
]
Param = Annotated[
    str | None, typer.Option(help="What it is about, as JSON (text that is no JSON is a string).")
]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="A tag of the promise, as NAME=VALUE.")]


@app.command("create")
@configured("group", "server", "encryption_key_file")
async def create(
    settings: Settings,
    task_id: TaskId,
    timeout: Timeout = None,
    param: Param = None,
    tag: Tags = None,
    target: Annotated[
        str | None, typer.Option(help="Who has it once it is released; by default any member of --group.")
    ] = None,
    ttl: Ttl = "60s",
    pid: Pid = None,
    as_json: options.AsJson = False,
) -> None:
    """Create a promise together with its task, and hold the task. Refused while somebody else holds it."""
    address = address_of(target, "--target") if target else f"poll://any@{settings.group}"
    tags = {**_lineage(task_id, task_id), tags_known.TARGET: address, **tags_of(tag)}
    action = _creation(task_id, timeout=timeout, param=param, tags=tags)
    request = c.TaskCreate(pid=pid or pid_here(), ttl=milliseconds_of(ttl, "--ttl"), action=action)
    async with server(settings) as transport:
        claim = await transport.call(request)
    show_task(claim.task, as_json=as_json)


@app.command("suspend")
@configured("server")
async def suspend(
    settings: Settings,
    task_id: TaskId,
    version: Version,
    awaited: Annotated[
        list[str], typer.Option("--awaited", help="A promise of the same tree that is waited for.")
    ],
    as_json: options.AsJson = False,
) -> None:
    """Let a held task rest until a promise settles; where one has settled it stays held."""
    actions = [c.PromiseRegisterCallback(awaited=each, awaiter=task_id) for each in awaited]
    async with server(settings) as transport:
        with naming(task_id, settings, "task"):
            answer = await transport.call(c.TaskSuspend(id=task_id, version=version, actions=actions))
    if as_json:
        output.emit({"id": task_id, "suspended": answer.suspended})
    elif answer.suspended:
        output.say(f"suspended {escape(task_id)}")
    else:
        output.say(f"{escape(task_id)} stays held: something that it awaits has settled")


@app.command("fence")
@configured("server", "encryption_key_file")
async def fence(
    settings: Settings,
    task_id: TaskId,
    version: Version,
    create_id: Annotated[str | None, typer.Option("--create", help="Create this promise.")] = None,
    resolve_id: Annotated[str | None, typer.Option("--resolve", help="Resolve this promise.")] = None,
    reject_id: Annotated[str | None, typer.Option("--reject", help="Reject this promise.")] = None,
    timeout: Timeout = None,
    param: Param = None,
    tag: Tags = None,
    value: Annotated[str | None, typer.Option("--value", help="With --resolve: the result as JSON.")] = None,
    error: Annotated[str, typer.Option("--error", help="With --reject: what went wrong.")] = "rejected",
    as_json: options.AsJson = False,
) -> None:
    """Create or settle another promise, if the task is held at that version still."""
    named = [each for each in (create_id, resolve_id, reject_id) if each is not None]
    if len(named) != 1:
        output.fail("name one promise, by --create, --resolve or --reject")
    action: c.PromiseCreate | c.PromiseSettle
    if create_id is not None:
        lineage = _lineage(create_id, task_id)
        tags = {**lineage, tags_known.EXTERNAL: tags_known.TRUE, **tags_of(tag)}
        action = _creation(create_id, timeout=timeout, param=param, tags=tags)
    elif resolve_id is not None:
        result = encode_value(None if value is None else json_of(value, "--value"), "--value")
        action = c.PromiseSettle(id=resolve_id, state=PromiseState.RESOLVED, value=result)
    else:
        failure = failure_value(RuntimeError(error))
        action = c.PromiseSettle(id=named[0], state=PromiseState.REJECTED, value=failure)
    show_promise(await _fenced(settings, task_id, version, action), as_json=as_json)


def _lineage(promise_id: str, task_id: str) -> dict[str, str]:
    """Return the tags that put a promise below a task, or on its own if its id says so."""
    below = extends(promise_id, task_id)
    origin, parent = (origin_of(task_id), task_id) if below else (promise_id, promise_id)
    tree = {tags_known.ORIGIN: origin, tags_known.BRANCH: parent, tags_known.PARENT: parent}
    return {**tree, tags_known.SCOPE: tags_known.SCOPE_GLOBAL}


async def _fenced(
    settings: Settings, task_id: str, version: int, action: c.PromiseCreate | c.PromiseSettle
) -> PromiseRecord:
    async with server(settings) as transport:
        with naming(task_id, settings, "task"):
            answer = await transport.call(c.TaskFence(id=task_id, version=version, action=action))
    if answer.promise is None:
        raise UnknownPromise(action.id, settings.server)
    return answer.promise


def _creation(
    promise_id: str, *, timeout: str | None, param: str | None, tags: dict[str, str]
) -> c.PromiseCreate:
    timeout_s = milliseconds_of(timeout, "--timeout") / 1000 if timeout else None
    value = Value() if param is None else encode_value(json_of(param, "--param"), "--param")
    timeout_at = CallOptions(timeout_s=timeout_s).deadline_ms(SystemClock().now_ms())
    return c.PromiseCreate(id=promise_id, timeout_at=timeout_at, param=value, tags=tags)
