"""A promise's origin and parent stand in their columns only where its branch is another.

Rows that are there keep theirs, which mean the same; but a program that does not know of the rule would not
find what is written from here on.
"""

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass
