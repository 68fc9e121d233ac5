"""PostgreSQL as a store: what opens, what is refused and how it says so, what lasts, how it is read."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.domain.promise import PromiseState, Value
from orchestrator.engine import Engine
from orchestrator.protocol import commands as c
from orchestrator.store import StoreError, open_store, schema
from orchestrator.store.port import Changes, LoadDue, LoadHeld, LoadRows, Program, Write, ask
from orchestrator.store.sharing import SharedStore
from tests.engine_world import FAR, GROUP, RESOLVED, TARGET, Ear, acquire, claim, create, settle, world
from tests.postgres_server import Server, server

asyncpg = pytest.importorskip("asyncpg", reason="the extra `postgres` is not installed")
from orchestrator.store import postgres_groups  # noqa: E402
from orchestrator.store import postgres_parts as parts  # noqa: E402
from orchestrator.store import postgres_statements as statements  # noqa: E402
from orchestrator.store.postgres import PostgresStore  # noqa: E402
from orchestrator.store.postgres_connections import Connections  # noqa: E402
from orchestrator.store.postgres_locks import LOCKS_MAX, Locks, key_of  # noqa: E402


async def _refused(url: str) -> StoreError:
    store = open_store(url)
    with pytest.raises(StoreError) as caught:
        await store.open()
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    await store.close()
    return caught.value


# -- what cannot be opened


def test_urls() -> None:
    for url in ("postgresql://localhost/x", "postgres://u:p@h:1/x", "postgresql:///x?host=/run/postgresql"):
        store = open_store(url)
        assert isinstance(store, PostgresStore)
        assert isinstance(store, SharedStore)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    for name in [name for name in sys.modules if name.startswith("orchestrator.store.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(StoreError, match=r"pip install 'dao-scorer\[postgres\]'"):
        open_store("postgresql://localhost/x")


async def test_nobody_listens() -> None:
    error = await _refused("postgresql://u:secret@127.0.0.1:1/scores")
    assert error.transient
    assert "postgresql://u@127.0.0.1:1/scores cannot be reached" in str(error)
    assert "start PostgreSQL there" in str(error)


async def test_a_host_that_does_not_exist() -> None:
    assert "cannot be reached" in str(await _refused("postgresql://u:secret@nowhere.invalid/scores"))


async def test_a_database_that_does_not_exist(postgres: Server) -> None:
    error = await _refused(postgres.tcp_url("nothing"))
    assert 'database "nothing" does not exist; create the database with `createdb`' in str(error)


async def test_a_wrong_password(postgres: Server, postgres_url: str) -> None:
    await postgres.execute("DROP ROLE IF EXISTS guarded")
    await postgres.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    database = postgres_url.partition("?")[0].rpartition("/")[2]
    error = await _refused(postgres.tcp_url(database, user="guarded", password="secret"))
    assert "password authentication failed" in str(error)
    assert "correct user and password" in str(error)


async def test_a_user_who_may_not_create_tables(postgres: Server) -> None:
    await postgres.execute("DROP ROLE IF EXISTS reader")
    await postgres.execute("CREATE ROLE reader LOGIN")
    await postgres.execute("DROP DATABASE IF EXISTS empty")
    await postgres.execute("CREATE DATABASE empty")
    await postgres.execute("REVOKE ALL ON SCHEMA public FROM public", "empty")
    await postgres.execute("CREATE SCHEMA reader", "empty")
    await postgres.execute("GRANT USAGE ON SCHEMA reader TO reader", "empty")
    error = await _refused(postgres.url("empty", user="reader"))
    assert "must be upgraded: grant CREATE" in str(error)


async def test_an_old_server(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.store.postgres_connections.VERSION_MIN", 99)
    assert "too old; upgrade it to 99 or later" in str(await _refused(postgres_url))


async def test_a_database_in_another_encoding(postgres: Server) -> None:
    await postgres.execute("DROP DATABASE IF EXISTS latin")
    await postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    assert "create a database with encoding UTF8" in str(await _refused(postgres.url("latin")))


async def test_somebody_elses_database(postgres: Server) -> None:
    await postgres.execute("DROP DATABASE IF EXISTS foreign_one")
    await postgres.execute("CREATE DATABASE foreign_one")
    await postgres.execute("CREATE TABLE cats (name TEXT)", "foreign_one")
    assert "not this program's" in str(await _refused(postgres.url("foreign_one")))


async def test_a_database_of_a_newer_program(postgres: Server, postgres_url: str) -> None:
    database = postgres_url.partition("?")[0].rpartition("/")[2]
    await postgres.execute("UPDATE alembic_version SET version_num = '9999'", database)
    assert "revision 9999" in str(await _refused(postgres_url))


async def test_a_closed_store_says_so(postgres_url: str) -> None:
    store = PostgresStore(postgres_url)
    with pytest.raises(StoreError, match="closed"):
        await store.run(lambda _: _read("p"), 0)
    await store.open()
    with pytest.raises(StoreError, match="open already"):
        await store.open()
    await store.close()
    await store.close()


# -- schema


async def test_servers_that_start_together_upgrade_once(postgres: Server) -> None:
    await postgres.execute("DROP DATABASE IF EXISTS young")
    await postgres.execute("CREATE DATABASE young")
    stores = [PostgresStore(postgres.url("young")) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        assert await store.run(lambda _: _read("p"), 0) == []
        await store.close()
    assert [row[0] for row in await postgres.execute("SELECT version_num FROM alembic_version", "young")] == [
        schema.HEAD
    ]


_COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, collation_name FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2
"""
_INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"


