"""The SQLite store's statements about groups, their queues and dead letters.

Lists travel as one JSON array, as in `statements`; each is answered by an index.
"""

from __future__ import annotations

from orchestrator.store.group_rows import DEAD_COLUMNS, GROUP_COLUMNS, QUEUED_COLUMNS

_GROUP = ", ".join(GROUP_COLUMNS)
_QUEUED = ", ".join(QUEUED_COLUMNS)
_DEAD = ", ".join(DEAD_COLUMNS)
_EACH = "(SELECT value FROM json_each(?))"
_TURN = "ORDER BY rank, since, task_id"

# ruff: noqa: S608  # our own names
LOAD_LIMITS = f"SELECT {_GROUP} FROM groups WHERE id > '' ORDER BY id"
LOAD_GROUPS_BY_ID = f"SELECT {_GROUP} FROM groups WHERE id IN {_EACH}"
LOAD_USAGES = f"""
    SELECT id, level, leveled_at,
    (SELECT count(*) FROM queued WHERE group_id = groups.id AND place = 3)
    FROM groups WHERE id IN {_EACH}
"""
LOAD_TOLD = f"SELECT {_QUEUED} FROM queued WHERE group_id = ? AND place = 1 {_TURN}"
LOAD_NEXT = f"SELECT {_QUEUED} FROM queued WHERE group_id = ? AND place = ? {_TURN} LIMIT ?"
LOAD_PLACES = f"SELECT {_QUEUED} FROM queued WHERE task_id IN {_EACH}"
COUNT_PLACES = (
    f"SELECT group_id, place, count(*) FROM queued WHERE group_id IN {_EACH} GROUP BY group_id, place"
)
SEARCH_GROUPS = f"SELECT {_GROUP} FROM groups WHERE id > ? ORDER BY id LIMIT ?"
SEARCH_DEAD = f"SELECT {_DEAD} FROM dead_letters WHERE id > ? ORDER BY id LIMIT ?"
SEARCH_GROUP_DEAD = f"SELECT {_DEAD} FROM dead_letters WHERE group_id = ? AND id > ? ORDER BY id LIMIT ?"
COUNT_ALL_PLACES = "SELECT group_id, place, count(*) FROM queued GROUP BY group_id, place"
COUNT_DEAD = "SELECT group_id, count(*) FROM dead_letters GROUP BY group_id"

PUT_GROUP = f"""
    INSERT INTO groups ({_GROUP}, revision)
    VALUES (?, ?, ?, ?, ?, ?, (SELECT coalesce(max(revision), 0) + 1 FROM groups))
    ON CONFLICT (id) DO UPDATE SET concurrency = excluded.concurrency, rate = excluded.rate,
    period = excluded.period, attempts = excluded.attempts, paused = excluded.paused,
    revision = excluded.revision
"""
PUT_USAGE = "UPDATE groups SET level = ?, leveled_at = ? WHERE id = ?"
REMOVE_QUEUE = "DELETE FROM queued WHERE group_id = ?"
REMOVE_ANNOUNCEMENTS = """
    DELETE FROM outbox_executes WHERE task_id IN
    (SELECT task_id FROM queued WHERE group_id = ? AND place IN (1, 2))
"""
WITHDRAW_QUEUE = "UPDATE queued SET place = 0 WHERE group_id = ? AND place IN (1, 2)"
REMOVE_QUEUED = "DELETE FROM queued WHERE task_id = ?"
PUT_QUEUED = f"""
    INSERT INTO queued ({_QUEUED}) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (task_id) DO UPDATE SET group_id = excluded.group_id, place = excluded.place,
    rank = excluded.rank, since = excluded.since
"""
REMOVE_DEAD = "DELETE FROM dead_letters WHERE id = ?"
PUT_DEAD = f"INSERT OR REPLACE INTO dead_letters ({_DEAD}) VALUES (?, ?, ?, ?, ?, ?)"
