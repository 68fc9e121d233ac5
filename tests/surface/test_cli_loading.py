"""A command loads what it uses: most of what a short command takes is importing."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import get_args

import pytest
import typer

from listener import FilterCheck
from scorers import sources
from scorers.cli import COMMANDS, app
from scorers.cli.session import KNOWN_ERRORS

PROGRAM = """
import json, sys
sys.argv = ["dao-scorer", *sys.argv[1:]]
from scorers.__main__ import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)))
"""
CHAIN = {"contracts.rpc", "contracts.bindings", "eth_abi", "eth_utils", "listener.service"}
ENGINE = {"orchestrator.engine", "orchestrator.server", "orchestrator.store", "sqlalchemy"}


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a process has loaded once it has told how a command is used."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments, "--help"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        pytest.param("", CHAIN | ENGINE | {"orchestrator", "aiohttp", "pydantic"}, id="the list"),
        pytest.param("promise get", CHAIN | ENGINE, id="promise get"),
        pytest.param("tree", CHAIN | ENGINE, id="tree"),
        pytest.param("task fence", CHAIN | ENGINE, id="task fence"),
        pytest.param("db check", CHAIN | {"orchestrator.server"}, id="db check"),
        pytest.param("worker", ENGINE | {"listener.service"}, id="worker"),
    ],
)
def test_a_command_loads_nothing_of_what_it_does_not_use(command: str, absent: set[str]) -> None:
    assert not loaded_by(*command.split()) & absent


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_of_a_command_what_the_command_says(name: str) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    assert group.commands[name].get_short_help_str(1_000) == COMMANDS[name].help


@pytest.mark.parametrize("place", KNOWN_ERRORS)
def test_a_known_error_is_where_it_is_named(place: str) -> None:
    module, name = place.split(":")
    assert issubclass(getattr(importlib.import_module(module), name), Exception)


def test_the_filter_checks_of_the_configuration_are_those_of_the_listener() -> None:
    assert get_args(sources.FilterCheck) == tuple(FilterCheck)
