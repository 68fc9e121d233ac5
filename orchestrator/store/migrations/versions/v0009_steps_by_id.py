"""In SQLite, finished steps of a root without an entry in the index of branches; roots always have one.

Steps that are there keep theirs. A program that does not know of the rule would overlook the steps that are
written from here on.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute(sa.text("UPDATE promises SET branch = id WHERE target IS NOT NULL AND branch IS NULL"))
