"""How fast the engine is, against its peers of the same run: `python -m benchmarks.engine --help`."""

from benchmarks.engine.entry import main

__all__ = ["main"]
