"""What is found by origin, branch and parent, whichever of them are equal: searches, preloads, trees.

LINEAGE_SEED repeats a run.
"""

import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from orchestrator.domain import tags as tag
from orchestrator.domain.promise import EMPTY, PromiseRecord, PromiseState
from orchestrator.domain.task import Task, TaskState
from orchestrator.store import Store
from orchestrator.store.maintenance_checks import CHECKS, SQLITE
from orchestrator.store.port import (
    Changes,
    Fence,
    Insert,
    InsertAll,
    LoadPreloads,
    Program,
    SearchPromises,
    Write,
    ask,
)
from orchestrator.store.sqlite import SqliteStore
from orchestrator.store.sqlite_steps import numbered
from orchestrator.store.trees import LoadOpenBetween, LoadTrees
from tests.engine_world import STORES, store_on_the_tests_clock, store_url

NAMES = (tag.ORIGIN, tag.BRANCH, tag.PARENT)
ROOTS = ("a", "a:1", "a:2", "b", "b.1", "c")
FILL = "UPDATE promises SET origin = coalesce(origin, {origin}), parent = coalesce(parent, {parent})"


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    opened = store_on_the_tests_clock(store_url(request))
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("LINEAGE_SEED", random.randrange(2**32)))  # noqa: S311
    print("seed", seed, "(set LINEAGE_SEED to repeat)")  # noqa: T201
    return random.Random(seed)  # noqa: S311


def promises_of(chance: random.Random) -> list[PromiseRecord]:
    ids = sorted({f"{chance.choice(ROOTS)}:{chance.randrange(40)}" for _ in range(60)} | set(ROOTS))
    return [
        _promise(key, {name: chance.choice((key, *ROOTS)) for name in NAMES if chance.random() < 0.9})
        for key in ids
    ]


def _written(promises: Sequence[PromiseRecord]) -> Program[None]:
    yield from ask(Write(changes=Changes(promises_created=list(promises))))


def task_tree_of(chance: random.Random) -> tuple[list[PromiseRecord], list[PromiseRecord]]:
    """Return promises that stand for tasks, or were made by hand; and steps that holders of tasks add."""
    named: dict[str, PromiseRecord] = {}
    for root in ROOTS:
        target = {tag.TARGET: "poll://any@workers"} if root == "a" or chance.random() < 0.8 else {}
        own = dict.fromkeys(NAMES, root) if chance.random() < 0.7 else {}
        named[root] = _promise(root, own | target)
    plain = [_promise(f"a:{number}", dict.fromkeys(NAMES, "a"), settled=True) for number in (9, 10, 20)]
    steps = {step.id: step for step in plain}
    for _ in range(120):
        root = chance.choice(ROOTS)
        key = f"{root}{chance.choice(':.')}{chance.randrange(15)}"
        if chance.random() < 0.4:
            key = f"{key}{chance.choice(':.')}{chance.randrange(4)}"
        if key in named or key in steps:
            continue
        tags = {name: root for name in NAMES if chance.random() < 0.95}
        if chance.random() < 0.2:
            tags[chance.choice(NAMES)] = chance.choice((key, *ROOTS))
        steps[key] = _promise(key, tags, settled=chance.random() < 0.8)
    made = {key for key, step in steps.items() if step not in plain and chance.random() < 0.2}
    return (
        [*named.values(), *(steps[key] for key in made)],
        [step for key, step in steps.items() if key not in made],
    )


def _promise(key: str, tags: dict[str, str], *, settled: bool = False) -> PromiseRecord:
    return PromiseRecord(
        id=key,
        state=PromiseState.RESOLVED if settled else PromiseState.PENDING,
        param=EMPTY,
        value=EMPTY,
        tags=tags,
        timeout_at=9,
        created_at=1,
        settled_at=1 if settled else None,
    )


def _task(promise: PromiseRecord) -> Task:
    return Task(
        id=promise.id,
        state=TaskState.ACQUIRED,
        version=1,
        target=promise.tags[tag.TARGET],
        pid="p",
        ttl_ms=9,
        timer_at=9,
        touched_at=1,
    )


def _held(roots: Sequence[PromiseRecord]) -> Program[None]:
    tasks = [_task(root) for root in roots if tag.TARGET in root.tags]
    yield from ask(Write(changes=Changes(promises_created=list(roots), tasks=tasks)))


def _added(steps: Sequence[PromiseRecord]) -> Program[None]:
    """Add steps as the holders of the tasks do whose ids they extend; by hand where the store would not."""
    inserts = [
        Insert(
            made=lambda _, step=step: step,  # type: ignore[misc]
            promise_id=step.id,
            timeout_at=step.timeout_at,
            fence=Fence(task_id=step.tags.get(tag.BRANCH, step.id), version=1, touch_ms=10),
        )
        for step in steps
    ]
    added = yield from ask(InsertAll(inserts=lambda: inserts))
    answers = [None] * len(steps) if added is None else added
    left = [step for step, answer in zip(steps, answers, strict=True) if answer is None]
    yield from ask(Write(changes=Changes(promises_created=left)))


async def _answer(store: Store, query: Any) -> Any:
    def program(_: int) -> Program[Any]:
        return (yield from ask(query))

    return await store.run(program, 0)


async def _searched(store: Store, tags: dict[str, str], limit: int) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        query = SearchPromises(state=None, tags=tags, limit=limit, cursor=cursor, scan_max=limit + 1)
        page = await _answer(store, query)
        found += [promise.id for promise in page.items]
        if (cursor := page.cursor) is None:
            return found


