"""What must never be found in a store, as statements that find it.

Each statement is plain SQL for SQLite and PostgreSQL alike and gives the ids of what is wrong; only the
reading of a tag differs. The invariants are those of the architecture, cited by number. A promise past its
deadline that is still open is no fault: it is settled when somebody looks (P3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.domain import tags as tag
from orchestrator.domain.queueing import Place
from orchestrator.store.search import IMPLIED_COLUMNS, INDEXED_TAGS

EXAMPLES_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a database is asked: `tag` gives the expression that reads a tag from the column `p.tags`.

    `by_id` is the condition under which a promise is found by its id, although it names a branch.
    """

    tag: Callable[[str], str]
    by_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question whose right answer is: none. `sql` gives its statement in a dialect."""

    name: str
    invariant: str
    sql: Callable[[Dialect], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How many faults a check has found, and the ids of some."""

    check: str
    invariant: str
    faults: int
    examples: Sequence[str] = ()


def unsound(damage: Sequence[str]) -> Finding:
    """Return the finding about the file itself; `damage` is what SQLite says of it."""
    return Finding(check="the file is sound", invariant="", faults=len(damage), examples=tuple(damage))


def _sqlite_tag(name: str) -> str:
    return f"""json_extract(p.tags, '$."{name}"')"""


def _postgres_tag(name: str) -> str:
    return f"(p.tags::json ->> '{name}')"


SQLITE = Dialect(
    tag=_sqlite_tag,
    # A finished step of a root (see `sqlite_steps`): root:NUMBER
    by_id=f"""p.branch IS NULL AND p.settled_at IS NOT NULL
        AND {_sqlite_tag(tag.BRANCH)} = {_sqlite_tag(tag.ORIGIN)}
        AND substr(p.id, 1, length({_sqlite_tag(tag.BRANCH)}) + 1) = {_sqlite_tag(tag.BRANCH)} || ':'
        AND substr(p.id, length({_sqlite_tag(tag.BRANCH)}) + 2) NOT GLOB '*[^0-9]*'""",
)
POSTGRES = Dialect(tag=_postgres_tag, by_id="FALSE")


def count_of(sql: str) -> str:
    """Return the statement that counts what a check finds."""
    return f"SELECT count(*) FROM ({sql}) AS fault"  # noqa: S608  # our own text


def examples_of(sql: str) -> str:
    """Return the statement that names some of what a check finds."""
    return f"SELECT id FROM ({sql}) AS fault ORDER BY id LIMIT {EXAMPLES_MAX}"  # noqa: S608


def _plain(sql: str) -> Callable[[Dialect], str]:
    return lambda _: sql


def _untasked(dialect: Dialect) -> str:
    target = dialect.tag(tag.TARGET)
    return f"""SELECT p.id FROM promises p LEFT JOIN tasks t ON t.id = p.id
        WHERE coalesce(t.target, '') <> coalesce({target}, '')"""  # noqa: S608


def _misplaced(dialect: Dialect) -> str:
    read, branch = dialect.tag, dialect.tag(tag.BRANCH)
    excuses = {
        "branch": f"p.branch = p.id AND p.target IS NOT NULL AND {branch} IS NULL OR {dialect.by_id}",
        **{
            column: f"p.{column} IS NULL AND {read(name)} = coalesce(p.branch, {branch})"
            for name, column in INDEXED_TAGS.items()
            if column in IMPLIED_COLUMNS
        },
    }
    wrong = (
        f"coalesce(p.{column}, '') <> coalesce({read(name)}, '')"
        + (f" AND ({excuses[column]}) IS NOT TRUE" if column in excuses else "")
        for name, column in INDEXED_TAGS.items()
    )
    return f"SELECT p.id FROM promises p WHERE {' OR '.join(wrong)}"  # noqa: S608


def _uncounted(_: Dialect) -> str:
    addresses = " OR ".join(
        f"t.target = '{form}' || g.id OR substr(t.target, 1, length(g.id) + 12) = '{form}' || g.id || '/'"
        for form in ("poll://any@", "poll://uni@")
    )
    return f"""SELECT t.id FROM tasks t JOIN groups g ON t.target = g.id OR {addresses}
        LEFT JOIN queued q ON q.task_id = t.id AND q.place = {Place.ACQUIRED}
        WHERE t.state = 'acquired' AND {_LIMITED} AND q.task_id IS NULL"""  # noqa: S608


