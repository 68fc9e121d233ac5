"""In SQLite, open promises by deadline alone, and by id only where they are of a tree.

A new promise of a random id changes fewer pages so.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

PENDING = sa.text("state = 'pending'")
OPEN_MEMBER = sa.text("state = 'pending' AND (origin IS NOT NULL OR branch <> id)")


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    op.drop_index("promises_by_deadline", "promises")
    op.create_index("promises_by_timeout", "promises", ["timeout_at"], sqlite_where=PENDING)
    op.drop_index("promises_open", "promises")
    op.create_index("promises_open", "promises", ["id"], sqlite_where=OPEN_MEMBER)
