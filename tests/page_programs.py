"""Running the programs that the pages show, as a reader would: a process of its own, warnings as errors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
_PROGRAM = re.compile(r"```python\n(.*?)```", re.DOTALL)


def shown(page: str, heading: str = "") -> list[str]:
    """Return the Python programs of a page, by its path from the root; only those behind a heading."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return _PROGRAM.findall(text[text.index(heading) :])


def run_program(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program, kept in a file in `folder`, to its end."""
    script = folder / "program.py"
    script.write_text(program, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=folder,
        env={"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "hardhat-free-chain"))), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
