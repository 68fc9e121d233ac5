"""The JSON envelope: requests, responses and messages as bytes, and back.

Request `{kind, head: {corrId, version, auth?}, data}`, response `{kind, head: {corrId, status, version},
data}`, where the data of an error is a plain string. Nested actions travel in envelopes of their own.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from orchestrator.domain.errors import Refused
from orchestrator.protocol import commands as c
from orchestrator.protocol import debugging, groups, schedules
from orchestrator.protocol.messages import Cancel, Execute, Message, Unblock
from orchestrator.protocol.nesting import DEPTH_MAX, too_deep
from orchestrator.protocol.records import PromiseRecord

VERSION = "2026-04-01"
BUNDLE_PATH = "bundle"
BUNDLE_MAX = 256
"""How many requests, one a line, one bundle may hold (extension `bundle`), or one message of a channel."""
CHANNEL_PATH = "channel"
OK = 200
SUSPEND_SETTLED = 300
NOT_FOUND = 404
PROMISE_NOT_FOUND = "Promise not found"
AnswerT = TypeVar("AnswerT", bound=c.Answer)


class RequestHead(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`debug_time` (Unix milliseconds) replaces the clock where the server allows it."""

    corr_id: str
    version: str
    auth: str | None = None
    debug_time: int | None = msgspec.field(default=None, name="resonate:debug_time")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed request; its head is trusted in form only."""

    head: RequestHead
    command: c.Command[c.Answer]


class ResponseHead(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`status` is also the HTTP status."""

    corr_id: str
    status: int
    version: str


class RequestEnvelope(msgspec.Struct, frozen=True):
    """A request whose data has not been looked at."""

    kind: str
    head: RequestHead
    data: msgspec.Raw


class _RawResponse(msgspec.Struct, frozen=True):
    kind: str
    head: ResponseHead
    data: msgspec.Raw


class _Addressed(msgspec.Struct, frozen=True):
    head: ResponseHead


class _RawAction(msgspec.Struct, frozen=True):
    kind: str
    data: msgspec.Raw


class _TaskCreateData(msgspec.Struct, frozen=True):
    pid: str
    ttl: int
    action: _RawAction


class _TaskActionData(msgspec.Struct, frozen=True):
    id: str
    version: int
    action: _RawAction


class _TaskSuspendData(msgspec.Struct, frozen=True):
    id: str
    version: int
    actions: list[_RawAction]
    heeds: bool = False
    bare: bool = False


class _FencedAnswer(msgspec.Struct, frozen=True):
    action: _RawResponse
    preload: list[PromiseRecord] = []
    cancelled: bool = False


class _PreloadData(msgspec.Struct, frozen=True):
    preload: list[PromiseRecord] = []
    cancelled: bool = False


_FENCEABLE: dict[str, type[c.PromiseCreate | c.PromiseSettle | c.PromiseRecordStep | c.PromiseProgress]] = {
    action.KIND: action
    for action in (c.PromiseCreate, c.PromiseSettle, c.PromiseRecordStep, c.PromiseProgress)
}
_ANSWERS: dict[str, type[c.Answer]] = {
    c.PromiseSearch.KIND: c.PromisePage,
    c.TaskGet.KIND: c.TaskAnswer,
    c.TaskCreate.KIND: c.TaskClaim,
    c.TaskAcquire.KIND: c.TaskClaim,
    c.TaskRelease.KIND: c.Empty,
    c.TaskFulfill.KIND: c.PromiseAnswer,
    c.TaskHeartbeat.KIND: c.HeartbeatAnswer,
    c.TaskHalt.KIND: c.Empty,
    c.TaskContinue.KIND: c.Empty,
    c.TaskSearch.KIND: c.TaskPage,
    c.Describe.KIND: c.DescribeAnswer,
    schedules.ScheduleGet.KIND: schedules.ScheduleAnswer,
    schedules.ScheduleCreate.KIND: schedules.ScheduleAnswer,
    schedules.ScheduleDelete.KIND: c.Empty,
    schedules.ScheduleSearch.KIND: schedules.SchedulePage,
    schedules.SchedulePause.KIND: schedules.ScheduleAnswer,
    schedules.ScheduleResume.KIND: schedules.ScheduleAnswer,
    groups.GroupGet.KIND: groups.GroupAnswer,
    groups.GroupSet.KIND: groups.GroupAnswer,
    groups.GroupPause.KIND: groups.GroupAnswer,
    groups.GroupResume.KIND: groups.GroupAnswer,
    groups.GroupSearch.KIND: groups.GroupPage,
    groups.TaskDead.KIND: groups.DeadPage,
    debugging.DebugStart.KIND: c.Empty,
    debugging.DebugStop.KIND: c.Empty,
    debugging.DebugReset.KIND: c.Empty,
    debugging.DebugTick.KIND: debugging.DebugTickAnswer,
    debugging.DebugSnap.KIND: debugging.DebugSnapAnswer,
}


