"""Many promises added to SQLite by one statement: the same as one by one. INSERT_SEED repeats a run."""

import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.domain.promise import EMPTY, PromiseRecord, PromiseState, Value
from orchestrator.domain.task import Task, TaskState
from orchestrator.store.port import Changes, Fence, Insert, InsertAll, Program, Store, Write, ask
from orchestrator.store.sqlite import SqliteStore
from orchestrator.store.sqlite_insert import prepared

NOW = 1_000
HELD = Task(
    id="",
    state=TaskState.ACQUIRED,
    version=1,
    target="poll://any@g",
    resumes=0,
    releases=0,
    pid="w",
    ttl_ms=10,
    embedded=False,
    timer_at=NOW + 10,
    cancelled=False,
    touched_at=NOW,
    attempts=0,
)
TASKS = {
    "held": HELD,
    "other": HELD,
    "released": replace(HELD, releases=1),
    "attempted": replace(HELD, attempts=2),
    "cancelled": replace(HELD, cancelled=True),
    "untouched": replace(HELD, touched_at=1),
    "forgetful": replace(HELD, left_behind=("held.7",)),
    "pending": replace(HELD, state=TaskState.PENDING, pid=None, ttl_ms=None),
}


def promise(key: str, *, timeout_at: int = 2 * NOW) -> PromiseRecord:
    return PromiseRecord(
        id=key,
        state=PromiseState.PENDING,
        param=EMPTY,
        value=EMPTY,
        tags={"resonate:origin": key, "resonate:branch": "held"},
        timeout_at=timeout_at,
        created_at=NOW,
    )


async def filled() -> SqliteStore:
    store = SqliteStore(None)
    await fill(store)
    return store


async def fill(store: Store) -> None:
    """Open a store and put tasks into it, of which two can add steps."""
    await store.open()
    late = {"expired": replace(HELD, id="expired")}
    changes = Changes(
        promises_created=[*map(promise, TASKS), promise("expired", timeout_at=NOW), promise("there")],
        tasks=[*(replace(task, id=key) for key, task in TASKS.items()), *late.values()],
    )
    await answer(store, Write(changes=changes))


async def answer(store: Store, query: Any) -> Any:
    def program(_: int) -> Program[Any]:
        return (yield from ask(query))

    return await store.run(program, NOW)


def inserts(
    chance: random.Random, count: int, faulty: float, make: Callable[[str], PromiseRecord] = promise
) -> list[Insert]:
    found = {}
    for number in range(count):
        wrong = chance.random() < faulty
        key = "there" if wrong and chance.random() < 0.3 else f"{chance.choice('abc')}-{number}"
        fence = None
        if chance.random() < 0.7:
            task = chance.choice([*TASKS, "expired", "absent"]) if wrong else chance.choice(["held", "other"])
            fence = Fence(task_id=task, version=chance.choice([0, 1, 2]) if wrong else 1, touch_ms=100)
        found[key] = Insert(
            made=lambda now_ms, key=key: make(key),  # type: ignore[misc]
            promise_id=key,
            timeout_at=2 * NOW,
            fence=fence,
        )
    return list(found.values())


def pending(key: str) -> PromiseRecord:
    """A promise of no tree, with what a caller may give it."""
    number = len(key) + ord(key[-1])
    headers, data = ({"a": "b"}, None) if number % 3 else (None, "x")
    tags = {"colour": "blue"} if number % 2 else {}
    return replace(promise(key), tags=tags, param=Value(headers=headers, data=data))


def settled(key: str) -> PromiseRecord:
    """Most of them settled, each at its own moment."""
    made, number = pending(key), ord(key[-1])
    if number % 5 == 0:
        return made
    state = PromiseState.RESOLVED if number % 2 else PromiseState.REJECTED
    return replace(made, state=state, value=Value(data=key), created_at=number, settled_at=NOW)


def of_a_tree(key: str) -> PromiseRecord:
    return promise(key) if ord(key[-1]) % 3 == 0 else settled(key)


def bare(key: str) -> PromiseRecord:
    return replace(pending(key), param=EMPTY)


def finished(key: str) -> PromiseRecord:
    return replace(settled(key), param=EMPTY)


WIDTHS: dict[Callable[[str], PromiseRecord], int]
WIDTHS = {bare: 4, pending: 6, finished: 7, settled: 9, of_a_tree: 15}
"""How many values of a row are given."""


def rows_of(store: SqliteStore) -> list[Any]:
    assert store._connection is not None
    return store._connection.execute("SELECT * FROM promises ORDER BY id").fetchall()


@pytest.mark.parametrize("count", [1, 2, 3, 31, 32, 33, 128, 129, 300])
@pytest.mark.parametrize("faulty", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("make", WIDTHS)
async def test_many_as_one_by_one(count: int, faulty: float, make: Callable[[str], PromiseRecord]) -> None:
    seed = int(os.environ.get("INSERT_SEED", random.randrange(2**32)))  # noqa: S311
    print("seed", seed, "(set INSERT_SEED to repeat)")  # noqa: T201
    wanted = inserts(random.Random(seed), count, faulty, make)  # noqa: S311
    together, singly = await filled(), await filled()
    answers = await answer(together, InsertAll(inserts=lambda: wanted))
    assert answers == [await answer(singly, each) for each in wanted]
    assert faulty or None not in answers
    assert rows_of(together) == rows_of(singly)
    again = await answer(together, InsertAll(inserts=lambda: wanted))
    assert again == [None] * len(wanted)
    await together.close()
    await singly.close()


@pytest.mark.parametrize("make", WIDTHS)
def test_no_more_of_a_row_is_given_than_differs(make: Callable[[str], PromiseRecord]) -> None:
    wanted = [replace(each, fence=None) for each in inserts(random.Random(1), 32, 0.0, make)]  # noqa: S311
    ((_, values, ids),) = prepared(wanted, NOW).statements
    assert (len(ids), len(values)) == (32, 32 * WIDTHS[make])
