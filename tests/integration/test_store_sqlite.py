"""The SQLite file: what opens, what is refused and how it says so, what lasts, how it is read."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.domain.errors import Unavailable
from orchestrator.domain.promise import Value
from orchestrator.domain.task import TaskState
from orchestrator.engine import ManualClock
from orchestrator.protocol import commands as c
from orchestrator.store import (
    MemoryStore,
    SqliteStore,
    StoreError,
    group_statements,
    lineage_statements,
    maintenance,
    open_store,
    schema,
    sqlite_gauges,
    sqlite_insert,
    sqlite_steps,
    statements,
)
from orchestrator.store.migration import _KNOWN, upgrade, upgrade_file
from orchestrator.store.search import IMPLIED_COLUMNS, INDEXED_TAGS
from tests.engine_world import GROUP, RESOLVED, TARGET, Ear, claim, create, settle, suspend, world


async def _refused(url: str) -> str:
    store = open_store(url)
    with pytest.raises(StoreError) as caught:
        await store.open()
    message = str(caught.value)
    assert "\n" not in message
    await store.close()
    return message


@asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


# -- URLs


def test_urls() -> None:
    assert isinstance(open_store("memory://"), MemoryStore)
    assert isinstance(open_store("sqlite:///:memory:"), SqliteStore)
    relative, absolute = open_store("sqlite:///scores.db"), open_store("sqlite:////var/scores.db")
    assert isinstance(relative, SqliteStore)
    assert isinstance(absolute, SqliteStore)
    assert (relative._path, absolute._path) == (Path("scores.db"), Path("/var/scores.db"))


@pytest.mark.parametrize("url", ["", "scores.db", "sqlite:///", "mysql://localhost/x", "sqlite://scores.db"])
def test_unknown_urls(url: str) -> None:
    with pytest.raises(StoreError, match="sqlite:///FILE"):
        open_store(url)


# -- what cannot be opened


async def test_a_missing_directory(tmp_path: Path) -> None:
    assert "does not exist; create it" in await _refused(f"sqlite:///{tmp_path}/none/s.db")


async def test_a_directory(tmp_path: Path) -> None:
    assert "is a directory" in await _refused(f"sqlite:///{tmp_path}")


async def test_something_else_than_a_database(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    file.write_bytes(b"proposal,score\n" * 1000)
    assert "not a SQLite database" in await _refused(f"sqlite:///{file}")
    assert file.read_bytes() == b"proposal,score\n" * 1000


async def test_somebody_elses_database(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE cats (name TEXT)")
    connection.close()
    assert "not this program's" in await _refused(f"sqlite:///{file}")


async def test_a_database_of_a_newer_program(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    async with _opened(file):
        pass
    connection = sqlite3.connect(file)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    message = await _refused(f"sqlite:///{file}")
    assert "revision 9999" in message
    assert "upgrade dao-scorer" in message


async def test_a_database_that_another_program_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.store.sqlite.BUSY_TIMEOUT_S", 0.05)
    file = tmp_path / "s.db"
    async with _opened(file):
        pass
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert "locked" in await _refused(f"sqlite:///{file}")
    finally:
        other.close()
    async with _opened(file):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
async def test_a_read_only_file(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    async with _opened(file):
        pass
    file.chmod(0o444)
    assert "read-only" in await _refused(f"sqlite:///{file}")


async def test_a_second_owner_in_this_process_is_refused(tmp_path: Path) -> None:
    async with _opened(tmp_path / "s.db"):
        message = await _refused(f"sqlite:///{tmp_path}/s.db")
        assert f"process {os.getpid()}" in message
    async with _opened(tmp_path / "s.db"):
        pass


_HOLD = """
import asyncio, sys
from pathlib import Path
from orchestrator.store import SqliteStore

async def hold():
    await SqliteStore(Path(sys.argv[1])).open()
    print("open", flush=True)
    await asyncio.Event().wait()