def answer_type(command: type[c.Command[Any]]) -> type[c.Answer]:
    """Return the type of what an operation answers."""
    return _ANSWERS.get(command.KIND, c.PromiseAnswer)


_encoder = msgspec.json.Encoder()
_request_decoder = msgspec.json.Decoder(RequestEnvelope)
_response_decoder = msgspec.json.Decoder(_RawResponse)
_address_decoder = msgspec.json.Decoder(_Addressed)


# -- requests


def encode_request(command: c.Command[c.Answer], corr_id: str, auth: str | None = None) -> bytes:
    """Encode a command for the wire; `auth` is a bearer token."""
    head = RequestHead(corr_id=corr_id, version=VERSION, auth=auth)
    return _encoder.encode({"kind": command.KIND, "head": head, "data": _request_data(command, corr_id)})


def _request_data(command: c.Command[Any], corr_id: str) -> object:
    match command:
        case c.TaskCreate(pid=pid, ttl=ttl, action=action):
            return {"pid": pid, "ttl": ttl, "action": _action(action, corr_id)}
        case c.TaskFulfill() | c.TaskFence():
            return {
                "id": command.id,
                "version": command.version,
                "action": _action(command.action, corr_id),
            }
        case c.TaskSuspend():
            actions = [_action(action, corr_id) for action in command.actions]
            used = {name: True for name in ("heeds", "bare") if getattr(command, name)}
            return {"id": command.id, "version": command.version, "actions": actions, **used}
        case c.TaskHeartbeat():
            return {"pid": command.pid, "tasks": command.tasks}
        case _:
            return command


def _action(command: c.Command[Any], corr_id: str) -> dict[str, object]:
    head = {"corrId": corr_id, "version": VERSION}
    return {"kind": command.KIND, "head": head, "data": command}


def decode_request(body: bytes) -> Request:
    """Parse a request: `decode_envelope`, then `decode_command`. Raises Refused(400)."""
    envelope = decode_envelope(body)
    return Request(head=envelope.head, command=decode_command(envelope))


def decode_envelope(body: bytes) -> RequestEnvelope:
    """Parse all of a request but its data, so that a token can be checked before the operation is looked at.

    Raises Refused(400) that says what is wrong with it; `recover` tells how to address the answer.
    """
    if too_deep(body):
        raise Refused(400, f"Invalid request: nested deeper than {DEPTH_MAX} levels")
    try:
        raw = _request_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"Invalid request: {error}") from error
    if not raw.kind:
        raise Refused(400, "Invalid request: kind is empty")
    if raw.head.version != VERSION:
        raise Refused(400, f"Unsupported version {raw.head.version!r}: this server speaks {VERSION}")
    return raw


def decode_command(envelope: RequestEnvelope) -> c.Command[c.Answer]:
    """Parse the data of a request. Raises Refused(400)."""
    command = c.COMMANDS.get(envelope.kind)
    if command is None:
        raise Refused(400, f"Unknown operation: {envelope.kind}")
    try:
        return _command(command, envelope.data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"Invalid data of {envelope.kind}: {error}") from error


def _command(command: type[c.Command[c.Answer]], data: msgspec.Raw) -> c.Command[c.Answer]:
    if command is c.TaskCreate:
        create = msgspec.json.decode(data, type=_TaskCreateData)
        inner = _inner(create.action, c.PromiseCreate)
        return c.TaskCreate(pid=create.pid, ttl=create.ttl, action=inner)
    if command is c.TaskFulfill:
        fulfill = msgspec.json.decode(data, type=_TaskActionData)
        settle = _inner(fulfill.action, c.PromiseSettle)
        return c.TaskFulfill(id=fulfill.id, version=fulfill.version, action=settle)
    if command is c.TaskFence:
        fence = msgspec.json.decode(data, type=_TaskActionData)
        fenced = _FENCEABLE.get(fence.action.kind)
        if fenced is None:
            raise Refused(400, f"Invalid data of task.fence: {fence.action.kind!r} cannot be fenced")
        return c.TaskFence(
            id=fence.id, version=fence.version, action=msgspec.json.decode(fence.action.data, type=fenced)
        )
    if command is c.TaskSuspend:
        suspend = msgspec.json.decode(data, type=_TaskSuspendData)
        actions = [_inner(action, c.PromiseRegisterCallback) for action in suspend.actions]
        return c.TaskSuspend(
            id=suspend.id,
            version=suspend.version,
            actions=actions,
            heeds=suspend.heeds,
            bare=suspend.bare,
        )
    return msgspec.json.decode(data, type=command)


CommandT = TypeVar("CommandT", bound=c.Command[Any])


def _inner(action: _RawAction, expected: type[CommandT]) -> CommandT:
    if action.kind != expected.KIND:
        raise Refused(400, f"Invalid action {action.kind!r}: expected {expected.KIND}")
    inner: CommandT = msgspec.json.decode(action.data, type=expected)
    return inner


