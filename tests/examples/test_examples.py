"""Every example comes to the same with a crash in it, and none of its steps is executed twice."""

from __future__ import annotations

import ast
import os
import random
from pathlib import Path

import pytest

from examples.gallery import EXAMPLES, Example
from examples.index import PAGE, graphs_of, page, without_durations
from examples.playing import Course, course, drawing, fate_by_chance, faults
from examples.spawning import forked
from examples.stage import Fate, free_port, stage
from tests.examples.sample import FOLDERS, RECORDS, ROOT, SEED, RecordProperty, available, drawn

INDEX = PAGE.read_text(encoding="utf-8")
PROGRAMS = [
    path
    for path in sorted((ROOT / "examples").glob("*/*.py"))
    if path.parent.name not in {"gallery", "stand_ins"} and not path.name.startswith("__")
]
LINES_MAX = 120
KILLS = int(os.environ.get("EXAMPLES_KILLS", "20"))
KILLS_A_PLAY = 4
KILLED_IN_CI = 4
"""So many examples, chosen by the seed, are killed at random moments each time; for the record all are."""


async def play(example: Example, folder: Path, *, crashing: bool) -> Course:
    return await course(example, folder, Fate(crashing=crashing, spawn=forked))


@FOLDERS
async def test_a_crash_changes_nothing(example: Example, tmp_path_factory: pytest.TempPathFactory) -> None:
    available(example)
    undisturbed, crashed = tmp_path_factory.mktemp("undisturbed"), tmp_path_factory.mktemp("crashed")
    known = await play(example, undisturbed, crashing=False)
    one = await play(example, crashed, crashing=True)
    assert not faults(one, known)
    # What was cut off at the crash, beside the step at which it fell, comes again; nothing else does.
    assert (one.printed - known.printed).total() <= one.repeated
    drawn = without_durations(await drawing(example, crashed, one.root, forked))
    assert drawn == without_durations(graphs_of(INDEX)[example.folder])


async def kill_at_random(
    example: Example, folders: pytest.TempPathFactory, chance: random.Random, *, kills: int
) -> str:
    """Kill an example's programs so often, in as many plays as that takes; return what came of it."""
    known = await play(example, folders.mktemp("undisturbed"), crashing=False)
    killed = plays = again = 0
    part = 1.0
    while killed < kills:
        plays += 1
        fate = fate_by_chance(known, chance, min(KILLS_A_PLAY, kills), forked, part)
        came = await course(example, folders.mktemp("killed"), fate)
        assert not faults(came, known), f"{example.folder}, play {plays}: lives of {fate.lives_s} s"
        killed, again = killed + came.kills, again + came.repeated
        part = 1.0 if came.kills else part * 0.7
    return (
        f"{example.folder}: {killed} kills in {plays} plays; {again} steps that were cut off were executed"
        " again, none that had ended"
    )


@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", range(KILLED_IN_CI))
async def test_some_are_killed_at_random_moments(
    number: int, tmp_path_factory: pytest.TempPathFactory, record_property: RecordProperty
) -> None:
    example, chance = drawn(number)
    record_property("killed", await kill_at_random(example, tmp_path_factory, chance, kills=2))


@pytest.mark.skipif(not RECORDS, reason="make records kills all of them")
@pytest.mark.timeout(3_600)
@FOLDERS
async def test_all_are_killed_at_random_moments(
    example: Example, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    available(example)
    chance = random.Random(f"{SEED} {example.folder}")  # noqa: S311 - moments, no secrets
    said = await kill_at_random(example, tmp_path_factory, chance, kills=KILLS)
    with capsys.disabled():
        print(f"\n{said}; DAO_SCORER_SEED={SEED}")  # noqa: T201 - the record


def test_the_index_is_what_the_gallery_says() -> None:
    """`python -m examples --index` writes it; the drawings are compared where the examples are played."""
    assert page(graphs_of(INDEX)) == INDEX


@FOLDERS
def test_an_example_says_what_it_is(example: Example) -> None:
    text = (ROOT / "examples" / example.folder / "README.md").read_text(encoding="utf-8")
    for part in ("**Problem.**", "**Shape.**", "**Run.**", "**Kill.**", "**Watch.**", "**Durable.**"):
        assert part in text, f"{example.folder}/README.md does not have {part}"
    assert f"]({example.folder}/" in INDEX
    assert len(text.splitlines()) <= 40


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
async def test_a_program_explains_itself(program: Path, tmp_path: Path) -> None:
    process = await forked([str(program), "--help"], tmp_path, {"PATH": ""})
    said = (await process.output.read()).decode()
    assert (await process.ended(), "usage:" in said) == (0, True), said
    assert "Traceback" not in said
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.parent.name + "/" + path.name)
async def test_a_program_refuses_wrong_arguments_with_a_sentence(program: Path, tmp_path: Path) -> None:
    process = await forked([str(program), "--nonsense"], tmp_path, {})
    said = (await process.output.read()).decode()
    assert (await process.ended(), "error: " in said) == (2, True), said
    assert "Traceback" not in said
    assert not os.listdir(tmp_path)


