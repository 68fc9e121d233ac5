"""The tables of the listener's own file.

`user_version` tells the schema's version; a file of a newer one is refused, an older one would be dropped and
rebuilt by a scan, which costs time and nothing else.
"""

from __future__ import annotations

import sqlalchemy as sa

SCHEMA_VERSION = 2
APPLICATION_ID = 0x4C53544E
"""`LSTN`: tells a listener's file from any other SQLite database."""

metadata = sa.MetaData()

cursors = sa.Table(
    "cursors",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True),
    sa.Column("dao", sa.Text, primary_key=True),
    sa.Column("block_number", sa.BigInteger, nullable=False),
    sa.Column("block_hash", sa.LargeBinary(32), nullable=False),
    # Where the scan that led here began: blocks before it were never read.
    sa.Column("first_block", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

open_proposals = sa.Table(
    "open_proposals",
    metadata,
    sa.Column("chain_id", sa.BigInteger, primary_key=True),
    sa.Column("dao", sa.Text, primary_key=True),
    # A proposal id has up to 256 bits: text, in decimal.
    sa.Column("proposal_id", sa.Text, primary_key=True),
    # Timepoint of the DAO's clock after which the proposal is to be looked at; -1 before its first reading.
    sa.Column("due_after", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("retry_at_ms", sa.BigInteger, nullable=False),
    sa.Column("parked_reason", sa.Text),
    sa.Index("open_proposals_due", "chain_id", "dao", "due_after"),
    sqlite_with_rowid=False,
)
