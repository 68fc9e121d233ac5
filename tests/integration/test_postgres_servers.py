"""Several engines on one PostgreSQL: nothing is done twice, no wake-up is lost, messages find their way."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from orchestrator.domain.errors import Refused
from orchestrator.domain.promise import PromiseState
from orchestrator.domain.task import TaskState
from orchestrator.engine import Engine, EngineSettings, ManualClock
from orchestrator.engine.courier import Push
from orchestrator.protocol import commands as c
from orchestrator.protocol.messages import Execute, Message, Unblock
from orchestrator.store import StoreError
from orchestrator.store.port import BEFORE_ALL, LoadTimed, Program, ask
from orchestrator.store.sharing import Sighting
from tests.engine_world import (
    FAR,
    GROUP,
    RESOLVED,
    TARGET,
    Ear,
    acquire,
    claim,
    create,
    fence,
    fulfill,
    settle,
    suspend,
)

asyncpg = pytest.importorskip("asyncpg", reason="the extra `postgres` is not installed")
from orchestrator.store import postgres_connections  # noqa: E402
from orchestrator.store.postgres import PostgresStore  # noqa: E402
from orchestrator.store.postgres_locks import key_of  # noqa: E402


@asynccontextmanager
async def engines(
    url: str,
    count: int = 2,
    clock: ManualClock | None = None,
    push: Push | None = None,
    **settings: int,
) -> AsyncIterator[list[Engine]]:
    """Start engines on one database; by its time, unless they share a clock."""
    time_from = "database" if clock is None else "caller"
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                Engine(
                    PostgresStore(url, time_from=time_from),  # type: ignore[arg-type]
                    clock,
                    EngineSettings(**settings),
                    push,
                )
            )
            for _ in range(count)
        ]


async def _until(happened: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await happened():  # noqa: ASYNC110  # a database has no event for it
            await asyncio.sleep(0.01)


async def _told(fact: bool) -> bool:
    return fact


async def _resolved(engine: Engine, promise_id: str) -> bool:
    return (await engine.handle(c.PromiseGet(id=promise_id))).promise.state is RESOLVED


async def _outbox_is_empty(engine: Engine) -> bool:
    gauges = await engine.gauges()
    return not gauges.outbox_executes and not gauges.outbox_unblocks


# -- messages


async def test_a_message_is_delivered_where_its_connection_is(postgres_url: str) -> None:
    async with engines(postgres_url) as (first, second):
        worker, client = Ear(), Ear()
        second.connect(GROUP, "w1", worker)
        second.connect("clients", "c1", client)
        for number in range(20):
            await first.handle(create(f"p{number}", target=TARGET))
        await worker.hear(20)
        await first.handle(c.PromiseRegisterListener(awaited="p0", address="poll://uni@clients/c1"))
        await first.handle(settle("p0", data="v"))
        await client.hear(1)
        assert Counter(worker.executes) == Counter({(f"p{number}", 0): 1 for number in range(20)})
        assert isinstance(client.messages[0], Unblock)
        await _until(lambda: _outbox_is_empty(first))


async def test_each_member_gets_its_own_wherever_it_was_written(postgres_url: str) -> None:
    async with engines(postgres_url) as pair:
        ears = [Ear(), Ear()]
        for number, (engine, ear) in enumerate(zip(pair, ears, strict=True)):
            engine.connect(GROUP, f"w{number}", ear)
        for number in range(40):
            target = f"poll://uni@{GROUP}/w{number // 2 % 2}"
            await pair[number % 2].handle(create(f"p{number}", target=target))
        for number, ear in enumerate(ears):
            await ear.hear(20)
            assert Counter(ear.executes) == Counter(
                {(f"p{each}", 0): 1 for each in range(40) if each // 2 % 2 == number}
            )


async def test_one_of_two_who_hear_takes_the_message(postgres_url: str) -> None:
    async with engines(postgres_url, 3) as (writer, *listeners):
        ears = [Ear(), Ear()]
        for engine, ear in zip(listeners, ears, strict=True):
            engine.connect(GROUP, "w", ear)
        await asyncio.sleep(0.5)  # who connects is sent the whole outbox, even what another has just taken
        for number in range(100):
            await writer.handle(create(f"p{number}", target=TARGET))
        await _until(lambda: _told(len({*ears[0].executes, *ears[1].executes}) == 100))
        heard = Counter([*ears[0].executes, *ears[1].executes])
        assert set(heard.values()) == {1}, heard


async def test_what_an_engine_could_not_tell_is_found_by_a_look(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.store.postgres.LOOK_FROM_MS", 100)
    monkeypatch.setattr("orchestrator.engine.neighbours.LOOK_PAUSE_S", 0.1)
    monkeypatch.setattr(PostgresStore, "tell", lambda *_: None)  # as if it had died after its commit
    async with engines(postgres_url) as (first, second):
        ear = Ear()
        second.connect(GROUP, "w1", ear)
        await first.handle(create("p"))  # without a task, which a look might find before it is settled
        await first.handle(c.PromiseRegisterListener(awaited="p", address=f"poll://uni@{GROUP}/w1"))
        await first.handle(settle("p"))
        await first.handle(create("q", target=TARGET))
        await ear.hear(2)
        assert ear.executes == [("q", 0)]
        assert [m.promise.id for m in ear.messages if isinstance(m, Unblock)] == ["p"]


async def test_what_has_waited_while_an_engine_could_not_look_is_found(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its database was away, or it stood still, for longer than a look goes back."""
    for name, value in (("LOOK_FROM_MS", 100), ("LOOK_UNTIL_MS", 300)):
        monkeypatch.setattr(f"orchestrator.store.postgres.{name}", value)
    monkeypatch.setattr("orchestrator.engine.neighbours.LOOK_PAUSE_S", 0.05)
    monkeypatch.setattr("orchestrator.engine.neighbours.LOOK_GAP_S_MAX", 0.2)
    monkeypatch.setattr(PostgresStore, "tell", lambda *_: None)
    look, away = PostgresStore.look, asyncio.Event()

    async def looks(store: PostgresStore, groups: Sequence[str]) -> Sighting:
        if away.is_set():
            raise StoreError("the database is away", transient=True)
        return await look(store, groups)

    monkeypatch.setattr(PostgresStore, "look", looks)
    async with engines(postgres_url) as (first, second):
        ear = Ear()
        second.connect(GROUP, "w1", ear)
        await first.handle(create("p"))
        await first.handle(c.PromiseRegisterListener(awaited="p", address=f"poll://uni@{GROUP}/w1"))
        away.set()
        await first.handle(settle("p"))
        await first.handle(create("q", target=TARGET))
        await first.clock.sleep_until(first.clock.now_ms() + 500)
        away.clear()
        await ear.hear(2)
        assert ear.executes == [("q", 0)]
        assert [m.promise.id for m in ear.messages if isinstance(m, Unblock)] == ["p"]