NEEDING_A_SERVER = (
    ("human_in_the_loop/purchase.py", "work"),
    ("hello_cli/hello.py",),
    ("stateless_function/function.py", "--port", "PORT"),
    ("rpc_gateway/gateway.py", "service", "stock"),
    ("rpc_gateway/gateway.py", "gateway", "--port", "PORT"),
    ("executors/faas.py", "executor", "upper"),
    ("executors/faas.py", "router", "--port", "PORT"),
    ("load_balanced/group.py", "work"),
    ("load_balanced/group.py", "submit", "june", "3"),
    ("worker_shapes/shapes.py", "process"),
    ("worker_shapes/shapes.py", "server", "--port", "PORT"),
    ("approved_summary/summary.py", "work"),
    ("calculator/calculator.py", "work", "adders"),
    ("calculator/calculator.py", "calculate", "first", "1", "2"),
    ("cancellation_window/order.py", "work"),
    ("cancellation_window/order.py", "cancel", "7"),
    ("idle_session/session.py", "act", "ada", "1", "looks"),
    ("mutual_exclusion/printer.py", "ask", "1", "2"),
    ("node_drain/drain.py", "begin", "node-1"),
    ("order_states/order.py", "place", "7"),
    ("priority_tiers/support.py", "ask", "free-bob"),
    ("food_delivery/delivery.py", "place", "7", "ada", "30"),
)


def test_every_program_that_needs_a_server_is_asked() -> None:
    """Those whose `--at` is a URL; `tenants` wants a token first, a browser's tab is asked apart."""
    needing = {path for path in PROGRAMS if '"--at", default="http://' in path.read_text(encoding="utf-8")}
    asked = {ROOT / "examples" / program for program, *_ in NEEDING_A_SERVER}
    assert {path.parent.name for path in needing - asked} == {"tenants", "browser_tab"}


async def test_a_program_without_its_server_says_what_to_start(tmp_path: Path, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with stage(tmp_path, Fate(spawn=forked)) as made:
        waiting = []
        for program, *command in NEEDING_A_SERVER:
            given = [str(free_port()) if argument == "PORT" else argument for argument in command]
            waiting.append(await made.start(program, "--at", url, *given))
        tenants = "tenants/notes.py"
        await (await made.start(tenants, "sign", "ada")).result()
        waiting.append(await made.start(tenants, "keep", "--at", url, "ada", "1", "text"))
        for one in waiting:
            said = await one.line("server_away")
            assert url in said, one.name
            assert "dao-scorer serve" in said, one.name


async def test_a_tab_without_a_server_says_what_to_start(tmp_path: Path, unused_tcp_port: int) -> None:
    available(next(example for example in EXAMPLES if example.folder == "browser_tab"))
    url, port = f"http://127.0.0.1:{unused_tcp_port}", str(free_port())
    async with stage(tmp_path, Fate(spawn=forked)) as made:
        site = await made.start("browser_tab/site.py", "--at", url, "--port", port)
        page = f"http://127.0.0.1:{port}"
        await made.ask("GET", f"{page}/index.html")
        await made.browse(f"{page}/index.html")
        assert f"{url} lets this page in; start one: dao-scorer serve --cors-origins {page}" in (
            await site.line("no server at")
        )