_LIMITED = "(g.paused OR g.concurrency IS NOT NULL OR g.rate IS NOT NULL)"
CHECKS = (
    Check(
        name="a promise is settled if and only if it says when",
        invariant="P1",
        sql=_plain("SELECT id FROM promises WHERE (state = 'pending') <> (settled_at IS NULL)"),
    ),
    Check(
        name="an open promise has no value but its progress",
        invariant="P1",
        sql=_plain(
            """SELECT id FROM promises WHERE state = 'pending'
            AND (value_headers IS NOT NULL OR value_data IS NOT NULL)
            AND coalesce(CAST(value_headers AS TEXT), '') NOT LIKE '%"progress":"true"%'"""
        ),
    ),
    Check(
        name="a promise has a task if and only if it has a target",
        invariant="P2",
        sql=_untasked,
    ),
    Check(name="a promise is found by its tags", invariant="P2", sql=_misplaced),
    Check(
        name="a task belongs to a promise",
        invariant="P2",
        sql=_plain("SELECT t.id FROM tasks t LEFT JOIN promises p ON p.id = t.id WHERE p.id IS NULL"),
    ),
    Check(
        name="an acquired task has a holder and a lease, no other has",
        invariant="T1",
        sql=_plain(
            """SELECT id FROM tasks WHERE (state = 'acquired') <> (pid IS NOT NULL)
            OR (state = 'acquired') <> (ttl_ms IS NOT NULL)"""
        ),
    ),
    Check(
        name="a task is fulfilled if and only if its promise is settled",
        invariant="T3",
        sql=_plain(
            """SELECT t.id FROM tasks t JOIN promises p ON p.id = t.id
            WHERE (t.state = 'fulfilled') <> (p.state <> 'pending')"""
        ),
    ),
    Check(
        name="a suspended task waits for an open promise",
        invariant="T4",
        sql=_plain(
            """SELECT t.id FROM tasks t WHERE t.state = 'suspended' AND NOT EXISTS (
                SELECT 1 FROM callbacks c JOIN promises p ON p.id = c.awaited
                WHERE c.awaiter = t.id AND p.state = 'pending')"""
        ),
    ),
    Check(
        name="a pending or acquired task has a timer, no other has",
        invariant="T5",
        sql=_plain("SELECT id FROM tasks WHERE (state IN ('pending', 'acquired')) <> (timer_at IS NOT NULL)"),
    ),
    Check(
        name="a callback waits for an open promise",
        invariant="T4",
        sql=_plain(
            """SELECT c.awaited AS id FROM callbacks c LEFT JOIN promises p ON p.id = c.awaited
            WHERE p.id IS NULL OR p.state <> 'pending'"""
        ),
    ),
    Check(
        name="a callback wakes a task that is not fulfilled",
        invariant="T3",
        sql=_plain(
            """SELECT c.awaiter AS id FROM callbacks c LEFT JOIN tasks t ON t.id = c.awaiter
            WHERE t.id IS NULL OR t.state = 'fulfilled'"""
        ),
    ),
    Check(
        name="a listener waits for an open promise",
        invariant="P1",
        sql=_plain(
            """SELECT l.promise_id AS id FROM listeners l LEFT JOIN promises p ON p.id = l.promise_id
            WHERE p.id IS NULL OR p.state <> 'pending'"""
        ),
    ),
    Check(
        name="an announcement in the outbox is of a pending task",
        invariant="T2",
        sql=_plain(
            """SELECT e.task_id AS id FROM outbox_executes e LEFT JOIN tasks t ON t.id = e.task_id
            WHERE t.id IS NULL OR t.state <> 'pending' OR t.version <> e.version"""
        ),
    ),
    Check(
        name="news in the outbox are of a settled promise",
        invariant="P1",
        sql=_plain(
            """SELECT u.promise_id AS id FROM outbox_unblocks u LEFT JOIN promises p ON p.id = u.promise_id
            WHERE p.id IS NULL OR p.state = 'pending'"""
        ),
    ),
    Check(
        name="a place in a group is of a pending or acquired task",
        invariant="T1",
        sql=_plain(
            f"""SELECT q.task_id AS id FROM queued q LEFT JOIN tasks t ON t.id = q.task_id
            WHERE t.id IS NULL OR t.state <>
            CASE WHEN q.place = {Place.ACQUIRED} THEN 'acquired' ELSE 'pending' END"""  # noqa: S608
        ),
    ),
    Check(
        name="a place is in a group that has limits",
        invariant="T5",
        sql=_plain(
            f"""SELECT q.task_id AS id FROM queued q LEFT JOIN groups g ON g.id = q.group_id
            WHERE g.id IS NULL OR NOT {_LIMITED}"""  # noqa: S608
        ),
    ),
    Check(name="an acquired task counts in its limited group", invariant="T1", sql=_uncounted),
    Check(
        name="a dead letter is of a halted task",
        invariant="T3",
        sql=_plain(
            """SELECT d.id FROM dead_letters d LEFT JOIN tasks t ON t.id = d.id
            WHERE t.id IS NULL OR t.state <> 'halted'"""
        ),
    ),
    Check(
        name="a group has a rate if and only if it has a period",
        invariant="",
        sql=_plain("SELECT id FROM groups WHERE (rate IS NULL) <> (period IS NULL)"),
    ),
)
"""Every check, those of promises first."""
