"""Commands that are loaded when they are used: most of what a command line takes to start is importing.

Each is named by its place, `module:name`, where a command's function stands or the Typer of a whole family.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup


class Place(NamedTuple):
    """Where a command or a family stands, and what the list of all says about it."""

    place: str
    help: str


class _Loaded(MutableMapping[str, Any]):
    """Commands by name; to look at one loads it."""

    def __init__(self, places: Mapping[str, Place], package: str) -> None:
        self._places = places
        self._package = package
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = _load(name, f"{self._package}.{self._places[name].place}")
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        raise NotImplementedError("commands are there for good")

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _load(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    holder = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    return typer.main.get_group(holder).commands[name]


def lazily(places: Mapping[str, Place], package: str) -> type[TyperGroup]:
    """Return a group of these commands, whose modules are in `package`, for the `cls` of a Typer."""

    class Families(TyperGroup):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given | {"commands": {}})
            self.commands = _Loaded(places, package)

        def list_commands(self, ctx: Any) -> list[str]:
            return list(places)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            """List them without loading any."""
            with formatter.section("Commands"):
                formatter.write_dl([(name, place.help) for name, place in places.items()])

    return Families
