"""Looking after a store: upgraded, checked, copied while it is written to, compacted; on both databases."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.domain.promise import Value
from orchestrator.protocol import commands as c
from orchestrator.protocol import groups as g
from orchestrator.store import StoreError, maintenance
from orchestrator.store.maintenance_checks import CHECKS
from orchestrator.store.schema import HEAD
from scorers.cli import app
from tests.engine_world import TARGET, World, acquire, claim, create, settle, suspend, world

FAULTS = {
    "a promise is settled if and only if it says when": (
        "UPDATE promises SET settled_at = 1 WHERE id = 'open'"
    ),
    "an open promise has no value but its progress": "UPDATE promises SET value_data = 'x' WHERE id = 'open'",
    "a promise has a task if and only if it has a target": "DELETE FROM tasks WHERE id = 'pending'",
    "a promise is found by its tags": "UPDATE promises SET origin = 'other' WHERE id = 'held:1'",
    "a task belongs to a promise": "DELETE FROM promises WHERE id = 'done'",
    "an acquired task has a holder and a lease, no other has": (
        "UPDATE tasks SET pid = NULL WHERE id = 'held'"
    ),
    "a task is fulfilled if and only if its promise is settled": (
        "UPDATE tasks SET state = 'halted' WHERE id = 'done'"
    ),
    "a suspended task waits for an open promise": "DELETE FROM callbacks",
    "a pending or acquired task has a timer, no other has": (
        "UPDATE tasks SET timer_at = NULL WHERE id = 'pending'"
    ),
    "a callback waits for an open promise": "UPDATE callbacks SET awaited = 'done'",
    "a callback wakes a task that is not fulfilled": "UPDATE callbacks SET awaiter = 'done'",
    "a listener waits for an open promise": "UPDATE listeners SET promise_id = 'done'",
    "an announcement in the outbox is of a pending task": "UPDATE outbox_executes SET version = 9",
    "a place in a group is of a pending or acquired task": (
        "UPDATE queued SET task_id = 'done' WHERE task_id = 'waiting'"
    ),
    "a place is in a group that has limits": "UPDATE groups SET concurrency = NULL",
    "an acquired task counts in its limited group": "DELETE FROM queued WHERE task_id = 'placed'",
    "a dead letter is of a halted task": "UPDATE dead_letters SET id = 'done'",
    "a group has a rate if and only if it has a period": "UPDATE groups SET rate = 1",
    "news in the outbox are of a settled promise": "UPDATE outbox_unblocks SET promise_id = 'open'",
}


async def fill(w: World) -> None:
    """Have at least one row of every kind."""
    await w.do(create("open"))
    await w.do(create("pending", target=TARGET))
    await w.do(create("done", target=TARGET))
    await w.do(settle("done", data="x"))
    await w.do(claim("held", origin="held"))
    await w.do(create("held:1", origin="held", parent="held", branch="held"))
    await w.do(claim("asleep"))
    await w.do(create("asleep:1", origin="asleep"))
    await w.do(suspend("asleep", 1, "asleep:1"))
    address = "poll://uni@nobody/at-home"
    await w.do(c.PromiseRegisterListener(awaited="open", address=address))
    await w.do(create("told"))
    await w.do(c.PromiseRegisterListener(awaited="told", address=address))
    await w.do(settle("told"))
    await w.do(g.GroupSet(id="limited", concurrency=1))
    await w.do(create("placed", target="poll://any@limited/w1"))
    await w.do(acquire("placed", 0))
    await w.do(create("waiting", target="poll://any@limited"))
    await w.do(create("dead", target=TARGET, attempts="1"))
    await w.do(acquire("dead", 0))
    await w.do(c.TaskRelease(id="dead", version=1))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'scores.db'}"
    found: str = request.getfixturevalue("postgres_url")
    return found


async def change(url: str, statement: str) -> None:
    """Break a store from outside."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            assert connection.execute(statement).rowcount
        return
    asyncpg = pytest.importorskip("asyncpg")
    connection = await asyncpg.connect(url)
    try:
        assert not (await connection.execute(statement)).endswith(" 0")
    finally:
        await connection.close()


def wrong(findings: list[Any]) -> dict[str, int]:
    return {finding.check: finding.faults for finding in findings if finding.faults}


async def test_a_store_in_use_is_sound(url: str) -> None:
    async with world(url) as w:
        await fill(w)
        findings = await maintenance.check(url)
    assert wrong(findings) == {}
    assert {finding.check for finding in findings} >= {check.name for check in CHECKS}


@pytest.mark.parametrize("check", FAULTS)
async def test_every_check_finds_its_fault(url: str, check: str) -> None:
    async with world(url) as w:
        await fill(w)
    await change(url, FAULTS[check])
    findings = await maintenance.check(url)
    assert wrong(findings).get(check, 0) >= 1, wrong(findings)
    found = next(finding for finding in findings if finding.check == check)
    assert found.examples


def test_every_check_has_its_fault() -> None:
    assert {check.name for check in CHECKS} == set(FAULTS)


async def test_a_new_store_is_upgraded_once(url: str) -> None:
    first = await maintenance.upgrade(url)
    assert first.after == HEAD
    again = await maintenance.upgrade(url)
    assert (again.before, again.after) == (HEAD, HEAD)
    assert wrong(await maintenance.check(url)) == {}


async def test_compacting_gives_space_back(url: str) -> None:
    async with world(url) as w:
        for number in range(50):
            await w.do(create(f"large-{number}"))
            await w.do(settle(f"large-{number}", data="x" * 20_000))
    await change(url, "DELETE FROM promises WHERE id LIKE 'large-%'")
    done = await maintenance.compact(url)
    assert done.after < done.before
    assert wrong(await maintenance.check(url)) == {}


# -- a file


def listed(folder: Path, pattern: str = "*") -> list[str]:
    return [path.name for path in folder.glob(pattern)]


def path_of(tmp_path: Path) -> tuple[str, Path]:
    path = tmp_path / "scores.db"
    return f"sqlite:///{path}", path


async def test_a_copy_is_one_moment_of_a_store_that_is_written_to(tmp_path: Path) -> None:
    url, _ = path_of(tmp_path)
    async with world(url) as w:
        for number in range(200):
            await w.do(create(f"before-{number}", target=TARGET))
        stop = asyncio.Event()

        async def write() -> int:
            number = 0
            while not stop.is_set():
                await w.do(claim(f"during-{number}"))
                await w.do(settle(f"during-{number}", data="x" * 500))
                number += 1
            return number

        writing = asyncio.create_task(write())
        copies = [tmp_path / f"copy-{number}.db" for number in range(3)]
        for copy in copies:
            await asyncio.sleep(0.05)
            assert await maintenance.backup(url, copy) == copy.stat().st_size
        stop.set()
        assert await writing
    counts = []
    for copy in copies:
        assert wrong(await maintenance.check(f"sqlite:///{copy}")) == {}
        with closing(sqlite3.connect(copy)) as connection:
            counts.append(connection.execute("SELECT count(*) FROM promises").fetchone()[0])
    assert counts[0] >= 200
    assert counts == sorted(counts)


async def test_a_copy_is_served_from_as_the_store_was(tmp_path: Path) -> None:
    url, _ = path_of(tmp_path)
    async with world(url) as w:
        await w.do(create("kept"))
        await w.do(settle("kept", data="x"))
        await maintenance.backup(url, tmp_path / "copy.db")
    async with world(f"sqlite:///{tmp_path / 'copy.db'}") as w:
        kept = (await w.do(c.PromiseGet(id="kept"))).promise
    assert kept.value == Value(data="x")
    assert set(listed(tmp_path, "copy*")) <= {"copy.db", "copy.db.lock"}


async def test_nothing_is_written_over(tmp_path: Path) -> None:
    url, _ = path_of(tmp_path)
    await maintenance.upgrade(url)
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(StoreError, match="exists already"):
        await maintenance.backup(url, taken)
    assert taken.read_text() == "mine"
    with pytest.raises(StoreError, match="does not exist; create it"):
        await maintenance.backup(url, tmp_path / "nowhere" / "copy.db")


async def test_what_changes_a_file_is_refused_while_it_has_an_owner(tmp_path: Path) -> None:
    url, _ = path_of(tmp_path)
    async with world(url):
        for change_it in (maintenance.compact, maintenance.upgrade):
            with pytest.raises(StoreError, match="in use by process"):
                await change_it(url)
    await maintenance.compact(url)


async def test_damage_is_found(tmp_path: Path) -> None:
    url, path = path_of(tmp_path)
    async with world(url) as w:
        for number in range(300):
            await w.do(create(f"promise-{number}", note="x" * 300))
    await maintenance.compact(url)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 8192)
    findings = await maintenance.check(url)
    assert [finding.check for finding in findings] == ["the file is sound"]
    assert findings[0].faults
    with pytest.raises(StoreError, match="damaged"):
        await maintenance.backup(url, tmp_path / "copy.db")
    assert not listed(tmp_path, "copy*")


@pytest.mark.parametrize("work", [maintenance.check, maintenance.compact])
async def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, work: Callable[[str], Any]) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        await work(f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(StoreError, match="in memory only"):
        await work("memory://")
    assert not listed(tmp_path)


async def test_an_old_or_a_newer_store_is_told(tmp_path: Path) -> None:
    url, _ = path_of(tmp_path)
    await maintenance.upgrade(url)
    for revision, said in (("0001", "run dao-scorer db upgrade first"), ("9999", "newer than this program")):
        await change(url, f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608
        with pytest.raises(StoreError, match=said):
            await maintenance.check(url)
        with pytest.raises(StoreError, match=said):
            await maintenance.backup(url, tmp_path / "copy.db")
    with pytest.raises(StoreError, match="newer than this program"):
        await maintenance.upgrade(url)


# -- a database server


async def test_postgres_is_backed_up_by_its_own_tools(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="pg_dump"):
        await maintenance.backup("postgresql://localhost/scores", tmp_path / "copy")


async def test_a_server_that_is_away_is_told() -> None:
    with pytest.raises(StoreError, match="cannot be reached"):
        await maintenance.check("postgresql://u:secret@127.0.0.1:1/scores")


# -- the command


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["db", *arguments])


def test_the_commands(tmp_path: Path) -> None:
    url, path = path_of(tmp_path)
    assert "a new store" in run("upgrade", "--store", url).output
    assert "up to date" in run("upgrade", "--store", url).output
    assert run("check", "--store", url).exit_code == 0
    copied = run("backup", str(tmp_path / "copy.db"), "--store", url)
    assert copied.exit_code == 0
    assert run("compact", "--store", url, "--json").exit_code == 0
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO tasks (id, state, version, target, resumes, releases, embedded) "
            "VALUES ('lost', 'suspended', 1, 'poll://any@g', 0, 0, 0)"
        )
    checked = run("check", "--store", url)
    assert checked.exit_code == 1
    assert "a task belongs to a promise" in checked.output
    assert "lost" in checked.output
