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
from orchestrator.store import Store
from orchestrator.store.port import Changes, LoadPreloads, Program, SearchPromises, Write, ask
from orchestrator.store.sqlite import SqliteStore
from orchestrator.store.trees import LoadTrees
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
        PromiseRecord(
            id=key,
            state=PromiseState.PENDING,
            param=EMPTY,
            value=EMPTY,
            tags={name: chance.choice((key, *ROOTS)) for name in NAMES if chance.random() < 0.9},
            timeout_at=9,
            created_at=1,
        )
        for key in ids
    ]


def _written(promises: Sequence[PromiseRecord]) -> Program[None]:
    yield from ask(Write(changes=Changes(promises_created=list(promises))))


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


@pytest.mark.parametrize("_", range(3))
async def test_lineage(store: Store, chance: random.Random, _: int) -> None:
    promises = promises_of(chance)
    await store.run(lambda _: _written(promises), 0)
    await _agrees(store, promises, chance)


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
