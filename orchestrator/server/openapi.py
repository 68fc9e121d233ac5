"""The OpenAPI 3.1 description of the server, made from the types that parse its requests.

Invariant: an operation that the server accepts is described, since both come from one table; limits are those
that the engine checks. Schemas of envelopes are named `KIND.request` and `KIND.response`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import msgspec
from aiohttp import web

from orchestrator.domain.ids import ID_LENGTH_MAX
from orchestrator.domain.transitions import SETTLING_EVENTS, TIME_MS_MAX
from orchestrator.engine import validation as limits
from orchestrator.protocol import commands as c
from orchestrator.protocol.envelope import (
    BUNDLE_MAX,
    BUNDLE_PATH,
    CHANNEL_PATH,
    VERSION,
    RequestHead,
    ResponseHead,
    answer_type,
)

Json = dict[str, Any]
_REF = "#/components/schemas/{name}"
_ID: Json = {"minLength": 1, "maxLength": ID_LENGTH_MAX, "pattern": "^[^\\u0000]*$"}
_MILLISECONDS: Json = {"minimum": 0, "maximum": TIME_MS_MAX}
_TEXTS: Json = {
    "maxProperties": limits.TAGS_MAX,
    "propertyNames": {"maxLength": limits.TAG_LENGTH_MAX},
    "additionalProperties": {"type": "string", "maxLength": limits.TAG_LENGTH_MAX},
}
_LIMITS: Mapping[str, Json] = {
    "id": _ID,
    "awaited": _ID,
    "awaiter": _ID,
    "cursor": _ID,
    "timeoutAt": _MILLISECONDS,
    "createdAt": _MILLISECONDS,
    "version": {"minimum": 0, "maximum": TIME_MS_MAX},
    "ttl": {"minimum": 1, "maximum": limits.TTL_MS_MAX},
    "limit": {"minimum": 1, "maximum": limits.LIMIT_MAX},
    "pid": {"maxLength": limits.PID_LENGTH_MAX, "pattern": "^[^\\u0000]*$"},
    "address": {"maxLength": limits.TAG_LENGTH_MAX, "examples": ["poll://any@workers"]},
    "tasks": {"maxItems": limits.LIST_MAX},
    "tags": _TEXTS,
}
"""What the engine checks of a command's fields besides their types, by name."""
_SETTLED: Json = {"type": "string", "enum": sorted(SETTLING_EVENTS)}
_ENVELOPED: Mapping[type[c.Command[Any]], tuple[str, tuple[type[c.Command[Any]], ...]]] = {
    c.TaskCreate: ("action", (c.PromiseCreate,)),
    c.TaskFulfill: ("action", (c.PromiseSettle,)),
    c.TaskFence: ("action", (c.PromiseCreate, c.PromiseSettle, c.PromiseRecordStep, c.PromiseProgress)),
    c.TaskSuspend: ("actions", (c.PromiseRegisterCallback,)),
}
"""The operations that carry others in envelopes of their own."""
_STATUSES = {
    400: "The request is malformed.",
    401: "There is no token, or none that this server believes.",
    403: "The token, or a web page, may not do this.",
    404: "There is no such promise or task.",
    408: "The body did not arrive in time.",
    409: "The state of the task does not allow it, or the version is an old one.",
    413: "The body is too large.",
    422: "A promise that this refers to is missing, or unfit for it.",
    500: "A fault of the server.",
    503: "The engine or its store does not answer.",
}
_LINES = "application/x-ndjson"
_BEARER: list[Json] = [{"bearer": []}, {}]


def _ref(name: str) -> Json:
    return {"$ref": _REF.format(name=name)}


def _object(required: Iterable[str], **properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(required)}


def _components() -> dict[str, Json]:
    accepted: list[type[c.Command[Any]]] = [*c.COMMANDS.values(), c.PromiseRecordStep, c.PromiseProgress]
    plain = [command for command in accepted if command not in _ENVELOPED]
    enveloped = (c.TaskSuspend, c.TaskFence)
    answers = {answer_type(command) for command in accepted if command not in enveloped}
    types = [*plain, *sorted(answers, key=str), RequestHead, ResponseHead]
    _, components = msgspec.json.schema_components([*types, c.TaskReference], ref_template=_REF)
    for schema in components.values():
        _tidy(schema)
    for command in plain:
        _limit(components[command.__name__])
    _limit(components[c.TaskReference.__name__])
    for settling in (c.PromiseSettle, c.PromiseRecordStep):
        components[settling.__name__]["properties"]["state"] = _SETTLED
    components["RequestHead"]["properties"]["version"] = {"const": VERSION}
    return components