async def test_migrations_make_the_schema_that_the_code_declares(postgres: Server, postgres_url: str) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

    await postgres.execute("DROP DATABASE IF EXISTS declared")
    await postgres.execute("CREATE DATABASE declared")
    engine = create_async_engine(
        "postgresql+asyncpg://",
        poolclass=sa.pool.NullPool,
        async_creator=lambda: asyncpg.connect(postgres.url("declared")),
    )
    async with engine.begin() as connection:
        await connection.run_sync(schema.metadata.create_all)
    await engine.dispose()
    migrated = postgres_url.partition("?")[0].rpartition("/")[2]
    for query in (_COLUMNS, _INDEXES):
        found = [set(await postgres.execute(query, name)) for name in (migrated, "declared")]
        assert found[0] == found[1]


async def test_ids_compare_by_code_point(postgres_url: str) -> None:
    ids = ["a", "B", "é", "_", "😀", "\ufffd", "-"]
    async with world(postgres_url) as w:
        for key in ids:
            await w.do(create(key))
        page = await w.do(c.PromiseSearch(limit=100))
        assert [promise.id for promise in page.promises] == sorted(ids)


def _texts() -> Iterator[tuple[str, str]]:
    for name, value in {**vars(statements), **vars(parts), **vars(postgres_groups)}.items():
        if not name.isupper() or name.startswith("_") or name.endswith(("_COLUMNS", "_TAGS", "QUERIES")):
            continue
        if isinstance(value, parts.Put):
            for form, text in value._asdict().items():
                yield f"{name}_{form}", parts.combined(((text, text.count("{}")),))
        elif isinstance(value, dict):
            yield from ((f"{name}_{key}", text) for key, text in value.items())
        elif isinstance(value, str) and "{}" in value:
            yield name, parts.combined(((value, value.count("{}")),))
        elif isinstance(value, str):
            yield name, value