asyncio.run(hold())
"""


async def test_a_second_process_is_told_who_owns_the_file_until_that_dies(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(file)], stdout=subprocess.PIPE)  # noqa: ASYNC220
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"open\n"
        assert f"process {process.pid}" in await _refused(f"sqlite:///{file}")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    async with _opened(file):
        pass


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db")
    with pytest.raises(StoreError, match="closed"):
        await store.run(lambda _: iter(()), 0)  # type: ignore[arg-type, return-value]
    await store.open()
    with pytest.raises(StoreError, match="open already"):
        await store.open()
    await store.close()
    await store.close()


# -- schema


async def test_a_new_file_is_what_all_migrations_would_have_made(tmp_path: Path) -> None:
    """The tables are created as they are declared; a file of an earlier version comes by its migrations."""
    upgrade_file(tmp_path / "migrated.db")
    async with _opened(tmp_path / "new.db"):
        pass
    assert (await maintenance.upgrade(f"sqlite:///{tmp_path}/made.db")).before is None
    migrated, *others = (_contents_of(tmp_path / f"{name}.db") for name in ("migrated", "new", "made"))
    assert others == [migrated, migrated]


def _contents_of(path: Path) -> tuple[dict[str, str], list[tuple[str]]]:
    """Return how tables and indexes were declared, and the revision."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
        found = {name: re.sub(r"\s+", " ", sql) for name, sql in connection.execute(query)}
        revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return found, revisions


