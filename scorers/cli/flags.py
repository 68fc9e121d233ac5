"""Settings as flags: a command names those that it reads, and is given the loaded configuration.

A setting is declared once, in `scorers.settings`: flag, environment variable, type and help follow from it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Coroutine
from functools import wraps
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer

from scorers.cli.session import command
from scorers.errors import SettingsError
from scorers.settings import ENV_PREFIX, Settings, load_settings

CHECKED = (bool, int, float, Path)
"""The types that a flag checks itself; any other setting comes as text, and is checked with the rest."""
REPEATED = frozenset({"rpc"})
"""The settings whose flag may be given several times: lists, which have commas elsewhere."""
Config = Annotated[
    Path | None, typer.Option("--config", envvar="DAO_SCORER_CONFIG", help="Configuration file (TOML).")
]
ALIASES = {"start_block": ("--from-block",)}
"""Other names of flags."""
_KEYWORD = inspect.Parameter.KEYWORD_ONLY
Run = Callable[..., Coroutine[Any, Any, None]]


def configured(
    *names: str, own: Collection[str] = (), reports_faults: bool = False
) -> Callable[[Run], Callable[..., None]]:
    """Make a coroutine function a command whose first argument is the configuration.

    `names` are the settings that it offers as flags, beside `--config`; its other parameters are its own, and
    those of them that `own` names give the settings of these names as well. A command that `reports_faults`
    is given the SettingsError itself if the configuration is wrong. Raises KeyError for a name that can be no
    flag.
    """
    flags = {name: _flag(name) for name in names}

    def decorate(run: Run) -> Callable[..., None]:
        _, *parameters = inspect.signature(run, eval_str=True).parameters.values()

        @wraps(run)
        async def with_settings(config: Path | None = None, **given: Any) -> None:
            chosen = {name: given.pop(name) for name in flags} | {name: given[name] for name in own}
            for name in REPEATED & chosen.keys():
                # A command whose own flag it is may take it once, as text.
                if not isinstance(chosen[name], str):
                    chosen[name] = ",".join(chosen[name] or ())
            settings: Settings | SettingsError
            try:
                settings = load_settings(config, **chosen)
            except SettingsError as error:
                if not reports_faults:
                    raise
                settings = error
            await run(settings, **given)

        offered = [
            inspect.Parameter(name, _KEYWORD, default=None, annotation=annotation)
            for name, annotation in (flags | {"config": Config}).items()
        ]
        made = command(with_settings)
        _describe(made, [*(parameter.replace(kind=_KEYWORD) for parameter in parameters), *offered])
        return made

    return decorate


def _describe(function: Callable[..., None], parameters: list[inspect.Parameter]) -> None:
    """Let the parameters of a function be read as these, whatever it wraps."""
    del function.__wrapped__  # type: ignore[attr-defined]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def _flag(name: str) -> Any:
    """Return the annotation of a setting's flag."""
    field = Settings.model_fields[name]
    if field.description is None:
        raise KeyError(f"setting {name} is no flag: it has no description")
    names = (f"--{name.replace('_', '-')}", *ALIASES.get(name, ()))
    option = typer.Option(*names, envvar=f"{ENV_PREFIX}{name.upper()}", help=field.description)
    if name in REPEATED:
        return Annotated[list[str] | None, option]
    return Annotated[_type_of(field.annotation) | None, option]


def _type_of(annotation: Any) -> type:
    if get_origin(annotation) in (Union, UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return annotation if annotation in CHECKED else str
