"""Nonces claimed by many at once: each has one, none is left out, and a failure in between costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from contracts.transactions.nonces import Claim, Limits, NonceBook, nonce_promise_id
from contracts.transactions.values import Wait
from orchestrator import Orchestrator, PromiseRecord, Unavailable

CHAIN_ID, SENDER = 1, "0x" + "11" * 20
ROOM = Limits(border=1_000)


@pytest.fixture
async def app() -> AsyncIterator[Orchestrator]:
    async with Orchestrator.local(":memory:") as made:
        yield made


def claim(name: object) -> Claim:
    return Claim(chain_id=CHAIN_ID, address=SENDER, logical_id=f"tx-{name}", workflow_id=f"send-{name}")


async def owners(app: Orchestrator) -> dict[int, str]:
    page = await app.promises.search(limit=1000)
    prefix = nonce_promise_id(CHAIN_ID, SENDER, 0)[:-1]
    found = {each.id.removeprefix(prefix): each for each in page.promises if each.id.startswith(prefix)}
    return {int(n): (each.param.headers or {})["logical-transaction"] for n, each in sorted(found.items())}


async def test_hundreds_at_once_have_one_each_without_a_gap(app: Orchestrator) -> None:
    books = [NonceBook(app), NonceBook(app)]
    numbers = range(300)
    taken = await asyncio.gather(
        *(books[each % 2].reserve(claim(each), first=7, limits=ROOM) for each in numbers)
    )
    assert sorted(int(each) for each in taken) == list(range(7, 307))
    again = await asyncio.gather(*(books[0].reserve(claim(each), first=7, limits=ROOM) for each in numbers))
    assert again == taken
    fresh = NonceBook(app)
    assert [await fresh.reserve(claim(each), first=7, limits=ROOM) for each in (250, 3)] == [
        taken[250],
        taken[3],
    ]
    assert len(await owners(app)) == 300


async def test_the_limits_hold_for_whoever_stands_in_line(app: Orchestrator) -> None:
    book, narrow = NonceBook(app), Limits(border=5)
    taken = await asyncio.gather(*(book.reserve(claim(each), first=0, limits=narrow) for each in range(20)))
    assert sorted(each for each in taken if isinstance(each, int)) == list(range(5))
    assert [each for each in taken if not isinstance(each, int)] == [Wait.IN_FLIGHT] * 15


async def test_one_that_asks_twice_at_once_has_one(app: Orchestrator) -> None:
    book = NonceBook(app)
    names = [each % 10 for each in range(40)]
    taken = await asyncio.gather(*(book.reserve(claim(each), first=0, limits=ROOM) for each in names))
    assert len(set(zip(names, taken, strict=True))) == 10
    assert sorted(await owners(app)) == list(range(10))


async def test_what_stands_behind_a_gap_is_found_again(app: Orchestrator) -> None:
    """A claim failed while the next one was made, and its owner died before it could tell."""
    before = NonceBook(app)
    assert await before.reserve(claim("a"), first=0, limits=ROOM) == 0
    assert await before.reserve(claim("x"), first=2, limits=ROOM) == 2
    after = NonceBook(app)
    assert await after.reserve(claim("x"), first=0, limits=ROOM) == 2
    assert await after.reserve(claim("b"), first=0, limits=ROOM) == 1
    assert await after.reserve(claim("c"), first=0, limits=ROOM) == 3


async def test_a_claim_whose_answer_was_lost_while_another_worker_looked_is_found(
    app: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader serves nobody who came after it had looked: it cannot know what was claimed for them."""
    get, create = type(app.promises).get, type(app.promises).create
    looked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(self: object, promise_id: str) -> PromiseRecord:
        try:
            return await get(self, promise_id)  # type: ignore[arg-type]
        finally:
            looked.set()
            await go_on.wait()

    async def unheard(self: object, promise_id: str, **named: object) -> PromiseRecord:
        await create(self, promise_id, **named)  # type: ignore[arg-type]
        raise Unavailable("its answer was lost")

    here, there = NonceBook(app), NonceBook(app)
    assert await there.reserve(claim("leader"), first=0, limits=ROOM) == 0
    with monkeypatch.context() as during:
        during.setattr(type(app.promises), "get", slow)
        leading = asyncio.create_task(here.reserve(claim("leader"), first=0, limits=ROOM))
        await looked.wait()
    with monkeypatch.context() as during:
        during.setattr(type(app.promises), "create", unheard)
        with pytest.raises(Unavailable):
            await there.reserve(claim("late"), first=0, limits=ROOM)
    others = [
        asyncio.create_task(here.reserve(claim(each), first=0, limits=ROOM)) for each in ("new", "late")
    ]
    await asyncio.sleep(0)
    go_on.set()
    new, late = await asyncio.gather(*others)
    assert {await leading: "tx-leader", new: "tx-new", late: "tx-late"} == await owners(app)


@pytest.mark.parametrize("seed", range(8))
async def test_claims_that_are_lost_are_made_again_and_none_twice(
    seed: int, app: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    random, create = Random(seed), type(app.promises).create  # noqa: S311

    async def stormy(self: object, promise_id: str, **named: object) -> PromiseRecord:
        if random.random() < 0.2:
            raise Unavailable("lost on its way")
        made: PromiseRecord = await create(self, promise_id, **named)  # type: ignore[arg-type]
        if random.random() < 0.2:
            raise Unavailable("its answer was lost")
        return made

    monkeypatch.setattr(type(app.promises), "create", stormy)
    books = [NonceBook(app) for _ in range(3)]

    async def reserved(number: int) -> int:
        while True:
            try:
                # Whoever tries again may be another worker.
                found = await random.choice(books).reserve(claim(number), first=0, limits=ROOM)
            except Unavailable:
                continue
            assert isinstance(found, int)
            return found

    taken = await asyncio.gather(*(reserved(each) for each in range(60)))
    held = await owners(app)
    assert {number: f"tx-{name}" for name, number in enumerate(taken)} == held, f"seed {seed}"
    assert sorted(held) == list(range(60)), f"seed {seed}"