async def test_a_creation_that_fails_leaves_an_empty_file_that_the_next_one_fills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.db"
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.store.migration._CREATE_VERSION", "SELECT no_such_function()")
        assert "s.db" in await _refused(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    async with _opened(path):
        pass


def test_the_newest_script_is_the_head_that_the_code_knows() -> None:
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_current_head() == schema.HEAD
    assert {script.revision for script in scripts.walk_revisions()} == _KNOWN


def test_what_was_stored_before_is_found_by_target_and_schedule(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        upgrade(connection, "0003")
        tags = '{"resonate:schedule":"s","resonate:target":"poll://any@g"}'
        connection.exec_driver_sql(
            "INSERT INTO promises (id, state, tags, timeout_at, created_at) VALUES ('p', 'pending', ?, 9, 1),"
            " ('q', 'pending', '{}', 9, 1)",
            (tags,),
        )
        connection.exec_driver_sql(
            "INSERT INTO tasks (id, state, version, target, resumes, releases, embedded)"
            " VALUES ('p', 'pending', 0, 'poll://any@g', 0, 0, 0)"
        )
    upgrade_file(path)
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT id, schedule, target, branch FROM promises ORDER BY id"
        ).all()
    # A task without a branch's tag stands in the index of branches: its tree is found by it.
    assert found == [("p", "s", "poll://any@g", "p"), ("q", None, None, None)]


async def test_the_file_is_durable_by_default(tmp_path: Path) -> None:
    async with _opened(tmp_path / "s.db") as store:
        connection = store._connection
        assert connection is not None
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def _statements() -> dict[str, str]:
    found: dict[str, str] = {}
    modules = (statements, lineage_statements, sqlite_insert, sqlite_steps, sqlite_gauges, group_statements)
    for name, value in {name: value for module in modules for name, value in vars(module).items()}.items():
        if not name.isupper() or name.startswith("_") or name.endswith(("_COLUMNS", "_TAGS", "_SEPARATOR")):
            continue
        found |= (
            {f"{name}_{key}": text for key, text in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    for fenced, form in product((False, True), sqlite_insert._FORMS):
        found[f"INSERT_MANY_{fenced}_{len(form.given)}"] = sqlite_insert._statement(4, fenced, form)
    return found


async def test_no_statement_scans_a_table() -> None:
    store = SqliteStore(None)
    await store.open()
    connection = store._connection
    assert connection is not None
    counted = {
        "COUNT_EXECUTES",
        "COUNT_UNBLOCKS",
        "COUNT_TASKS",
        "COUNT_PENDING",
        "COUNT_DEAD",
        "COUNT_ALL_PLACES",
    }  # gauges read an index
    for name, text in _statements().items():
        plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", (None,) * text.count("?")).fetchall()
        for *_, step in plan:
            scan = re.match(r"SCAN (?!anon_\d|json_each|\d+[ -]|CONSTANT|\(subquery)", step)
            indexed = name in counted and "INDEX" in step
            assert not scan or indexed, (name, step)
            assert "TEMP B-TREE FOR ORDER" not in step or name in _SORTED, (name, step)
    await store.close()


async def _reads_of(text: str) -> list[str]:
    """Return how the plan of a statement finds promises, in order."""
    store = SqliteStore(None)
    await store.open()
    assert store._connection is not None
    plan = store._connection.execute(f"EXPLAIN QUERY PLAN {text}", (None,) * text.count("?")).fetchall()
    await store.close()
    return [step for *_, step in plan if "promises" in step]


@pytest.mark.parametrize("column", INDEXED_TAGS.values())
async def test_a_search_by_an_indexed_tag_reads_its_index(column: str) -> None:
    def by(name: str) -> str:
        return f"SEARCH promises USING COVERING INDEX promises_by_{name} ({name}=? AND id>?)"

    if column in IMPLIED_COLUMNS:
        reads = await _reads_of(lineage_statements.SEARCH_PROMISES_BY_IMPLIED[column])
        assert reads == [
            "SEARCH promises USING INDEX sqlite_autoindex_promises_1 (id=?)",
            by(column),
            by("branch"),
        ]
    else:
        reads = await _reads_of(lineage_statements.SEARCH_PROMISES_BY[column])
        assert reads == [by(column).replace(" COVERING", "")]


async def test_a_search_by_any_other_tag_walks_the_ids_in_bounded_pages() -> None:
    reads = await _reads_of(lineage_statements.SEARCH_PROMISES)
    assert reads == ["SEARCH promises USING INDEX sqlite_autoindex_promises_1 (id>?)"]
    async with world("sqlite:///:memory:", search_scan_max=10) as w:
        for number in range(25):
            await w.do(create(f"p-{number:02}", **({"own": "y"} if number == 24 else {})))
        found, cursors, cursor = [], 0, None
        while True:
            page = await w.do(c.PromiseSearch(tags={"resonate:own": "y"}, cursor=cursor))
            found += [promise.id for promise in page.promises]
            cursor = page.cursor
            if cursor is None:
                break
            cursors += 1
    assert (found, cursors) == (["p-24"], 2)


_SORTED = {
    "LOAD_PRELOAD",
    "LOAD_CALLBACKS",
    "LOAD_LISTENERS",
    *(f"SEARCH_PROMISES_BY_IMPLIED_{column}" for column in IMPLIED_COLUMNS),
}
"""They sort no more rows than they return."""


# -- what lasts


async def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    async with world(f"sqlite:///{tmp_path}/s.db") as w:
        assert isinstance(w.store, SqliteStore)
        connection = w.store._connection
        assert connection is not None
        await w.do(create("before"))
        connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
        large = c.PromiseCreate(id="large", timeout_at=2**50, param=Value(data="x" * 100_000))
        answers = await w.together(large, large)
        assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
        assert "full" in str(answers[0])
        await w.refused(404, c.PromiseGet(id="large"))
        connection.execute("PRAGMA max_page_count = 1000000")
        await w.do(large)
        assert (await w.state("before")) is not None


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    url, clock = f"sqlite:///{tmp_path}/s.db", ManualClock()
    async with world(url, clock) as w:
        await w.do(claim("r"))
        await w.do(c.PromiseCreate(id="r:1", timeout_at=w.now + 1_000, tags={"é": "\u2028"}))
        await w.do(c.PromiseRegisterListener(awaited="r:1", address="poll://uni@clients/c1"))
        await w.do(suspend("r", 1, "r:1"))
        await w.do(create("waiting", target=TARGET))
        await w.do(create("settled"))
        await w.do(settle("settled", data="v"))
        before = [(await w.do(c.PromiseGet(id=key))).promise for key in ("r", "r:1", "waiting", "settled")]
    clock.advance(999)
    async with world(url, clock) as w:
        after = [(await w.do(c.PromiseGet(id=key))).promise for key in ("r", "r:1", "waiting", "settled")]
        assert after == before
        assert after[3].state is RESOLVED
        ear, client = Ear(), Ear()
        w.engine.connect(GROUP, "w1", ear)
        w.engine.connect("clients", "c1", client)
        await ear.hear(1)
        clock.advance(1)
        await ear.hear(2)
        await client.hear(1)
        assert ear.executes == [("waiting", 0), ("r", 1)]
        assert (await w.task("r")).state is TaskState.PENDING


async def test_a_rolled_back_program_leaves_nothing() -> None:
    from orchestrator.store.port import Changes, LoadRows, Write, ask  # noqa: PLC0415
    from tests.unit.test_engine_transitions import _promise  # noqa: PLC0415

    def program(_: int) -> Any:
        yield from ask(Write(changes=Changes(promises_created=[_promise()], callbacks_added=[("p", "q")])))
        assert len((yield from ask(LoadRows(ids=["p"])))) == 1
        raise ZeroDivisionError

    def read(_: int) -> Any:
        return (yield from ask(LoadRows(ids=["p"])))

    for store in (MemoryStore(), SqliteStore(None)):
        await store.open()
        with pytest.raises(ZeroDivisionError):
            await store.run(program, 0)
        assert await store.run(read, 0) == []
        await store.close()
