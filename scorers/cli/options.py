"""The flags that several commands share and that are no settings; those are in `scorers.cli.flags`."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
