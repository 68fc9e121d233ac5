"""The tables of the SQL stores, and the revision of their schema.

Invariants: what the hot path asks for by key has an index that answers it; no operation scans. The partial
indexes hold only what is open, so that a million settled promises cost nothing at a tick. A change here
needs a revision in `migrations/versions`; a test compares both.
"""

from __future__ import annotations

import sqlalchemy as sa

HEAD = "0013"
"""The newest revision in `migrations/versions`."""

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text that compares by code point everywhere."""

metadata = sa.MetaData()

promises = sa.Table(
    "promises",
    metadata,
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
    sa.Column("schedule", TEXT),
    sa.Column("target", TEXT),
)
_pending = sa.text("state = 'pending'")
# Not by id as well: new ones of one deadline, as all that have none, lie together on the last page.
sa.Index("promises_by_timeout", promises.c.timeout_at, sqlite_where=_pending, postgresql_where=_pending)
OPEN_MEMBER = sa.text("state = 'pending' AND (origin IS NOT NULL OR branch <> id)")
"""Holds for every open promise that names an origin other than itself (see `rows`)."""
# Not by origin: the ids of a tree lie side by side, whatever made them.
sa.Index("promises_open", promises.c.id, sqlite_where=OPEN_MEMBER, postgresql_where=OPEN_MEMBER)
for _name in ("origin", "branch", "parent", "schedule", "target"):
    _present = sa.text(f"{_name} IS NOT NULL")
    sa.Index(
        f"promises_by_{_name}",
        promises.c[_name],
        promises.c.id,
        sqlite_where=_present,
        postgresql_where=_present,
    )

tasks = sa.Table(
    "tasks",
    metadata,
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
    sa.Column("cancelled", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("touched_at", sa.BigInteger),
    sa.Column("attempts", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("left_behind", TEXT),
    sqlite_with_rowid=False,
)
_timed = sa.text("timer_at IS NOT NULL")
_open = sa.text("state <> 'fulfilled'")
_held = sa.text("pid IS NOT NULL")
sa.Index("tasks_by_timer", tasks.c.timer_at, tasks.c.id, sqlite_where=_timed, postgresql_where=_timed)
sa.Index("tasks_by_state", tasks.c.state, tasks.c.id, sqlite_where=_open, postgresql_where=_open)
sa.Index("tasks_by_pid", tasks.c.pid, tasks.c.id, sqlite_where=_held, postgresql_where=_held)

tree_endings = sa.Table(
    "tree_endings",
    metadata,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("asked_at", sa.BigInteger, nullable=False),
    sa.Column("after_id", TEXT, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("tree_endings_by_age", tree_endings.c.asked_at, tree_endings.c.id)

callbacks = sa.Table(
    "callbacks",
    metadata,
    sa.Column("awaited", TEXT, primary_key=True),
    sa.Column("awaiter", TEXT, primary_key=True),
    sqlite_with_rowid=False,
)
sa.Index("callbacks_by_awaiter", callbacks.c.awaiter)

listeners = sa.Table(
    "listeners",
    metadata,
    sa.Column("promise_id", TEXT, primary_key=True),
    sa.Column("address", TEXT, primary_key=True),
    sqlite_with_rowid=False,
)

outbox_executes = sa.Table(
    "outbox_executes",
    metadata,
    sa.Column("task_id", TEXT, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("address", TEXT, nullable=False),
    sa.Column("poll_group", TEXT),
    sa.Column("queued_at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("outbox_executes_by_group", outbox_executes.c.poll_group, outbox_executes.c.task_id)
# Only where several servers look after one another's messages.
sa.Index("outbox_executes_by_age", outbox_executes.c.queued_at).ddl_if(dialect="postgresql")

outbox_unblocks = sa.Table(
    "outbox_unblocks",
    metadata,
    sa.Column("promise_id", TEXT, primary_key=True),
    sa.Column("address", TEXT, primary_key=True),
    sa.Column("poll_group", TEXT),
    sa.Column("queued_at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index(
    "outbox_unblocks_by_group",
    outbox_unblocks.c.poll_group,
    outbox_unblocks.c.promise_id,
    outbox_unblocks.c.address,
)
sa.Index("outbox_unblocks_by_age", outbox_unblocks.c.queued_at)

schedules = sa.Table(
    "schedules",
    metadata,
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
_running = sa.text("NOT paused")
sa.Index(
    "schedules_by_next_run",
    schedules.c.next_run_at,
    schedules.c.id,
    sqlite_where=_running,
    postgresql_where=_running,
)

groups = sa.Table(
    "groups",
    metadata,
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
"""Rows are never removed: the greatest revision tells servers whether what they remember still holds."""
sa.Index("groups_by_revision", groups.c.revision)

queued = sa.Table(
    "queued",
    metadata,
    sa.Column("task_id", TEXT, primary_key=True),
    sa.Column("group_id", TEXT, nullable=False),
    sa.Column("place", sa.BigInteger, nullable=False),
    sa.Column("rank", sa.BigInteger, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("queued_by_turn", queued.c.group_id, queued.c.place, queued.c.rank, queued.c.since, queued.c.task_id)

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("id", TEXT, primary_key=True),
    sa.Column("group_id", TEXT, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("reason", TEXT, nullable=False),
    sa.Column("died_at", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("dead_letters_by_group", dead_letters.c.group_id, dead_letters.c.id)