async def test_only_what_nobody_has_taken_is_announced_ever_more_seldom(postgres_url: str) -> None:
    clock = ManualClock()
    async with engines(postgres_url, clock=clock) as (deaf, hearing):
        ear = Ear()
        hearing.connect(GROUP, "w1", ear)
        await deaf.handle(create("heard", target=TARGET))
        await deaf.handle(create("unheard", target="poll://any@nobody"))
        pauses: dict[str, int] = {}
        for round_ in range(3):
            await ear.hear(round_ + 1)
            await _until(lambda: _one_waits(deaf))
            clock.advance(deaf.settings.retry_timeout_ms)
            await deaf.tick()
            for key, moment in await deaf._store.run(_timers, clock.now_ms()):
                pauses[key] = moment - clock.now_ms()
            assert pauses["heard"] == deaf.settings.retry_timeout_ms
        assert pauses["unheard"] == deaf.settings.retry_unheard_ms - 2 * deaf.settings.retry_timeout_ms


async def _one_waits(engine: Engine) -> bool:
    return (await engine.gauges()).outbox_executes == 1


def _timers(_: int) -> Program[list[tuple[str, int]]]:
    page = yield from ask(LoadTimed(after=BEFORE_ALL, until_ms=FAR, limit=10))
    return [(each.task_id, each.timer_at) for each in page]


