"""Brings a database to the newest revision, and refuses one that is newer than this program.

Alembic is configured here, in code, and imported only when there is something to upgrade: a store that is up
to date opens without it, and a new SQLite file is given the tables as they are declared, which is the same
(a test compares) in a tenth of the time.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import sqlalchemy as sa

from orchestrator.store.errors import StoreError
from orchestrator.store.schema import HEAD, metadata

_SCRIPTS = Path(__file__).parent / "migrations"
_KNOWN = frozenset(f"{number:04}" for number in range(1, int(HEAD) + 1))
"""The revisions from which this program can upgrade, its own included; a test compares with the scripts."""
_CREATE_VERSION = """
    CREATE TABLE IF NOT EXISTS alembic_version (
        version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
    )
"""
"""As Alembic creates it."""


def revision_of(connection: sqlite3.Connection, name: str) -> str | None:
    """Return the revision of a SQLite database; None if it is new. Raises StoreError for a foreign one."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    names = {row[0] for row in connection.execute(query)}
    if "alembic_version" in names:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        if row is not None:
            return str(row[0])
    if names - {"alembic_version"}:
        raise foreign_error(name)
    return None


def foreign_error(name: str) -> StoreError:
    """Return the refusal of a database that belongs to somebody else."""
    return StoreError(
        f"store {name} holds tables that are not this program's; give the store a database of its own"
    )


def check_revision(revision: str | None, name: str) -> bool:
    """Tell whether an upgrade is due. Raises StoreError if the database is newer than this program."""
    if revision is not None and revision not in _KNOWN:
        raise StoreError(
            f"store {name} has schema revision {revision}, newer than this program's {HEAD}; "
            "upgrade dao-scorer, or use another store"
        )
    return revision != HEAD


def prepare_file(connection: sqlite3.Connection, path: Path, revision: str | None) -> None:
    """Bring a SQLite file to HEAD from a revision, or from nothing. The caller owns the file."""
    if revision is None:
        _create(connection)  # before there is a log, in which all of that would lie
    connection.execute("PRAGMA journal_mode = WAL")
    if revision is not None:
        upgrade_file(path)


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        create_tables(connection)
        connection.execute(_CREATE_VERSION)
        connection.execute("INSERT INTO alembic_version VALUES (?)", (HEAD,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends some by itself, where the disk is full
            connection.execute("ROLLBACK")
        raise


def create_tables(connection: sqlite3.Connection) -> None:
    """Create everything that is declared in a database that holds nothing."""

    def carry_out(statement: sa.ClauseElement, *_: object) -> None:
        connection.execute(str(statement.compile(dialect=mock.dialect)))

    mock = sa.create_mock_engine("sqlite://", carry_out)
    metadata.create_all(mock, checkfirst=False)


def upgrade_file(path: Path) -> None:
    """Upgrade the SQLite file to HEAD. The caller owns the file."""
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    # The driver would begin no transaction before DDL; a crash must leave the old schema or the new one.
    sa.event.listen(engine, "connect", _leave_transactions_to_us)
    sa.event.listen(engine, "begin", _begin)
    try:
        with engine.begin() as connection:
            upgrade(connection)
    finally:
        engine.dispose()


def _leave_transactions_to_us(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def upgrade(connection: sa.Connection, revision: str = HEAD) -> None:
    """Upgrade the database of this connection to a revision, inside its transaction."""
    from alembic import command  # noqa: PLC0415  # slow to import, and seldom needed
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
