"""Any event: a log becomes a call of a function in a group, as a configuration says.

The id is made by a template, so that the same log makes the same promise for ever (C1): of values that tell
the thing the event is about, or of the transaction and the log's place in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING

from eth_utils.crypto import keccak

from contracts.bindings import Log
from contracts.bindings.any_event import AnyEvent
from contracts.rpc import NoCode, Node
from listener.errors import InvalidSettings
from listener.shapes.port import Invocation, Touched

if TYPE_CHECKING:
    from listener.settings import ListenerSettings

DEFAULT_ID = "{name}-{chain_id}-{contract}-{transaction_hash}-{log_index}"
PLACES = ("block_number", "block_hash", "transaction_hash", "log_index", "chain_id", "contract", "name")
"""What an argument may name beside the event's own parameters."""
_IN_IDS = ("name", "chain_id", "contract", "transaction_hash", "log_index")
_ID = re.compile(r"[A-Za-z0-9._{}-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHandler:
    """What to do with an event. Checked when it is made: raises InvalidSettings.

    `arguments` are names of its parameters or of places: a list for arguments by position, a mapping for
    arguments by name, None for one mapping with everything.
    """

    event: AnyEvent
    promise_id: str = DEFAULT_ID
    arguments: Sequence[str] | Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        self._check_id()
        self._check_arguments()

    def _check_id(self) -> None:
        if not _ID.fullmatch(self.promise_id):
            raise InvalidSettings("id", "may hold letters, digits, '.', '_', '-' and {names}, nothing else")
        try:
            parts = list(Formatter().parse(self.promise_id))
        except ValueError as error:
            raise InvalidSettings("id", f"is no template: {error}") from error
        named = {part[1] for part in parts if part[1] is not None}
        if any(part[2] or part[3] for part in parts):
            raise InvalidSettings("id", "takes plain {names} without a format")
        plain = {each.name for each in self.event.fields if each.plain}
        if unknown := sorted(named - plain - set(_IN_IDS)):
            choices = ", ".join(sorted(plain | set(_IN_IDS)))
            raise InvalidSettings("id", f"cannot hold {{{unknown[0]}}}: choose among {choices}")
        if not {"chain_id", "contract"} <= named:
            raise InvalidSettings("id", "must hold {chain_id} and {contract}: ids are one space for all")
        if not (named & plain or {"transaction_hash", "log_index"} <= named):
            raise InvalidSettings(
                "id", "must hold a parameter of the event, or {transaction_hash} and {log_index}"
            )

    def _check_arguments(self) -> None:
        wanted = self.arguments.values() if isinstance(self.arguments, Mapping) else self.arguments or ()
        known = {each.name for each in self.event.fields} | set(PLACES)
        for each in wanted:
            if each not in known:
                raise InvalidSettings(
                    "arguments",
                    f"{self.event.signature} has no {each!r}: choose among {', '.join(sorted(known))}",
                )


class EventShape:
    """Logs of one event of one contract."""

    voting = None

    def __init__(self, settings: ListenerSettings, handler: EventHandler) -> None:
        self._settings = settings
        self._handler = handler
        self.topics = (handler.event.topic0,)

    async def check(self, node: Node) -> None:
        """Raise NoCode where there is no contract."""
        if not await node.code(self._settings.dao):
            raise NoCode(self._settings.dao)

    def read(self, log: Log) -> Invocation | Touched | None:
        """Return the call that a log asks for. Raises DecodeError."""
        if log.topics[:1] != self.topics:
            return None
        handler = self._handler
        values = handler.event.decode(log)
        places: dict[str, object] = {
            "block_number": log.block_number,
            "block_hash": "0x" + log.block_hash.hex(),
            "transaction_hash": "0x" + log.transaction_hash.hex(),
            "log_index": log.log_index,
            "chain_id": self._settings.chain_id,
            "contract": log.address,
            "name": self._settings.name or handler.event.name,
        }
        known = places | values
        arguments, keywords = self._arguments(values, places)
        return Invocation(
            promise_id=handler.promise_id.format_map({name: _in_id(each) for name, each in known.items()}),
            function=self._settings.function,
            target=self._settings.target,
            arguments=arguments,
            keywords=keywords,
            log=log,
            content="0x" + keccak(b"".join(log.topics) + log.data).hex(),
        )

    def _arguments(
        self, values: Mapping[str, object], places: Mapping[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        wanted, known = self._handler.arguments, {**places, **values}
        if wanted is None:
            return ({**places, "event": self._handler.event.name, "arguments": dict(values)},), {}
        if isinstance(wanted, Mapping):
            return (), {name: known[each] for name, each in wanted.items()}
        return tuple(known[each] for each in wanted), {}


def _in_id(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
