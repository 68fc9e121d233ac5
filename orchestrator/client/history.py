"""A recorded execution as a file: the promise tree of one invocation, to be replayed on other code.

The format is JSON, `{"format": "orchestrator-history", "version": 1, "id", "exported_at", "promises"}`, with
promises as the protocol writes them. Values stay as they are stored: encrypted ones remain so until they
are opened with a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from orchestrator.client.encryption import Encryptor
from orchestrator.client.sealing import Seals
from orchestrator.domain import tags as tag
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.ids import origin_of
from orchestrator.domain.promise import PromiseRecord
from orchestrator.protocol import commands as c
from orchestrator.protocol.paging import every_promise
from orchestrator.protocol.transport import Transport

FORMAT: Literal["orchestrator-history"] = "orchestrator-history"
VERSION = 1


class UnreadableHistory(OrchestratorError):
    """A file is not a history that this program can read."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The promises of one tree, in order of id, and of what it awaited outside of it; times in Unix ms."""

    format: Literal["orchestrator-history"] = FORMAT
    version: int = VERSION
    id: str
    exported_at: int
    promises: list[PromiseRecord]

    def to_json(self) -> bytes:
        """Return the file's content: readable, and the same for the same history."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def records(self, encryptor: Encryptor | None = None) -> dict[str, PromiseRecord]:
        """Return the promises by id, opened as far as the keys allow."""
        if encryptor is None:
            return {record.id: record for record in self.promises}
        seals = Seals(encryptor)
        return {record.id: seals.opened_record(record) for record in self.promises}


def read_history(content: bytes, name: str) -> History:
    """Read a history from a file's content; `name` is for messages. Raises UnreadableHistory."""
    try:
        history = msgspec.json.decode(content, type=History)
    except msgspec.DecodeError as error:
        raise UnreadableHistory(
            f"{name} is no recorded history ({error}); make one with: dao-scorer history export ID"
        ) from error
    if history.version != VERSION:
        raise UnreadableHistory(
            f"{name} has version {history.version} of the format, this program reads version {VERSION}: "
            "replay it with the release that wrote it, or export it again"
        )
    if history.id not in {record.id for record in history.promises}:
        raise UnreadableHistory(f"{name} does not hold {history.id} itself: export it again")
    return history


async def fetch_history(
    transport: Transport, promise_id: str, *, now_ms: int, also: Sequence[str] = ()
) -> History:
    """Read the whole tree to which a promise belongs. `also` are promises that it awaited outside of it.

    Raises Refused(404) for an unknown promise.
    """
    promise = (await transport.call(c.PromiseGet(id=promise_id))).promise
    origin = promise.tags.get(tag.ORIGIN) or origin_of(promise_id)
    wanted = [origin, *also]
    found = {one: (await transport.call(c.PromiseGet(id=one))).promise for one in wanted}
    async for record in every_promise(transport.call, tags={tag.ORIGIN: origin}):
        found[record.id] = record
    return History(id=origin, exported_at=now_ms, promises=[found[key] for key in sorted(found)])
