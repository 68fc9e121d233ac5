"""Every command explains itself, and the page about the commands leaves none out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from scorers.cli import app
from scorers.settings import ENV_PREFIX, Settings

PAGE = (Path(__file__).parents[2] / "docs/commands.md").read_text(encoding="utf-8")
SETTINGS, _, SECTIONS = PAGE.partition("## Settings")[2].partition("\n## ")
KEY = ("DAO_SCORER_PRIVATE_KEY", "DAO_SCORER_KEYSTORE_PASSWORD")
TOKEN = "DAO_SCORER_TOKEN"
LOCAL = {"chain", "demo", "replay"}


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command with its full name."""
    command = command or typer.main.get_command(app)
    inner = getattr(command, "commands", None)
    if inner is None:
        yield " ".join(path), command
        return
    for name, each in inner.items():
        yield from commands(each, (*path, name))


ALL = dict(commands())


def options(name: str) -> list[Any]:
    return [each for each in ALL[name].params if each.param_type_name == "option" and each.name != "help"]


def shown(name: str) -> str:
    """The help of a command, without frames and folds."""
    ended = CliRunner().invoke(app, [*name.split(), "--help"])
    assert ended.exit_code == 0, ended.output
    assert "\x1b" not in ended.output, "help is plain where no terminal reads it"
    return re.sub(r"[^\w\-.:]", "", ended.output)


def section(name: str) -> str:
    found = re.search(rf"^### dao-scorer {name}\n(.*?)(?=^##|\Z)", SECTIONS, re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/commands.md has no section '### dao-scorer {name}'"
    return found[1]


def test_the_commands_of_the_design_are_there() -> None:
    assert set(ALL) >= {
        "demo",
        "replay",
        "up",
        "serve",
        "worker",
        "listen",
        "chain",
        "deploy",
        "invoke",
        "tree",
        "promise get",
        "promise search",
        "proof get",
        "proof verify",
        "doctor",
    }


@pytest.mark.parametrize("name", ALL)
def test_help_shows_options_and_variables(name: str) -> None:
    text = shown(name)
    assert ALL[name].help, "a command says what it does"
    for option in options(name):
        assert option.help, f"{name} {option.opts}: say what it is for"
        for flag in option.opts:
            assert flag in text
        if option.envvar is not None:
            assert f"envvar:{option.envvar}" in text


@pytest.mark.parametrize("name", ALL)
def test_help_names_the_secrets_that_a_command_reads(name: str) -> None:
    text, flags = shown(name), {flag for option in options(name) for flag in option.opts}
    if "--keystore" in flags:
        assert all(variable in text for variable in KEY)
    if "--server" in flags or ("--host" in flags and name not in LOCAL):
        assert TOKEN in text


@pytest.mark.parametrize("name", ALL)
def test_the_page_names_every_option(name: str) -> None:
    text = section(name)
    for option in options(name):
        for flag in option.opts:
            assert re.search(rf"`{flag}[ `]", text), f"docs/commands.md, {name}: {flag} is missing"
    named = set(re.findall(r"`(--[\w-]+)", text))
    known = {flag for option in options(name) for flag in option.opts}
    assert named <= known, f"docs/commands.md, {name}: {named - known} do not exist"


@pytest.mark.parametrize("name", ALL)
def test_every_command_that_prints_has_json(name: str) -> None:
    services = {"up", "serve", "worker", "listen", "chain"}
    assert ("--json" in {flag for option in options(name) for flag in option.opts}) == (name not in services)


def test_the_page_names_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| \S+ \| `(\w+)` \| ([^|]*) \|", SETTINGS, re.MULTILINE))
    for name, field in Settings.model_fields.items():
        variable = f"{ENV_PREFIX}{name.upper()}"
        assert variable in rows, f"docs/commands.md: {variable} is missing"
        if field.default is not None:
            default = str(field.default).removesuffix(".0")
            assert f"`{default}`" == rows[variable], f"docs/commands.md: {variable} is {default} by default"
    for name in ALL:
        for option in options(name):
            assert option.envvar is None or option.envvar in rows, option.envvar


def test_the_page_has_no_command_that_is_gone() -> None:
    assert set(re.findall(r"^### dao-scorer (.+)$", SECTIONS, re.MULTILINE)) == set(ALL)
