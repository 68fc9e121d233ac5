"""In PostgreSQL, a function that takes locks and tells whether what was read before still holds.

A statement that calls it may write at once (see `postgres_optimistic`). The function's own statements see
what was committed before each of them: all that others wrote until the locks were held, which the statement
that calls it may not see.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_UNCHANGED = """
    CREATE FUNCTION dao_scorer_unchanged(
        whole bigint, keys bigint[], until bigint, told bigint,
        seen text[], promise_marks xid[], task_marks xid[],
        settling text[], callbacks_seen text[], listeners_seen text[]
    ) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
    DECLARE
        key bigint;
    BEGIN
        IF pg_advisory_xact_lock_shared(whole) IS NULL THEN
            RETURN NULL;
        END IF;
        FOREACH key IN ARRAY keys LOOP
            IF pg_advisory_xact_lock(key) IS NULL THEN
                RETURN NULL;
            END IF;
        END LOOP;
        IF until <= floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint THEN
            RETURN false;
        END IF;
        IF told <> coalesce((SELECT g.revision FROM groups g ORDER BY g.revision DESC LIMIT 1), 0) OR EXISTS (
            SELECT FROM unnest(seen, promise_marks, task_marks) AS s (id, promise, task)
            LEFT JOIN promises p ON p.id = s.id LEFT JOIN tasks t ON t.id = s.id
            WHERE p.xmin IS DISTINCT FROM s.promise OR t.xmin IS DISTINCT FROM s.task
        ) THEN
            RETURN false;
        END IF;
        RETURN cardinality(settling) = 0 OR (
            ARRAY(
                SELECT ARRAY[c.awaited, c.awaiter] FROM callbacks c WHERE c.awaited = ANY(settling)
                ORDER BY c.awaited, c.awaiter
            ) = callbacks_seen
            AND ARRAY(
                SELECT ARRAY[l.promise_id, l.address] FROM listeners l WHERE l.promise_id = ANY(settling)
                ORDER BY l.promise_id, l.address
            ) = listeners_seen
        );
    END $$
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(sa.text(_UNCHANGED))