def _tidy(schema: Json) -> None:
    """Put descriptions on one line, and write an empty tuple as OpenAPI has it."""
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split())
    if schema.get("prefixItems") == []:
        del schema["prefixItems"]
        schema["maxItems"] = 0


def _limit(schema: Json) -> None:
    """Add the engine's limits to the fields of a command; an optional field keeps its null."""
    for name, schema_of in schema["properties"].items():
        for branch in schema_of.get("anyOf", [schema_of]):
            if branch.get("type") != "null":
                branch.update(_LIMITS.get(name, {}))


def _enveloping(command: type[c.Command[Any]]) -> Json:
    """Return the data of an operation that carries others."""
    field, inner = _ENVELOPED[command]
    actions = [
        _object(
            ("kind", "data"), kind={"const": each.KIND}, head={"type": "object"}, data=_ref(each.__name__)
        )
        for each in inner
    ]
    action = actions[0] if len(actions) == 1 else {"oneOf": actions}
    own = ("pid", "ttl") if command is c.TaskCreate else ("id", "version")
    types = {"pid": "string", "id": "string", "ttl": "integer", "version": "integer"}
    properties = {name: {"type": types[name], **_LIMITS[name]} for name in own}
    if field == "actions":
        action = {"type": "array", "items": action, "minItems": 1, "maxItems": limits.LIST_MAX}
    if command is c.TaskSuspend:
        properties["heeds"] = {"type": "boolean", "default": False}
        properties["bare"] = {"type": "boolean", "default": False}
    return _object((*own, field), **properties, **{field: action})


def _response_data(command: type[c.Command[Any]]) -> Json:
    more: dict[str, Json] = {
        "preload": {"type": "array", "items": _ref("PromiseRecord")},
        "cancelled": {"type": "boolean", "default": False},
    }
    if command is c.TaskSuspend:
        return _object((), **more)
    if command is c.TaskFence:
        answered = {"oneOf": [_ref("PromiseAnswer"), {"type": "string"}]}
        inner = _object(
            ("kind", "head", "data"), kind={"type": "string"}, head=_ref("ResponseHead"), data=answered
        )
        return _object(("action",), action=inner, **more)
    return _ref(answer_type(command).__name__)


def _schemas() -> dict[str, Json]:
    schemas = _components()
    for kind, command in c.COMMANDS.items():
        data = _enveloping(command) if command in _ENVELOPED else _ref(command.__name__)
        schemas[f"{kind}.request"] = _object(
            ("kind", "head", "data"), kind={"const": kind}, head=_ref("RequestHead"), data=data
        ) | {"description": (command.__doc__ or kind).partition("\n")[0]}
        schemas[f"{kind}.response"] = _object(
            ("kind", "head", "data"),
            kind={"const": kind},
            head=_ref("ResponseHead"),
            data=_response_data(command),
        )
    schemas["Refusal"] = _object(
        ("kind", "head", "data"),
        kind={"type": "string", "description": "That of the request, or `unknown`."},
        head=_ref("ResponseHead"),
        data={"type": "string", "description": "What is wrong."},
    )
    schemas["Error"] = _object(("error",), error={"type": "string"})
    return schemas


def _answer(description: str, schema: Json | None = None, media: str = "application/json") -> Json:
    return {"description": description} | ({"content": {media: {"schema": schema}}} if schema else {})


def _errors(schema: Json, *statuses: int) -> Json:
    return {str(status): _answer(_STATUSES[status], schema) for status in statuses}


def _rpc() -> Json:
    requests = {kind: _REF.format(name=f"{kind}.request") for kind in c.COMMANDS}
    responses = [_ref(f"{kind}.response") for kind in c.COMMANDS]
    body = {
        "oneOf": [{"$ref": reference} for reference in requests.values()],
        "discriminator": {"propertyName": "kind", "mapping": requests},
    }
    return {
        "operationId": "call",
        "summary": "Carry out one command",
        "description": "The HTTP status is `head.status`. A token is sent in `head.auth`, not in a header.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": _answer("Carried out.", {"anyOf": responses}),
            "300": _answer("Not suspended: something awaited has settled.", _ref("task.suspend.response")),
        }
        | _errors(_ref("Refusal"), *_STATUSES),
    }


