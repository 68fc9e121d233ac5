"""In PostgreSQL, too, open promises by deadline alone: see v0008."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

PENDING = sa.text("state = 'pending'")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("promises_by_deadline", "promises")
        op.create_index("promises_by_timeout", "promises", ["timeout_at"], postgresql_where=PENDING)
