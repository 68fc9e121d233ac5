"""Limits of groups, the queues of those that have any, attempts and dead letters."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("tasks", sa.Column("attempts", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "groups",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("concurrency", sa.BigInteger),
        sa.Column("rate", sa.BigInteger),
        sa.Column("period", sa.BigInteger),
        sa.Column("attempts", sa.BigInteger),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("level", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("leveled_at", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_index("groups_by_revision", "groups", ["revision"])
    _queued()
    _dead_letters()


def _queued() -> None:
    op.create_table(
        "queued",
        sa.Column("task_id", TEXT, primary_key=True),
        sa.Column("group_id", TEXT, nullable=False),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("rank", sa.BigInteger, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("queued_by_turn", "queued", ["group_id", "place", "rank", "since", "task_id"])


def _dead_letters() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("group_id", TEXT, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("died_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("dead_letters_by_group", "dead_letters", ["group_id", "id"])
