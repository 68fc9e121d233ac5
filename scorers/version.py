"""Which release of this project computes: told in evidence, so that a reader can run the same code."""

from __future__ import annotations

from importlib import metadata

PACKAGE = "dao-scorer"
RELEASE = f"{PACKAGE} {metadata.version(PACKAGE)}"
