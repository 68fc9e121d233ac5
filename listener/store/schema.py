"""The tables of the listener's own file.

`user_version` tells the schema's version; a file of a newer one is refused, one of the version before is
brought up to date. Every table's rows belong to a source: chain, contract and name.
"""

from __future__ import annotations

import sqlalchemy as sa

SCHEMA_VERSION = 3
APPLICATION_ID = 0x4C53544E
"""`LSTN`: tells a listener's file from any other SQLite database."""

metadata = sa.MetaData()


def _of_source(*, primary_key: bool) -> list[sa.Column[object]]:
    """Return the columns that say whose a row is; `name` is empty where a contract has one source only."""
    return [
        sa.Column("chain_id", sa.BigInteger, primary_key=primary_key, nullable=False),
        sa.Column("dao", sa.Text, primary_key=primary_key, nullable=False),
        sa.Column("name", sa.Text, primary_key=primary_key, nullable=False, server_default=""),
    ]


cursors = sa.Table(
    "cursors",
    metadata,
    *_of_source(primary_key=True),
    sa.Column("block_number", sa.BigInteger, nullable=False),
    sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
    # Where the scan that led here began: blocks before it were never read.
    sa.Column("first_block", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

open_proposals = sa.Table(
    "open_proposals",
    metadata,
    *_of_source(primary_key=True),
    # A proposal id has up to 256 bits: text, in decimal.
    sa.Column("proposal_id", sa.Text, primary_key=True),
    # Timepoint of the DAO's clock after which the proposal is to be looked at; -1 before its first reading.
    sa.Column("due_after", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("retry_at_ms", sa.BigInteger, nullable=False),
    sa.Column("parked_reason", sa.Text),
    sa.Index("open_proposals_due", "chain_id", "dao", "name", "due_after"),
    sqlite_with_rowid=False,
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    *_of_source(primary_key=True),
    # The last places of the cursor: where to go back to when the chain was replaced below it.
    sa.Column("block_number", sa.BigInteger, primary_key=True),
    sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
    sqlite_with_rowid=False,
)

dispatched = sa.Table(
    "dispatched",
    metadata,
    *_of_source(primary_key=True),
    # What was invoked for which block: what vanishes with a block that is replaced although it was final.
    sa.Column("promise_id", sa.Text, primary_key=True),
    sa.Column("block_number", sa.BigInteger, nullable=False),
    sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("proposal_id", sa.Text),
    sa.Index("dispatched_blocks", "chain_id", "dao", "name", "block_number"),
    sqlite_with_rowid=False,
)

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    *_of_source(primary_key=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("block_number", sa.BigInteger),
    sa.Column("block_hash", sa.LargeBinary(32)),
    sa.Column("log_index", sa.BigInteger),
    # Where to go back to, and the ids of the promises (a JSON list) whose logs the chain no longer has.
    sa.Column("ancestor_number", sa.BigInteger),
    sa.Column("ancestor_hash", sa.LargeBinary(32)),
    sa.Column("vanished", sa.Text, nullable=False),
    sa.Column("opened_at_ms", sa.BigInteger, nullable=False),
    sa.Column("resolved_at_ms", sa.BigInteger),
    sa.Column("decision", sa.Text),
    sa.Index("incidents_of_source", "chain_id", "dao", "name", "resolved_at_ms"),
    sqlite_autoincrement=True,
)

skipped_logs = sa.Table(
    "skipped_logs",
    metadata,
    *_of_source(primary_key=True),
    # Logs that an operator decided to pass over.
    sa.Column("block_hash", sa.LargeBinary(32), primary_key=True),
    sa.Column("log_index", sa.BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)

implementations = sa.Table(
    "implementations",
    metadata,
    *_of_source(primary_key=True),
    # What a proxy pointed at when it was last looked at, and a hash of the contract's own code.
    sa.Column("code_hash", sa.LargeBinary(32), nullable=False),
    sa.Column("implementation", sa.Text),
    sqlite_with_rowid=False,
)

_PARTS_OF_2 = {
    "cursors": "chain_id, dao, block_number, block_hash, first_block",
    "open_proposals": "chain_id, dao, proposal_id, due_after, failures, retry_at_ms, parked_reason",
}


def upgrade_from_2(connection: sa.Connection) -> None:
    """Bring a file of version 2, in which a contract had one source, to this version's tables."""
    connection.exec_driver_sql("DROP INDEX IF EXISTS open_proposals_due")
    for table in _PARTS_OF_2:
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {table}_2")
    metadata.create_all(connection)
    for table, columns in _PARTS_OF_2.items():
        connection.exec_driver_sql(
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}_2"  # noqa: S608 - constants
        )
        connection.exec_driver_sql(f"DROP TABLE {table}_2")
