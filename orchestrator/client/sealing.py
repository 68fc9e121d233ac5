"""The transport that encrypts what goes to an engine and decrypts what comes back.

Every `Value.data` on its way is sealed under the id of its promise and its role; headers stay plain, for
functions, versions and commitments are read without a key. A value that cannot be opened is handed on as it
is, with the reason: only who needs it fails, and the record stays as it was.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, cast

import msgspec

from orchestrator.client.encryption import CannotOpen, DecryptionError, Encryptor, Sealed
from orchestrator.domain import tags as tag
from orchestrator.domain.promise import ENCRYPTION_HEADER, PromiseRecord, Value
from orchestrator.domain.schedule import Schedule
from orchestrator.protocol import commands as c
from orchestrator.protocol.messages import Message
from orchestrator.protocol.schedules import ScheduleCreate
from orchestrator.protocol.transport import Receiver, Transport

AnswerT = TypeVar("AnswerT", bound=c.Answer)
StructT = TypeVar("StructT", bound=msgspec.Struct)
PARAM, VALUE, SCHEDULED, PROGRESS = "param", "value", "schedule", "progress"
NO_KEYS = "this process has no keys; give an encryptor"
# What the sealed text begins with: the data as it was, or the bytes that its base64 stood for.
_AS_TEXT, _AS_BYTES = b"\x00", b"\x01"


class UnopenedValue(Value, frozen=True, kw_only=True):
    """An encrypted value that this process does not open, and why."""

    reason: str = NO_KEYS


def readable(value: Value, what: str) -> str | None:
    """Return the data of a value. Raises DecryptionError that names `what` if it is encrypted still."""
    key_id = value.key_id
    if key_id is None:
        return value.data
    raise DecryptionError(what, key_id, value.reason if isinstance(value, UnopenedValue) else NO_KEYS)


class SealingTransport:
    """A Transport over another one, with an encryptor in between."""

    def __init__(self, inner: Transport, encryptor: Encryptor) -> None:
        self._inner = inner
        self._seals = Seals(encryptor)

    async def call(self, command: c.Command[AnswerT]) -> AnswerT:
        """Carry out one command; see the port."""
        return self._seals.opened(await self._inner.call(self._seals.sealed(command)))

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        """Hold a delivery connection open; see the port."""

        def opened(message: Message) -> None:
            receive(self._seals.opened(message))

        return self._inner.connect(group, pid, opened)

    async def close(self) -> None:
        """Let go of connections; see the port."""
        await self._inner.close()


class Seals:
    """Seals and opens the values in commands, answers and messages, however deep they stand."""

    def __init__(self, encryptor: Encryptor) -> None:
        self._encryptor = encryptor

    def sealed(self, struct: StructT) -> StructT:
        """Return a command with its values encrypted."""
        match struct:
            case c.PromiseCreate():
                changed: Any = {PARAM: self._seal(struct.param, struct.id, PARAM)}
            case c.PromiseSettle():
                changed = {VALUE: self._seal(struct.value, struct.id, VALUE)}
            case c.PromiseProgress():
                changed = {VALUE: self._seal(struct.value, struct.id, PROGRESS)}
            case c.PromiseRecordStep():
                changed = {
                    PARAM: self._seal(struct.param, struct.id, PARAM),
                    VALUE: self._seal(struct.value, struct.id, VALUE),
                }
            case ScheduleCreate():
                changed = {"promise_param": self._seal(struct.promise_param, struct.id, SCHEDULED)}
            case _:
                return _with_parts(struct, self.sealed)
        return msgspec.structs.replace(struct, **changed)

    def opened(self, struct: StructT) -> StructT:
        """Return an answer or a message with its values decrypted, as far as they can be."""
        match struct:
            case PromiseRecord():
                return cast("StructT", self.opened_record(struct))
            case Schedule():
                param = self._open(struct.promise_param, (struct.id, SCHEDULED))
                return cast("StructT", msgspec.structs.replace(struct, promise_param=param))
            case _:
                return _with_parts(struct, self.opened)

    def opened_record(self, record: PromiseRecord) -> PromiseRecord:
        """Return a promise with its values decrypted, as far as they can be."""
        if record.param.key_id is None and record.value.key_id is None:
            return record
        roles = [(record.id, PARAM)]
        if tag.SCHEDULE in record.tags:
            # Its param was written with the schedule, before anyone knew the id of the run.
            roles.append((record.tags[tag.SCHEDULE], SCHEDULED))
        return msgspec.structs.replace(
            record,
            param=self._open(record.param, *roles),
            value=self._open(record.value, (record.id, PROGRESS if record.pending else VALUE)),
        )

    def _seal(self, value: Value, owner: str, role: str) -> Value:
        if value.data is None or value.key_id is not None:
            return value
        sealed = self._encryptor.encrypt(_packed(value.data), _binding(owner, role))
        return Value(
            headers={**(value.headers or {}), ENCRYPTION_HEADER: sealed.key_id},
            data=base64.b64encode(sealed.text).decode("ascii"),
        )

    def _open(self, value: Value, *roles: tuple[str, str]) -> Value:
        if value.key_id is None or value.data is None:
            return value
        reason = ""
        for owner, role in roles:
            try:
                sealed = Sealed(key_id=value.key_id, text=base64.b64decode(value.data, validate=True))
                text = _unpacked(self._encryptor.decrypt(sealed, _binding(owner, role)))
            except CannotOpen as error:
                reason = error.reason
            except (binascii.Error, UnicodeDecodeError):
                reason = "what is stored is no encrypted value"
            else:
                headers = {
                    name: text for name, text in (value.headers or {}).items() if name != ENCRYPTION_HEADER
                }
                return Value(headers=headers or None, data=text)
        return UnopenedValue(headers=value.headers, data=value.data, reason=reason)


def _with_parts(struct: StructT, change: Callable[[Any], Any]) -> StructT:
    """Return a struct with `change` applied to the structs that it consists of."""
    changed = {}
    for name in struct.__struct_fields__:
        part = getattr(struct, name)
        if isinstance(part, msgspec.Struct):
            changed[name] = change(part)
        elif isinstance(part, list) and part and isinstance(part[0], msgspec.Struct):
            changed[name] = [change(one) for one in part]
    return msgspec.structs.replace(struct, **changed) if changed else struct


def _binding(owner: str, role: str) -> bytes:
    return json.dumps([owner, role], separators=(",", ":")).encode()


def _packed(data: str) -> bytes:
    """Return data as it is sealed: base64, which values mostly are, by its bytes, to save a quarter."""
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return _AS_TEXT + data.encode()
    return _AS_BYTES + raw if base64.b64encode(raw).decode("ascii") == data else _AS_TEXT + data.encode()


def _unpacked(packed: bytes) -> str:
    if packed[:1] == _AS_BYTES:
        return base64.b64encode(packed[1:]).decode("ascii")
    return packed[1:].decode()
