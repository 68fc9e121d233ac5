"""The page README.md, written by `python -m examples --index`: all examples by problem, with graphs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from examples.gallery import THEMES, Example

PAGE = Path(__file__).parent / "README.md"
HEAD = """# Examples, by problem

Each folder holds one short program. `make examples` plays them all, each with a crash (SIGKILL) in the
middle, and shows what they came to; the tests do the same, compare with a run without a crash, and kill them
after each of their checkpoints and at random moments. `python -m examples --index` writes this page; the
graphs are what `dao-scorer tree` draws.

```
make examples
.venv/bin/python examples/hello_world/hello.py --help
```
"""


def page(graphs: Mapping[str, str]) -> str:
    """Return the page; `graphs` are the drawings by folder."""
    parts = [HEAD]
    for theme in THEMES:
        parts.append(f"## {theme.TITLE}\n")
        parts.extend(_section(example, graphs[example.folder]) for example in theme.EXAMPLES)
    return "\n".join(parts)


def graphs_of(text: str) -> dict[str, str]:
    """Return the drawings that a page holds, by folder."""
    section = re.compile(r"^### [^\n]*\]\((\w+)/README\.md\)$(.*?)(?=^##)", re.MULTILINE | re.DOTALL)
    sections = section.findall(f"{text}\n##")
    return {folder: body.split("```")[1].strip() for folder, body in sections if "```" in body}


def without_durations(drawing: str) -> str:
    """Return a drawing without what differs from run to run."""
    return re.sub(r" \S+ \S+$", "", drawing, flags=re.MULTILINE).strip()


def _section(example: Example, graph: str) -> str:
    caption = f"{example.caption}\n\n" if example.caption else ""
    heading = f"### {example.problem}: [{example.folder}]({example.folder}/README.md)"
    return f"{heading}\n\n{caption}```\n{graph}\n```\n"
