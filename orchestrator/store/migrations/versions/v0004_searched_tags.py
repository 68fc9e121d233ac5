"""Promises by their target and by their schedule."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
OF_SCHEDULE = {
    "sqlite": """json_extract(tags, '$."resonate:schedule"')""",
    "postgresql": "tags::json ->> 'resonate:schedule'",
}


def upgrade() -> None:
    op.add_column("promises", sa.Column("schedule", TEXT))
    op.add_column("promises", sa.Column("target", TEXT))
    schedule = OF_SCHEDULE[op.get_bind().dialect.name]
    op.execute(f"UPDATE promises SET schedule = {schedule} WHERE tags LIKE '%resonate:schedule%'")  # noqa: S608
    # A promise has a task if it has a target, and its task knows it.
    op.execute("UPDATE promises SET target = (SELECT target FROM tasks WHERE tasks.id = promises.id)")
    for name in ("schedule", "target"):
        present = sa.text(f"{name} IS NOT NULL")
        op.create_index(
            f"promises_by_{name}", "promises", [name, "id"], sqlite_where=present, postgresql_where=present
        )
