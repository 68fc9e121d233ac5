"""In PostgreSQL, a function that tells whether promises have no children.

Called behind `dao_scorer_unchanged`, which holds the locks: its query sees what was committed until then.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_CHILDLESS = """
    CREATE FUNCTION dao_scorer_childless(ids text[]) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
    BEGIN
        RETURN NOT EXISTS (
            SELECT FROM promises k WHERE k.id = ANY(ids) AND (
                EXISTS (SELECT FROM promises b WHERE b.branch = coalesce(k.branch, k.id) AND b.id <> k.id)
                OR EXISTS (SELECT FROM promises b WHERE b.branch = k.id AND b.id <> k.id)
                OR EXISTS (SELECT FROM promises c WHERE c.parent = k.id AND c.id <> k.id)
            )
        );
    END $$
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(sa.text(_CHILDLESS))
