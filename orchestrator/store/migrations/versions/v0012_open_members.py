"""In PostgreSQL, too, an index by id of those open promises alone that are of a tree: see v0008."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

OPEN_MEMBER = sa.text("state = 'pending' AND (origin IS NOT NULL OR branch <> id)")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("promises_open", "promises")
        op.create_index("promises_open", "promises", ["id"], postgresql_where=OPEN_MEMBER)