async def test_an_engine_sees_all_of_a_backlog_that_nobody_told_it_of(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look shows a part of it; the whole outbox is looked through then."""
    monkeypatch.setattr(PostgresStore, "tell", lambda *_: None)
    monkeypatch.setattr("orchestrator.store.postgres.LOOK_MAX", 3)
    async with engines(postgres_url) as (deaf, hearing):
        ear = Ear()
        hearing.connect(GROUP, "w1", ear)
        await asyncio.gather(*(deaf.handle(create(f"p-{n}", target=TARGET)) for n in range(100)))
        await ear.hear(100)
        assert len(set(ear.executes)) == 100


async def test_a_deadline_of_an_engine_that_died_is_met_by_another(postgres_url: str) -> None:
    async with engines(postgres_url, 1) as (second,):
        ear = Ear()
        second.connect("clients", "c1", ear)
        async with engines(postgres_url, 1) as (first,):
            answer = await first.handle(c.PromiseCreate(id="late", timeout_at=FAR))
            soon = answer.promise.created_at + 1_500
            await first.handle(c.PromiseCreate(id="p", timeout_at=soon))
            await first.handle(c.PromiseRegisterListener(awaited="p", address="poll://uni@clients/c1"))
        await ear.hear(1)
        (message,) = ear.messages
        assert isinstance(message, Unblock)
        assert message.promise.state is PromiseState.REJECTED_TIMEDOUT


@pytest.mark.parametrize("request_of", [c.PromiseCancel, c.PromiseTerminate])
async def test_a_tree_that_an_engine_began_to_end_is_ended_by_the_others(
    postgres_url: str, request_of: type[c.PromiseCancel | c.PromiseTerminate]
) -> None:
    """Two that live carry on together what a third leaves: each page is carried out once."""
    keys = [f"a:{number}" for number in range(20)]
    async with engines(postgres_url, 2, tick_page=3) as (second, third):
        async with engines(postgres_url, 1, tick_page=3) as (first,):
            await first.handle(claim("a"))
            await asyncio.gather(*(first.handle(create(key, target=TARGET, origin="a")) for key in keys))
            for engine in (first, second, third):
                engine._ticker.hold()
            # A cancellation passes by what was created in its own millisecond.
            await first.clock.sleep_until(first.clock.now_ms() + 2)
            await first.handle(request_of(id="a"))
            assert 0 < len(await _open(second, keys)) < len(keys)
        second._ticker.go_on()
        third._ticker.go_on()
        await _until(lambda: _ended(second, keys))
        await asyncio.gather(second.tick(), third.tick())
        assert await _open(third, keys) == set()


async def _open(engine: Engine, keys: list[str]) -> set[str]:
    """Return which of the calls neither have settled nor are asked to end."""
    tasks = [(await engine.handle(c.TaskGet(id=key))).task for key in keys]
    return {task.id for task in tasks if task.state is not TaskState.FULFILLED and not task.cancelled}


async def _ended(engine: Engine, keys: list[str]) -> bool:
    return not await _open(engine, keys)


async def test_a_server_starts_beside_one_that_stands_still_within_a_transaction(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engines(postgres_url, 1) as (first,):
        first.connect(GROUP, "w1", Ear())
        await first.handle(create("p", target=TARGET))
        await _until(lambda: _outbox_is_empty(first))
    monkeypatch.setitem(postgres_connections._SETTINGS, "lock_timeout", "200ms")
    frozen = await asyncpg.connect(postgres_url)
    try:
        await frozen.execute(f"BEGIN; SELECT pg_advisory_xact_lock({key_of('p')})")
        async with engines(postgres_url, 1) as (second,):
            await second.handle(create("q"))
            await frozen.execute("ROLLBACK")
            await second.handle(acquire("p", 0))
    finally:
        await frozen.close()


async def test_pushes_are_sent_once(postgres_url: str) -> None:
    sent: list[str] = []

    async def push(_: str, message: Message) -> bool:
        assert isinstance(message, Execute)
        sent.append(message.task.id)
        return True

    async with engines(postgres_url, push=push) as pair:
        for number in range(20):
            await pair[number % 2].handle(create(f"p{number}", target="http://127.0.0.1:1/"))
        await _until(lambda: _told(len(sent) >= 20))
        await asyncio.sleep(1.2)  # a look later
        assert sorted(sent) == sorted(f"p{number}" for number in range(20))


# -- time


async def test_two_ticks_at_once_double_nothing(postgres_url: str) -> None:
    clock = ManualClock()
    async with engines(postgres_url, clock=clock, tick_page=7) as pair:
        ears = [Ear(), Ear()]
        for number in range(40):
            await pair[0].handle(claim(f"r{number}"))
            child = c.PromiseCreate(id=f"r{number}:1", timeout_at=clock.now_ms() + 5_000)
            await pair[0].handle(fence(f"r{number}", 1, child))
            await pair[0].handle(suspend(f"r{number}", 1, f"r{number}:1"))
            await pair[0].handle(claim(f"held{number}"))
        for engine, ear in zip(pair, ears, strict=True):
            engine.connect(GROUP, "w", ear)
        clock.advance(5_000)
        await asyncio.gather(*(engine.tick() for engine in pair))
        heard = Counter([*ears[0].executes, *ears[1].executes])
        assert heard == Counter({(f"r{number}", 1): 1 for number in range(40)})
        clock.advance(5_000)
        await asyncio.gather(*(engine.tick() for engine in pair))
        heard = Counter([*ears[0].executes, *ears[1].executes])
        assert heard == Counter({(f"{name}{number}", 1): 1 for number in range(40) for name in ("r", "held")})


async def test_leases_live_by_the_databases_time(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 0)  # a machine whose clock stopped in 1970
    async with engines(postgres_url) as (first, second):
        ear = Ear()
        second.connect(GROUP, "w2", ear)
        await first.handle(c.TaskCreate(pid="w1", ttl=1_000, action=create("r", target=TARGET)))
        promise = (await first.handle(c.PromiseGet(id="r"))).promise
        assert promise.created_at > 1_700_000_000_000
        await ear.hear(1)
        assert ear.executes == [("r", 1)]


# -- races


async def test_one_of_many_acquires(postgres_url: str) -> None:
    async with engines(postgres_url, 3) as group:
        for number in range(30):
            await group[0].handle(create(f"p{number}", target=TARGET))
            answers = await asyncio.gather(
                *(engine.handle(acquire(f"p{number}", 0, f"w{place}")) for place, engine in enumerate(group)),
                return_exceptions=True,
            )
            won = [answer for answer in answers if isinstance(answer, c.TaskClaim)]
            lost = [answer for answer in answers if isinstance(answer, Refused)]
            assert (len(won), len(lost)) == (1, 2), answers


async def test_no_wake_up_is_lost_between_suspending_and_settling(postgres_url: str) -> None:
    """The race of T4, with the awaited promise inside the origin and outside it."""
    seed = random.randrange(2**32)  # noqa: S311
    print("seed", seed)  # noqa: T201
    chance = random.Random(seed)  # noqa: S311
    async with engines(postgres_url) as pair:

        async def one(number: int) -> None:
            root = f"r{number}"
            here, there = chance.sample(pair, 2)
            awaited = [f"{root}:1", f"elsewhere{number}"]
            await here.handle(claim(root))
            await here.handle(create(awaited[0]))
            await there.handle(
                c.PromiseCreate(id=awaited[1], timeout_at=FAR, tags={"resonate:external": "true"})
            )
            suspending = here.handle(suspend(root, 1, *awaited))
            settling = [there.handle(settle(key)) for key in awaited]
            outcome, *_ = await asyncio.gather(suspending, *settling)
            task = (await there.handle(c.TaskGet(id=root))).task
            if outcome.suspended:
                assert (task.state, task.version) == (TaskState.PENDING, 1), (seed, number)
            else:
                assert task.state is TaskState.ACQUIRED, (seed, number)

        await asyncio.gather(*(one(number) for number in range(100)))


async def test_workflows_go_on_whoever_serves_them(postgres_url: str) -> None:
    """Workers choose an engine for every command anew; each workflow is carried out once (T1, T2)."""
    seed = random.randrange(2**32)  # noqa: S311
    print("seed", seed)  # noqa: T201
    chance = random.Random(seed)  # noqa: S311
    acquired: Counter[tuple[str, int]] = Counter()
    async with engines(postgres_url) as pair:

        async def work(ear: Ear, pid: str) -> None:
            done = 0
            while True:
                await ear.hear(done + 1)
                task_id, version = ear.executes[done]
                done += 1
                await step(task_id, version, pid)

        async def step(task_id: str, version: int, pid: str) -> None:
            try:
                task = (await chance.choice(pair).handle(acquire(task_id, version, pid))).task
            except Refused:  # another worker was told of it, too
                return
            acquired[task_id, task.version] += 1
            if task.version == 1:
                await chance.choice(pair).handle(fence(task_id, 1, create(f"{task_id}:1")))
                settling = asyncio.create_task(chance.choice(pair).handle(settle(f"{task_id}:1")))
                answer = await chance.choice(pair).handle(suspend(task_id, 1, f"{task_id}:1"))
                await settling
                if answer.suspended:
                    return
            await chance.choice(pair).handle(fulfill(task_id, task.version))

        ears = [Ear() for _ in range(4)]
        for place, ear in enumerate(ears):
            pair[place % 2].connect(GROUP, f"w{place}", ear)
        workers = [asyncio.create_task(work(ear, f"w{place}")) for place, ear in enumerate(ears)]
        roots = [f"r{number}" for number in range(100)]
        await asyncio.gather(*(chance.choice(pair).handle(create(root, target=TARGET)) for root in roots))
        for root in roots:
            await _until(lambda root=root: _resolved(pair[0], root))
        for worker in workers:
            worker.cancel()
            assert not worker.done(), worker.exception()
        await asyncio.gather(*workers, return_exceptions=True)
    assert set(acquired.values()) == {1}, (seed, acquired)
