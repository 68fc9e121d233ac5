"""Every example comes to the same with a crash in it, and none of its steps is executed twice."""

from __future__ import annotations

import ast
import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.gallery import EXAMPLES, Example
from examples.stage import stage
from scorers.processes import family

ROOT = Path(__file__).parents[2]
INDEX = (ROOT / "examples/README.md").read_text(encoding="utf-8")
PROGRAMS = [
    path
    for path in sorted((ROOT / "examples").glob("*/*.py"))
    if path.parent.name not in {"gallery", "stand_ins"} and not path.name.startswith("__")
]
FOLDERS = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.folder)
LINES_MAX = 120
CHATTER = ("working", "serving", "20", "INFO:", " * ", "\x1b", "127.0.0.1 - -", "=====", "(Press")
"""What programs and frameworks print beside the steps; "20" begins the lines of the log."""


async def play(example: Example, folder: Path, *, crashing: bool) -> tuple[str, list[str]]:
    """Return what the example came to, and what its steps printed, in order."""
    async with stage(folder, crashing=crashing) as made:
        result = await example.play(made)
    return result, sorted(line for line in made.printed if not line.startswith(CHATTER))


async def graph(example: Example, folder: Path) -> str:
    """Return the call graph of the example's invocation as `dao-scorer tree` draws it, without durations."""
    async with family(folder) as children:
        arguments = ["serve", "--store", f"sqlite:///{folder / example.store}", "--port", "0"]
        server = await children.start("server", arguments)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "scorers", "tree", example.root, "--server", server.where),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            drawn = (await process.communicate())[0].decode()
    return re.sub(r" \S+ \S+$", "", drawn, flags=re.MULTILINE).strip()


@FOLDERS
async def test_a_crash_changes_nothing(example: Example, tmp_path_factory: pytest.TempPathFactory) -> None:
    undisturbed, crashed = tmp_path_factory.mktemp("undisturbed"), tmp_path_factory.mktemp("crashed")
    assert await play(example, crashed, crashing=True) == await play(example, undisturbed, crashing=False)
    drawn = await graph(example, crashed)
    assert drawn in re.sub(r" \S+ \S+$", "", INDEX, flags=re.MULTILINE), drawn


@FOLDERS
def test_an_example_says_what_it_is(example: Example) -> None:
    page = (ROOT / "examples" / example.folder / "README.md").read_text(encoding="utf-8")
    for part in ("**Problem.**", "**Shape.**", "**Run.**", "**Kill.**", "**Watch.**", "**Durable.**"):
        assert part in page, f"{example.folder}/README.md does not have {part}"
    assert f"]({example.folder}/" in INDEX
    assert len(page.splitlines()) <= 40


def test_every_folder_is_in_the_gallery() -> None:
    assert {path.parent.name for path in PROGRAMS} == {example.folder for example in EXAMPLES}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.parent.name + "/" + path.name)
def test_a_program_is_short_and_straight(program: Path) -> None:
    text = program.read_text(encoding="utf-8")
    assert text.count("\n") <= LINES_MAX
    nodes = list(ast.walk(ast.parse(text)))
    assert not [node.lineno for node in nodes if isinstance(node, (ast.Try, ast.While))]
    assert "asyncio.sleep" not in text
    assert "time.sleep" not in text


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.parent.name + "/" + path.name)
@pytest.mark.parametrize(
    ("argument", "code", "said"), [("--help", 0, "usage:"), ("--nonsense", 2, "error: ")]
)
def test_a_program_explains_itself(
    program: Path, argument: str, code: int, said: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, str(program), argument],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        timeout=60,
        check=False,
    )
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


async def test_a_program_without_its_server_says_what_to_start(tmp_path: Path, unused_tcp_port: int) -> None:
    async with stage(tmp_path, crashing=False) as made:
        url = f"http://127.0.0.1:{unused_tcp_port}"
        waiting = await made.start("human_in_the_loop/purchase.py", "--at", url, "work")
        said = await waiting.line("server_away")
        assert url in said
        assert "dao-scorer serve" in said
