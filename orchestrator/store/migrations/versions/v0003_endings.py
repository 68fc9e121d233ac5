"""Cancelled tasks, when a holder last wrote, and trees that are being ended."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
PENDING = sa.text("state = 'pending'")


def upgrade() -> None:
    op.add_column("tasks", sa.Column("cancelled", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("tasks", sa.Column("touched_at", sa.BigInteger))
    op.execute("UPDATE tasks SET touched_at = timer_at - ttl_ms WHERE state = 'acquired'")
    op.create_index("promises_open", "promises", ["id"], sqlite_where=PENDING, postgresql_where=PENDING)
    op.create_table(
        "tree_endings",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("after_id", TEXT, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("tree_endings_by_age", "tree_endings", ["asked_at", "id"])
