"""The first schema: promises, tasks, callbacks, listeners, outboxes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PENDING = sa.text("state = 'pending'")
TIMED = sa.text("timer_at IS NOT NULL")
OPEN = sa.text("state <> 'fulfilled'")
HELD = sa.text("pid IS NOT NULL")


def upgrade() -> None:
    _promises()
    _tasks()
    _waiters()
    _outboxes()


def _promises() -> None:
    op.create_table(
        "promises",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("param_headers", sa.Text),
        sa.Column("param_data", sa.Text),
        sa.Column("value_headers", sa.Text),
        sa.Column("value_data", sa.Text),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("origin", sa.Text),
        sa.Column("branch", sa.Text),
        sa.Column("parent", sa.Text),
        sa.Column("timeout_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("settled_at", sa.BigInteger),
    )
    _partial("promises_by_deadline", "promises", ["timeout_at", "id"], PENDING)
    for name in ("origin", "branch", "parent"):
        _partial(f"promises_by_{name}", "promises", [name, "id"], sa.text(f"{name} IS NOT NULL"))


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("resumes", sa.BigInteger, nullable=False),
        sa.Column("releases", sa.BigInteger, nullable=False),
        sa.Column("pid", sa.Text),
        sa.Column("ttl_ms", sa.BigInteger),
        sa.Column("embedded", sa.Boolean, nullable=False),
        sa.Column("timer_at", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    _partial("tasks_by_timer", "tasks", ["timer_at", "id"], TIMED)
    _partial("tasks_by_state", "tasks", ["state", "id"], OPEN)
    _partial("tasks_by_pid", "tasks", ["pid", "id"], HELD)


def _waiters() -> None:
    op.create_table(
        "callbacks",
        sa.Column("awaited", sa.Text, primary_key=True),
        sa.Column("awaiter", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("callbacks_by_awaiter", "callbacks", ["awaiter"])
    op.create_table(
        "listeners",
        sa.Column("promise_id", sa.Text, primary_key=True),
        sa.Column("address", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )


def _outboxes() -> None:
    op.create_table(
        "outbox_executes",
        sa.Column("task_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("poll_group", sa.Text),
        sa.Column("queued_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("outbox_executes_by_group", "outbox_executes", ["poll_group", "task_id"])
    op.create_table(
        "outbox_unblocks",
        sa.Column("promise_id", sa.Text, primary_key=True),
        sa.Column("address", sa.Text, primary_key=True),
        sa.Column("poll_group", sa.Text),
        sa.Column("queued_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("outbox_unblocks_by_group", "outbox_unblocks", ["poll_group", "promise_id", "address"])
    op.create_index("outbox_unblocks_by_age", "outbox_unblocks", ["queued_at"])


def _partial(name: str, table: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
