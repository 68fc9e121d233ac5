"""Invocations as they are stored in a promise's param, and what a record says about the call that made it.

A remote call carries JSON `{"func", "args", "kwargs", "version"}` (protocol, payload encoding). A step that
runs in its caller's process carries function and version as headers, and its canonical arguments as data
where it is committed to: nobody needs the arguments of a step to run it, so others are not stored.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec

from orchestrator.client import codec
from orchestrator.client.sealing import readable
from orchestrator.commitments.proof import StepValues
from orchestrator.domain import tags as tag
from orchestrator.domain.ids import path_of
from orchestrator.domain.promise import PromiseRecord, Value

FUNCTION_HEADER = "func"
VERSION_HEADER = "version"
SLEEP = "a sleep"
PROMISE = "a promise"


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """A function by name and version, with its arguments still as JSON trees."""

    function: str
    version: int
    args: list[object]
    kwargs: dict[str, object]


def invocation_value(name: str, version: int, args: Sequence[object], kwargs: Mapping[str, object]) -> Value:
    """Return the param of a remote call. Raises EncodingError that names function and argument."""
    # Put together from the texts of the arguments: most are scalars, which need no encoder.
    positional = ",".join(
        [
            codec.text_of(codec.encode(value, f"argument {index + 1} of {name}"))
            for index, value in enumerate(args)
        ]
    )
    named = ",".join(
        [
            f"{codec.text_of(key)}:{codec.text_of(codec.encode(value, f'argument {key!r} of {name}'))}"
            for key, value in kwargs.items()
        ]
    )
    function, number = codec.text_of(name), codec.text_of(version)
    text = f'{{"func":{function},"args":[{positional}],"kwargs":{{{named}}},"version":{number}}}'
    return Value(data=codec.data_of(text))


def step_value(name: str, version: int, canonical_arguments: bytes | None = None) -> Value:
    """Return the param of a step in its caller's process."""
    if canonical_arguments is None:
        return _bare_step(name, version)
    data = b64encode(canonical_arguments).decode("ascii")
    return Value(headers=_bare_step(name, version).headers, data=data)


@lru_cache(maxsize=1024)
def _bare_step(name: str, version: int) -> Value:
    return Value(headers={FUNCTION_HEADER: name, VERSION_HEADER: str(version)})


def committed_texts(record: PromiseRecord) -> StepValues:
    """Return the canonical texts of a committed step as they are stored; absent where none are readable."""
    return StepValues(input=_plain(record.param), output=_plain(record.value))


def _plain(value: Value) -> bytes | None:
    if value.data is None or value.key_id is not None:
        return None
    try:
        return b64decode(value.data, validate=True)
    except binascii.Error:
        return None


def read_invocation(record: PromiseRecord) -> Invocation:
    """Return the call that a promise stands for. Raises DecodingError if its param is none.

    Raises DecryptionError if its param is encrypted under a key that is not here.
    """
    what = f"the param of {record.id}"
    tree = codec.from_data(readable(record.param, what), what)
    if not isinstance(tree, dict) or not isinstance(tree.get("func"), str):
        raise codec.DecodingError(what, 'expected {"func": NAME, "args": […], "kwargs": {…}, "version": 1}')
    args, kwargs, version = tree.get("args") or [], tree.get("kwargs") or {}, tree.get("version", 1)
    if not isinstance(args, list) or not isinstance(kwargs, dict) or type(version) is not int:
        raise codec.DecodingError(what, "args must be an array, kwargs an object, version an integer")
    return Invocation(function=tree["func"], version=version, args=args, kwargs=kwargs)


@lru_cache(maxsize=1024)
def step_label(name: str, version: int) -> str:
    """Return how a step is called in a report of differences."""
    return f"step {name} version {version}"


def call_label(name: str, version: int) -> str:
    """Return how a remote call is called in a report of differences."""
    return f"call of {name} version {version}"


def recorded_calls(records: Iterable[PromiseRecord]) -> dict[str, list[str]]:
    """Return the ids of the numbered calls among records, by the workflow that made them, in their order.

    Detached calls bear no number, and stand under the origin whoever made them.
    """
    calls: dict[str, list[tuple[int, str]]] = {}
    for record in records:
        parent, path = record.tags.get(tag.PARENT), path_of(record.id)
        if parent is not None and path and isinstance(path[-1], int):
            calls.setdefault(parent, []).append((path[-1], record.id))
    return {parent: [promise_id for _, promise_id in sorted(found)] for parent, found in calls.items()}


def label_of(record: PromiseRecord) -> str | None:
    """Return which durable operation a record was written by; None where its writer did not say.

    Workers of the published SDKs leave out, or put into the data, what ours put into the headers.
    """
    headers = record.param.headers or {}
    if FUNCTION_HEADER in headers:
        return f"step {headers[FUNCTION_HEADER]} version {headers.get(VERSION_HEADER)}"
    if record.is_timer:
        return SLEEP
    if record.target is None and record.tags.get(tag.SCOPE) != tag.SCOPE_LOCAL:
        return PROMISE
    try:
        invocation = read_invocation(record)
    except codec.DecodingError:
        return None
    label = step_label if record.target is None else call_label
    return label(invocation.function, invocation.version)