def _reading(operation: str, summary: str, responses: Json, *parameters: str, guarded: bool = False) -> Json:
    described: Json = {
        "operationId": operation,
        "summary": summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in parameters
        ],
        "responses": responses,
    }
    return described | ({"security": _BEARER} if guarded else {})


def _bundle() -> Json:
    lines: Json = {
        "type": "string",
        "description": f"At most {BUNDLE_MAX} requests as of POST /, one a line.",
    }
    answer = _answer("Their answers, one a line, in their order.", {"type": "string"}, _LINES)
    refused = {str(status): _answer(_STATUSES[status]) for status in (400, 408, 413)}
    return {
        "operationId": "bundle",
        "summary": "Carry out several commands",
        "security": _BEARER,
        "requestBody": {"required": True, "content": {_LINES: {"schema": lines}}},
        "responses": {"200": answer} | refused,
    }


def _paths() -> Json:
    text, error = {"type": "string"}, _ref("Error")
    channel = {
        "101": _answer(
            f"At most {BUNDLE_MAX} requests as of POST / a message, one a line; answers likewise."
        ),
        "426": _answer("No WebSocket was asked for.", text, "text/plain"),
    }
    stream = {"200": _answer("Messages, one JSON text an event.", text, "text/event-stream")}
    refused = {str(status): _answer(_STATUSES[status], text, "text/plain") for status in (401, 403, 503)}
    proof = {"200": _answer("The bundle.", {"type": "object"}), "304": _answer("Unchanged.")}
    page = {"200": _answer("A page that checks bundles.", text, "text/html")}
    metrics = {"200": _answer("Prometheus text.", text, "text/plain")}
    ready = {"200": _answer("Commands are carried out.")} | _errors(error, 503)
    described = {"200": _answer("This document.", {"type": "object"})}
    return {
        "/": {"post": _rpc()},
        f"/{BUNDLE_PATH}": {"post": _bundle()},
        f"/{CHANNEL_PATH}": {
            "get": _reading("channel", "Send commands over a WebSocket", channel | refused, guarded=True)
        },
        "/poll/{group}/{member}": {
            "get": _reading("listen", "Hear messages", stream | refused, "group", "member", guarded=True)
        },
        "/proofs/{promise_id}": {
            "get": _reading(
                "proof",
                "Get the evidence bundle of a promise",
                proof | _errors(error, 401, 403, 404, 409, 422, 500, 503),
                "promise_id",
                guarded=True,
            )
        },
        "/proofs/{promise_id}/steps/{number}": {
            "get": _reading(
                "stepProof",
                "Get the proof of one committed step, counted from 0",
                proof | _errors(error, 401, 403, 404, 409, 422, 500, 503),
                "promise_id",
                "number",
                guarded=True,
            )
        },
        "/proofs/{promise_id}/{collection}/{key}": {
            "get": _reading(
                "memberProof",
                "Get the proof of one member of a collection, such as a voter",
                proof | _errors(error, 401, 403, 404, 409, 422, 500, 503),
                "promise_id",
                "collection",
                "key",
                guarded=True,
            )
        },
        "/verifier": {"get": _reading("verifier", "Load the verifier of proofs", page | _errors(error, 404))},
        "/metrics": {
            "get": _reading("metrics", "Read the counters", metrics | _errors(error, 401, 403), guarded=True)
        },
        "/health": {"get": _reading("health", "Say that it runs", {"200": _answer("It runs.")})},
        "/ready": {"get": _reading("ready", "Say whether the store answers", ready)},
        "/openapi.json": {"get": _reading("describe", "Describe the server", described)},
    }


@cache
def description() -> bytes:
    """Return the document as JSON."""
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "orchestrator",
                "version": VERSION,
                "summary": "Durable promises, tasks and proofs.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "paths": _paths(),
            "components": {
                "schemas": _schemas(),
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            },
        },
        order="deterministic",
    )


async def openapi(request: web.Request) -> web.Response:
    """Answer with the description; it holds nothing that the protocol does not say."""
    return web.Response(body=description(), content_type="application/json")
