"""The sources of a listener as a configuration file lists them: `[[sources]]`, one table each.

Pure: values and their faults, each told with its place. What is made of them stands in `scorers.listening`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from listener.shapes import EventHandler

FilterCheck = Literal["sample", "all", "off"]
"""The values of the listener's own `FilterCheck`: every command reads the configuration, few listen."""
NAME = r"^[a-z0-9][a-z0-9._-]*$"
_EVENT_ONLY = ("event", "abi", "function", "id", "arguments")


def websocket_url(value: str) -> str:
    """Return the URL of a WebSocket. Raises ValueError."""
    if not value.startswith(("ws://", "wss://")):
        raise ValueError("must start with ws:// or wss://")
    return value


def finality_of(value: object) -> str:
    """Return `tag`, or a number of blocks as text. Raises ValueError."""
    text = str(value)
    if text != "tag" and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError("must be tag, or how many blocks below the head are final")
    return text


def depth_of(chosen: str) -> int | None:
    """Return the depth of a finality, None for the node's tag."""
    return None if chosen == "tag" else int(chosen)


def _contract(value: str) -> str:
    text = value.lower()
    if len(text) != 42 or not text.startswith("0x") or set(text[2:]) - set("0123456789abcdef"):
        raise ValueError("is not an address: 0x and 40 hexadecimal digits")
    return text


def _rpc(value: str | list[str]) -> tuple[str, ...]:
    urls = tuple(each.strip().rstrip("/") for each in (value.split(",") if isinstance(value, str) else value))
    if not urls or not all(each.startswith(("http://", "https://")) for each in urls):
        raise ValueError("must start with http:// or https://")
    return urls


Address = Annotated[str, AfterValidator(_contract)]
Finality = Annotated[str, BeforeValidator(finality_of)]
WebSocketUrl = Annotated[str, AfterValidator(websocket_url)]


class SourceSettings(BaseModel):
    """One source. What is left out is what the settings of the same name outside of the table say.

    `kind` dao scores the proposals of any DAO that can be read; `kind` event calls `function` for each log.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=NAME)
    kind: Literal["dao", "event"] = "dao"
    chain_id: int = Field(ge=1)
    contract: Address
    rpc: Annotated[str | list[str], AfterValidator(_rpc)] | None = None
    websocket: WebSocketUrl | None = None
    start_block: int = Field(default=0, ge=0)
    finality: Finality | None = None
    poll_interval: float | None = Field(default=None, gt=0, le=3600)
    range_blocks: int = Field(default=10_000, ge=1)
    filter_check: FilterCheck | None = None
    group: str | None = Field(default=None, pattern=NAME)
    registry: Address | None = None
    event: str | None = None
    abi: Path | None = None
    function: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*$")
    id: str | None = None
    arguments: list[str] | dict[str, str] | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "event":
            if self.event is None or self.function is None:
                raise ValueError("a source of kind event needs event and function")
            if self.registry is not None:
                raise ValueError("registry belongs to a source of kind dao")
            self._check_event()
            return self
        if self.registry is None:
            raise ValueError("a source of kind dao needs the registry of its scores")
        given = [each for each in _EVENT_ONLY if each in self.model_fields_set]
        if given:
            raise ValueError(f"{', '.join(given)}: only for a source of kind event")
        return self

    def _check_event(self) -> None:
        from contracts.bindings import BindingError  # noqa: PLC0415 - only where there is such a source
        from listener import InvalidSettings  # noqa: PLC0415

        try:
            self.handler()
        except (BindingError, InvalidSettings, OSError) as error:
            raise ValueError(str(error)) from error

    def handler(self) -> EventHandler:
        """Return what to do with the event. Raises DeclarationError, InvalidSettings, OSError."""
        from contracts.bindings.any_event import AnyEvent  # noqa: PLC0415
        from listener.shapes import EventHandler  # noqa: PLC0415

        name = self.event or ""
        if self.abi is None:
            event = AnyEvent.parse(name)
        else:
            event = AnyEvent.from_abi(self.abi.read_text(encoding="utf-8"), name)
        chosen = {} if self.id is None else {"promise_id": self.id}
        return EventHandler(event=event, arguments=self.arguments, **chosen)
