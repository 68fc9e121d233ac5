"""The first schema: promises, tasks, callbacks, listeners, outboxes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
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
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("param_headers", TEXT),
        sa.Column("param_data", TEXT),
        sa.Column("value_headers", TEXT),
        sa.Column("value_data", TEXT),
        sa.Column("tags", TEXT, nullable=False),
        sa.Column("origin", TEXT),
        sa.Column("branch", TEXT),
        sa.Column("parent", TEXT),
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
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("target", TEXT, nullable=False),
        sa.Column("resumes", sa.BigInteger, nullable=False),
        sa.Column("releases", sa.BigInteger, nullable=False),
        sa.Column("pid", TEXT),
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
        sa.Column("awaited", TEXT, primary_key=True),
        sa.Column("awaiter", TEXT, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("callbacks_by_awaiter", "callbacks", ["awaiter"])
    op.create_table(
        "listeners",
        sa.Column("promise_id", TEXT, primary_key=True),
        sa.Column("address", TEXT, primary_key=True),
        sqlite_with_rowid=False,
    )


def _outboxes() -> None:
    op.create_table(
        "outbox_executes",
        sa.Column("task_id", TEXT, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("address", TEXT, nullable=False),
        sa.Column("poll_group", TEXT),
        sa.Column("queued_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("outbox_executes_by_group", "outbox_executes", ["poll_group", "task_id"])
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("outbox_executes_by_age", "outbox_executes", ["queued_at"])
    op.create_table(
        "outbox_unblocks",
        sa.Column("promise_id", TEXT, primary_key=True),
        sa.Column("address", TEXT, primary_key=True),
        sa.Column("poll_group", TEXT),
        sa.Column("queued_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("outbox_unblocks_by_group", "outbox_unblocks", ["poll_group", "promise_id", "address"])
    op.create_index("outbox_unblocks_by_age", "outbox_unblocks", ["queued_at"])


def _partial(name: str, table: str, columns: list[str], where: sa.TextClause) -> None:
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