async def test_no_statement_scans_a_table(postgres_url: str) -> None:
    """As the store's connections plan: for any number of rows, by the statistics of an empty database."""
    connection = await Connections(postgres_url, 1).connect()
    leading = dict(await connection.fetch(LEADING))
    faults = {}
    for name, text in _texts():
        if name in {"CLEAR", "LOAD_GROUPS"}:
            continue  # for debugging
        await connection.execute(f"PREPARE one AS {text}")
        count = len((await connection.prepare(text)).get_parameters())
        given = f"({', '.join(['NULL'] * count)})" if count else ""
        (found,) = msgspec.json.decode(await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE one{given}"))
        await connection.execute("DEALLOCATE one")
        # What is counted lies in indexes that hold nothing else.
        limited = name in {"LOAD_GAUGES", "COUNT_DEAD", "COUNT_ALL_PLACES"}
        scans = list(_scans(found["Plan"], leading, limited=limited))
        if scans:
            faults[name] = scans
    await connection.close()
    assert not faults


LEADING = """
    SELECT i.relname, a.attname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
    JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]
"""
"""The first column of each index: a condition on a later one alone reads the whole index."""


def _scans(node: dict[str, Any], leading: Mapping[str, str], *, limited: bool) -> Iterator[str]:
    """Yield the scans that read a whole table or index: no condition where the index begins, no limit."""
    kind = node["Node Type"]
    limited = limited or kind == "Limit"
    first = leading.get(node.get("Index Name", ""), "")
    found = "Index Cond" in node and re.search(rf"\b{first}\b", node["Index Cond"])
    if kind == "Seq Scan" or ("Index" in kind and not found and not limited):
        yield f"{kind} on {node.get('Index Name') or node.get('Relation Name')}"
    for child in node.get("Plans", []):
        yield from _scans(child, leading, limited=limited)


# -- what lasts


def _read(*ids: str) -> Program[list[Any]]:
    return (yield from ask(LoadRows(ids=list(ids))))


async def test_a_rolled_back_program_leaves_nothing(postgres_url: str) -> None:
    from tests.unit.test_engine_transitions import _promise  # noqa: PLC0415

    def program(_: int) -> Program[None]:
        assert (yield from ask(LoadRows(ids=["p"]))) == []
        yield from ask(Write(changes=Changes(promises_created=[_promise()], callbacks_added=[("p", "q")])))
        assert len((yield from ask(LoadRows(ids=["p"])))) == 1
        raise ZeroDivisionError

    store = PostgresStore(postgres_url)
    await store.open()
    with pytest.raises(ZeroDivisionError):
        await store.run(program, 0)
    assert await store.run(lambda _: _read("p"), 0) == []
    await store.close()


async def test_a_program_that_meets_more_starts_again_with_more_locks(postgres_url: str) -> None:
    async with world(postgres_url) as w:
        await w.do(claim("held"))
        assert isinstance(w.store, PostgresStore)
        starts = 0

        def program(_: int) -> Program[list[str]]:
            nonlocal starts
            starts += 1
            yield from ask(LoadRows(ids=["other"]))
            rows = yield from ask(LoadHeld(pids=["w1"]))
            return [promise.id for promise, _ in rows]

        assert await w.store.run(program, w.now) == ["held"]
        assert starts == 4  # to learn what it asks first, by two statements, with too few locks, with enough
        async with asyncio.timeout(5):
            other = await asyncpg.connect(postgres_url)
            transaction = other.transaction()
            await transaction.start()
            await other.execute(f"SELECT pg_advisory_xact_lock({key_of('held')})")
            waiting = asyncio.create_task(w.store.run(program, w.now))
            while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await transaction.rollback()
            assert await waiting == ["held"]
            await other.close()


def test_locks() -> None:
    assert key_of("r") == key_of("r:1.2") == key_of("r.1") != key_of("s")
    few, many = Locks(frozenset({1, 2})), Locks(frozenset(range(LOCKS_MAX + 1)))
    assert few.missing_keys([1, 3]) == {3}
    assert many.missing_keys([-1]) == frozenset()
    assert "shared" in few.statement()
    assert "shared" not in many.statement()


async def test_a_batch_beyond_the_locks_takes_the_whole_store(postgres_url: str) -> None:
    async with world(postgres_url, batch_max=1_000) as first, world(postgres_url, first.clock) as second:
        commands = [create(f"p{number}") for number in range(LOCKS_MAX + 100)]
        answers, other = await asyncio.gather(
            first.together(*commands), second.together(*commands[:50], *map(settle, ("p1", "p2")))
        )
        assert [each for each in [*answers, *other] if not isinstance(each, c.PromiseAnswer)] == []
        assert (await first.engine.gauges()).promises_pending == LOCKS_MAX + 98


@pytest.mark.parametrize("data", ["nul \x00", "lone \ud800"])
async def test_what_cannot_be_stored_is_refused(postgres_url: str, data: str) -> None:
    async with world(postgres_url) as w:
        poison = c.PromiseCreate(id="bad", timeout_at=FAR, param=Value(data=data))
        first, refused, last = await w.together(create("a"), poison, create("b"))
        assert (first.promise.id, last.promise.id) == ("a", "b")
        assert isinstance(refused, Refused)
        assert refused.status == 400
        await w.refused(404, c.PromiseGet(id="bad"))


async def test_a_tag_too_long_for_an_index_is_refused(postgres_url: str) -> None:
    async with world(postgres_url) as w:
        long = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(4_000))
        await w.refused(400, create("p", branch=long))
        await w.refused(404, c.PromiseGet(id="p"))


async def test_commits_last_even_where_the_database_says_otherwise(
    postgres: Server, postgres_url: str
) -> None:
    database = postgres_url.partition("?")[0].rpartition("/")[2]
    await postgres.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    connection = await Connections(postgres_url, 1).connect()
    assert await connection.fetchval("SELECT current_setting('synchronous_commit')") == "on"
    await connection.close()


# -- a database that goes away