def recover(body: bytes) -> tuple[str, str]:
    """Return kind and corrId of a request that did not parse, as well as they can be told."""
    if too_deep(body):
        return "unknown", "0"
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "unknown", "0"
    if not isinstance(parsed, dict):
        return "unknown", "0"
    kind, head = parsed.get("kind"), parsed.get("head")
    corr_id = head.get("corrId") if isinstance(head, dict) else None
    return kind if isinstance(kind, str) else "unknown", corr_id if isinstance(corr_id, str) else "0"


# -- responses


def encode_answer(command: c.Command[Any], corr_id: str, answer: c.Answer) -> tuple[int, bytes]:
    """Encode a success; return its status and the response's bytes."""
    status, data = OK, _answer_data(command, corr_id, answer)
    if isinstance(answer, c.SuspendAnswer) and not answer.suspended:
        status = SUSPEND_SETTLED
    return status, _encoder.encode(_response(command.KIND, corr_id, status, data))


def encode_refusal(kind: str, corr_id: str, refusal: Refused) -> bytes:
    """Encode an error response; its status is the refusal's."""
    return _encoder.encode(_response(kind, corr_id, refusal.status, refusal.message))


def _response(kind: str, corr_id: str, status: int, data: object) -> dict[str, object]:
    return {"kind": kind, "head": ResponseHead(corr_id=corr_id, status=status, version=VERSION), "data": data}


def _answer_data(command: c.Command[Any], corr_id: str, answer: c.Answer) -> object:
    match answer:
        case c.SuspendAnswer(suspended=True):
            return {}
        case c.SuspendAnswer(preload=preload):
            return {"preload": preload, **_cancelled(answer)}
        case c.FenceAnswer(promise=promise, preload=preload) if isinstance(command, c.TaskFence):
            found = promise is not None
            inner = _response(
                command.action.KIND,
                corr_id,
                OK if found else NOT_FOUND,
                {"promise": promise} if found else PROMISE_NOT_FOUND,
            )
            return {"action": inner, "preload": preload, **_cancelled(answer)}
        case _:
            return answer


def _cancelled(answer: c.SuspendAnswer | c.FenceAnswer) -> dict[str, bool]:
    return {"cancelled": True} if answer.cancelled else {}


def decode_answer(command: c.Command[AnswerT], body: bytes) -> AnswerT:
    """Parse the response to a command.

    Raises Refused with the engine's status and message; msgspec.DecodeError if it is no response at all.
    """
    raw = _response_decoder.decode(body)
    status = raw.head.status
    if status not in (OK, SUSPEND_SETTLED):
        raise Refused(status, _error_text(raw.data))
    return _answer(command, status, raw.data)  # type: ignore[return-value]  # by the table of answers


def response_head(body: bytes) -> ResponseHead:
    """Return the head of a response, which says whose it is. Raises msgspec.DecodeError if it is none."""
    return _address_decoder.decode(body).head


def _answer(command: c.Command[Any], status: int, data: msgspec.Raw) -> c.Answer:
    if isinstance(command, c.TaskSuspend):
        rest = msgspec.json.decode(data, type=_PreloadData)
        return c.SuspendAnswer(suspended=status == OK, preload=rest.preload, cancelled=rest.cancelled)
    if isinstance(command, c.TaskFence):
        fenced = msgspec.json.decode(data, type=_FencedAnswer)
        found = fenced.action.head.status == OK
        inner = msgspec.json.decode(fenced.action.data, type=c.PromiseAnswer) if found else None
        return c.FenceAnswer(
            promise=inner.promise if inner else None, preload=fenced.preload, cancelled=fenced.cancelled
        )
    return msgspec.json.decode(data, type=answer_type(type(command)))


def _error_text(data: msgspec.Raw) -> str:
    error = msgspec.json.decode(data)
    if isinstance(error, dict):
        error = error.get("error")
    return error if isinstance(error, str) else msgspec.json.encode(error).decode()


# -- messages


def encode_message(message: Message, server_url: str = "") -> bytes:
    """Encode a message; `server_url` tells a pushed-to function where to call back."""
    if isinstance(message, Execute):
        return _encoder.encode(
            {"kind": "execute", "head": {"serverUrl": server_url}, "data": {"task": message.task}}
        )
    if isinstance(message, Cancel):
        return _encoder.encode({"kind": "cancel", "head": {}, "data": {"task": message.task}})
    return _encoder.encode({"kind": "unblock", "head": {}, "data": {"promise": message.promise}})


class _RawMessage(msgspec.Struct, frozen=True):
    kind: str
    data: msgspec.Raw


def decode_message(body: bytes) -> Message | None:
    """Parse a message; None for a kind that this client does not know. Raises msgspec.DecodeError."""
    raw = msgspec.json.decode(body, type=_RawMessage)
    if raw.kind == "execute":
        return msgspec.json.decode(raw.data, type=Execute)
    if raw.kind == "unblock":
        return msgspec.json.decode(raw.data, type=Unblock)
    return None
