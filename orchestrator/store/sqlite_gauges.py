"""What SQLite is asked for the gauges: counts of what is open, each read from an index of nothing else."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from orchestrator.domain import tags as tag
from orchestrator.store.schema import outbox_executes, outbox_unblocks, promises, tasks
from orchestrator.store.sqlite_text import ZERO as _ZERO
from orchestrator.store.sqlite_text import given, text

COUNT_TASKS = text(
    sa.select(tasks.c.state, tasks.c.target, sa.func.count())
    .where(sa.text("state <> 'fulfilled'"))
    .group_by(tasks.c.state, tasks.c.target)
)


def _tag(name: str) -> sa.ColumnElement[Any]:
    return sa.func.json_extract(promises.c.tags, sa.literal_column(f"""'$."{name}"'"""))


_due_since = sa.func.coalesce(sa.cast(_tag(tag.DELAY), sa.BigInteger), promises.c.created_at)
LOAD_WAITING = text(
    sa.select(tasks.c.target, sa.func.min(_due_since))
    .select_from(tasks.join(promises, promises.c.id == tasks.c.id))
    .where(
        tasks.c.state == sa.literal_column("'pending'"),
        sa.text("tasks.state <> 'fulfilled'"),
        tasks.c.version == _ZERO,
        _tag(tag.TIMER).is_(None),
        _due_since <= given("now"),
    )
    .group_by(tasks.c.target),
    "now",
)
"""Since when tasks are due that nobody has ever taken, by target."""
COUNT_PENDING = text(sa.select(sa.func.count()).select_from(promises).where(sa.text("state = 'pending'")))
COUNT_EXECUTES = text(sa.select(sa.func.count()).select_from(outbox_executes))
COUNT_UNBLOCKS = text(sa.select(sa.func.count()).select_from(outbox_unblocks))