async def test_a_database_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    with server() as own:
        url = own.fresh("scores")
        async with Engine(open_store(url)) as engine:
            ear = Ear()
            engine.connect(GROUP, "w1", ear)
            await engine.handle(create("before", target=TARGET))
            await ear.hear(1)
            await asyncio.to_thread(own.stop)  # as a crash would
            for _ in range(3):
                with pytest.raises(Unavailable, match="store postgresql://"):
                    await engine.handle(create("meanwhile"))
            await asyncio.to_thread(own.start)
            async with asyncio.timeout(20):
                while not await _works(engine):  # noqa: ASYNC110  # a database has no event for it
                    await asyncio.sleep(0.1)
            await engine.handle(acquire("before", 0))
            await engine.handle(create("after", target=TARGET))
            await ear.hear(2)
            assert ear.executes == [("before", 0), ("after", 0)]
            state = (await engine.handle(c.PromiseGet(id="before"))).promise.state
            assert state is PromiseState.PENDING


async def _works(engine: Engine) -> bool:
    try:
        await engine.handle(create("again"))
    except Unavailable:
        return False
    return True


async def test_a_connection_that_is_cut_off_is_replaced_unseen(postgres_url: str) -> None:
    async with world(postgres_url) as w:
        other = await asyncpg.connect(postgres_url)
        for number in range(5):
            await w.do(create(f"p{number}"))
            await other.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'dao-scorer' AND datname = current_database()"
            )
        await w.do(settle("p4"))
        assert await w.state("p4") is RESOLVED
        await other.close()


async def test_what_fails_after_a_lost_connection_is_not_repeated(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a connection that is lost is worth another; the reason of what failed then is handed on."""
    store = PostgresStore(postgres_url)
    attempts, through = 0, Connections.lent

    @asynccontextmanager
    async def lent(self: Connections) -> AsyncIterator[Any]:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise asyncpg.ConnectionDoesNotExistError("the connection was closed in the middle of operation")
        async with through(self) as connection:
            await connection.execute("SET default_transaction_read_only = on")
            yield connection

    def program(now_ms: int) -> Program[None]:
        yield from ask(Write(changes=Changes(unblocks_before=now_ms)))

    await store.open()
    monkeypatch.setattr(Connections, "lent", lent)
    with pytest.raises(StoreError, match="read-only transaction"):
        await store.run(program, 0)
    assert attempts == 2
    await store.close()


@pytest.mark.parametrize("cuts", [1, 2])
async def test_a_connection_that_is_cut_off_while_it_is_made(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, cuts: int
) -> None:
    """Once is chance; who is cut off again is told so, and may come back."""
    through, left = asyncpg.connect, cuts

    async def connect(*values: Any, **options: Any) -> Any:
        nonlocal left
        connection = await through(*values, **options)
        if left:
            left -= 1
            connection.terminate()
            raise asyncpg.InternalClientError(
                "cannot switch to state 12; another operation (2) is in progress"
            )
        return connection

    connections = Connections(postgres_url, 1)
    monkeypatch.setattr(asyncpg, "connect", connect)
    if cuts == 1:
        await (await connections.connect()).close()
    else:
        with pytest.raises(StoreError, match="cut the connection off") as caught:
            await connections.connect()
        assert caught.value.transient
        assert caught.value.connection_lost


async def test_a_lost_commit_is_not_repeated(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether it was carried out: to run its commands again could refuse what was granted."""
    async with world(postgres_url) as w:
        await w.do(create("p", target=TARGET))
        await w.do(create("p:1", branch="p"))  # a preload that is not empty wants a transaction
        execute = asyncpg.Connection.execute

        async def cut(connection: Any, query: str, *values: Any, **options: Any) -> Any:
            result = await execute(connection, query, *values, **options)
            if query == "COMMIT":
                connection.terminate()
                raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
            return result

        monkeypatch.setattr(asyncpg.Connection, "execute", cut)
        answers = await w.together(acquire("p", 0), create("q", target=TARGET))
        assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
        monkeypatch.undo()
        assert (await w.task("p")).version == 1
        assert await w.state("q") is PromiseState.PENDING


async def test_a_program_that_is_cancelled_leaves_nothing_behind(postgres_url: str) -> None:
    def ended(now_ms: int) -> Program[list[Any]]:
        """Begin, as it looks for what is not there, with a transaction."""
        yield from ask(LoadDue(now_ms=now_ms, limit=1))
        return (yield from ask(LoadRows(ids=["p"])))

    async with world(postgres_url) as w:
        assert isinstance(w.store, PostgresStore)
        other = await asyncpg.connect(postgres_url)
        async with other.transaction():
            await other.execute(f"SELECT pg_advisory_xact_lock({key_of('p')})")
            waiting = asyncio.create_task(w.store.run(ended, w.now))
            while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await w.do(create("p"))
        await other.close()