async def _walked(store: Store, limit: int) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    after: tuple[str, str] | None = ("", "")
    while after is not None:
        page = await _answer(store, LoadTrees(after=after, limit=limit))
        members = [(member.origin, member.id) for member in page.members]
        assert members == sorted(members)
        assert all(after < each and (page.after is None or each <= page.after) for each in members)
        found, after = found + members, page.after
    return found


async def _agrees(store: Store, promises: Sequence[PromiseRecord], chance: random.Random) -> None:
    def ids(wanted: Callable[[PromiseRecord], bool]) -> list[str]:
        return [promise.id for promise in promises if wanted(promise)]

    for name in NAMES:
        for value in ROOTS:
            wanted = ids(lambda promise, name=name, value=value: promise.tags.get(name) == value)  # type: ignore[misc]
            assert await _searched(store, {name: value}, chance.randint(1, 8)) == wanted, (name, value)
    for key in ROOTS:
        for branch in ROOTS:
            related = ids(
                lambda promise, key=key, branch=branch: (  # type: ignore[misc]
                    promise.id != key
                    and (promise.tags.get(tag.BRANCH) == branch or promise.tags.get(tag.PARENT) == key)
                )
            )
            limit = chance.randint(1, 100)
            found = await _answer(store, LoadPreloads(keys=[(key, branch)], limit=limit))
            assert [promise.id for promise in found[key]] == related[:limit], (key, branch)
    trees = sorted((each.tags[tag.ORIGIN], each.id) for each in promises if tag.ORIGIN in each.tags)
    for limit in (1, 2, 7, 1_000):
        assert await _walked(store, limit) == trees, limit
    inside = ids(lambda promise: promise.pending and promise.tags.get(tag.ORIGIN, promise.id) != promise.id)
    found = await _answer(store, LoadOpenBetween(after="", before="d", limit=len(promises)))
    assert set(inside) <= set(found) <= set(ids(lambda _: True))
    assert found == sorted(found)


@pytest.mark.parametrize("_", range(3))
async def test_lineage(store: Store, chance: random.Random, _: int) -> None:
    promises = promises_of(chance)
    await store.run(lambda _: _written(promises), 0)
    await _agrees(store, promises, chance)


@pytest.mark.parametrize("_", range(3))
async def test_lineage_of_steps(store: Store, chance: random.Random, _: int) -> None:
    """Most steps of a root stand in no index of SQLite."""
    roots, steps = task_tree_of(chance)
    await store.run(lambda _: _held(roots), 1)
    await store.run(lambda _: _added(steps), 1)
    if isinstance(store, SqliteStore):
        assert store._connection is not None
        by_id = "SELECT count(*) FROM promises WHERE branch IS NULL AND tags LIKE '%branch%'"
        assert store._connection.execute(by_id).fetchone()[0] >= 3
        wrong = next(each for each in CHECKS if each.name == "a promise is found by its tags")
        assert store._connection.execute(wrong.sql(SQLITE)).fetchall() == []
    await _agrees(store, sorted([*roots, *steps], key=lambda promise: promise.id), chance)


async def test_lineage_in_a_file_of_before(chance: random.Random) -> None:
    """Rows in which origin and parent are filled although the branch says the same."""
    store = SqliteStore(None)
    await store.open()
    assert store._connection is not None
    promises = promises_of(chance)
    await store.run(lambda _: _written(promises), 0)
    read = {name: f"""json_extract(tags, '$."resonate:{name}"')""" for name in ("origin", "parent")}
    empty = f"SELECT count(*) FROM promises WHERE origin IS NULL AND {read['origin']} IS NOT NULL"  # noqa: S608
    assert store._connection.execute(empty).fetchone()[0] > 0
    store._connection.execute(FILL.format(**read) + " WHERE id < 'b'")
    await _agrees(store, promises, chance)
    store._connection.execute(FILL.format(**read))
    assert store._connection.execute(empty).fetchone()[0] == 0
    await _agrees(store, promises, chance)
    await store.close()


async def test_steps_are_found_without_what_lies_below_them() -> None:
    """A workflow of 300 local children of 30 steps each: its own 600 calls are read, not 9,000 more."""
    store = SqliteStore(None)
    await store.open()
    connection = store._connection
    assert connection is not None
    tags = dict.fromkeys(NAMES, "w")
    await store.run(lambda _: _held([_promise("w", tags | {tag.TARGET: "poll://any@workers"})]), 1)
    calls = [_promise(f"w:{number}", tags, settled=True) for number in range(600)]
    await store.run(lambda _: _added(calls), 1)

    def read() -> tuple[list[str], int]:
        turns = 0

        def count() -> None:
            nonlocal turns
            turns += 1

        connection.set_progress_handler(count, 100)
        found = [row[0] for row in numbered(connection, "w")]
        connection.set_progress_handler(None, 0)
        return found, turns

    expected, alone = read()
    assert expected == sorted(call.id for call in calls)
    below = [
        _promise(f"w:{number}.{step}", tags | {tag.PARENT: f"w:{number}"}, settled=True)
        for number in range(0, 600, 2)
        for step in range(30)
    ]
    await store.run(lambda _: _written(below), 1)
    found, among = read()
    assert found == expected
    assert among < 4 * alone
    assert [row[0] for row in numbered(connection, "w", "w:99")] == []
    assert [row[0] for row in numbered(connection, "w", "w:97")] == ["w:98", "w:99"]
    await store.close()
