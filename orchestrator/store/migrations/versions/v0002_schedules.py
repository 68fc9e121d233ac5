"""Schedules."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
RUNNING = sa.text("NOT paused")


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("cron", TEXT, nullable=False),
        sa.Column("promise_id", TEXT, nullable=False),
        sa.Column("promise_timeout", sa.BigInteger, nullable=False),
        sa.Column("param_headers", TEXT),
        sa.Column("param_data", TEXT),
        sa.Column("tags", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("next_run_at", sa.BigInteger, nullable=False),
        sa.Column("last_run_at", sa.BigInteger),
        sa.Column("time_zone", TEXT, nullable=False),
        sa.Column("catch_up", TEXT, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
    )
    op.create_index(
        "schedules_by_next_run",
        "schedules",
        ["next_run_at", "id"],
        sqlite_where=RUNNING,
        postgresql_where=RUNNING,
    )
