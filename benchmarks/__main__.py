"""Run every benchmark, one after the other: `python -m benchmarks [--json]`."""

from __future__ import annotations

import importlib
import pkgutil

import benchmarks


def main() -> None:
    """Find the modules beside this one and run their `main`."""
    for module in sorted(found.name for found in pkgutil.iter_modules(benchmarks.__path__)):
        if module == "__main__":
            continue
        run = getattr(importlib.import_module(f"benchmarks.{module}"), "main", None)
        if run is not None:
            print(f"== {module}")
            run()


if __name__ == "__main__":
    main()
