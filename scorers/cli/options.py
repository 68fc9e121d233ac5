"""The flags that several commands share and that are no settings; those are in `scorers.cli.flags`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from scorers.policies.catalogue import load

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
PolicyClasses = Annotated[
    list[str] | None,
    typer.Option(
        "--policy-class",
        metavar="MODULE:CLASS",
        help="Let this class of a policy run where a score names it; repeatable. No bundle runs any other.",
    ),
]


def load_policy_classes(names: Sequence[str] | None) -> None:
    """Import the classes that the caller lets run. Raises PolicyError."""
    for name in names or ():
        load(name)
