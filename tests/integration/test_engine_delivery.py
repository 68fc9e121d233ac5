"""Messages: where they go, what waits, what is removed, what is sent again."""

import asyncio
from collections.abc import Awaitable, Callable

from orchestrator.engine import Engine, EngineSettings, ManualClock
from orchestrator.protocol import commands as c
from orchestrator.protocol.messages import Execute, Message, Unblock
from orchestrator.store import open_store
from tests.engine_world import (
    FAR,
    GROUP,
    TARGET,
    Ear,
    World,
    acquire,
    create,
    settle,
    world,
)


async def _outbox_empties(w: World) -> None:
    async with asyncio.timeout(5):
        while (await w.engine.gauges()).outbox_executes:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_waits_is_sent_on_connect(w: World) -> None:
    for number in range(3):
        await w.do(create(f"p{number}", target=TARGET))
    await w.do(create("other", target="poll://any@others"))
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await ear.hear(3)
    assert sorted(ear.executes) == [("p0", 0), ("p1", 0), ("p2", 0)]


async def test_the_outbox_is_flushed_page_by_page() -> None:
    async with world("sqlite:///:memory:", flush_page=4) as w:
        await w.do(create("x"))
        for number in range(10):
            await w.do(create(f"p{number}", target="poll://uni@clients/c1"))
            await w.do(create(f"q{number}"))
            await w.do(c.PromiseRegisterListener(awaited=f"q{number}", address="poll://uni@clients/c1"))
            await w.do(settle(f"q{number}"))
        ear = Ear()
        w.engine.connect("clients", "c1", ear)
        await ear.hear(20)
        assert len(ear.executes) == 10
        assert {m.promise.id for m in ear.messages if isinstance(m, Unblock)} == {f"q{n}" for n in range(10)}


async def test_sent_rows_leave_the_outbox(w: World) -> None:
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await w.do(create("p", target=TARGET))
    await ear.hear(1)
    await w.do(c.PromiseGet(id="p"))  # the removal travels with whatever comes next
    assert (await w.engine.gauges()).outbox_executes == 0
    await w.do(create("q", target=TARGET))
    await _outbox_empties(w)  # or goes alone after a moment


async def test_acquiring_removes_the_announcement(w: World) -> None:
    await w.do(create("p", target=TARGET))
    assert (await w.engine.gauges()).outbox_executes == 1
    await w.do(acquire("p", 0))
    assert (await w.engine.gauges()).outbox_executes == 0


async def test_any_takes_turns_and_prefers_the_named_member(w: World) -> None:
    ears = [Ear(), Ear()]
    for number, ear in enumerate(ears):
        w.engine.connect(GROUP, f"w{number}", ear)
    for number in range(6):
        await w.do(create(f"p{number}", target=TARGET))
    assert [len(ear.messages) for ear in ears] == [3, 3]
    for number in range(4):
        await w.do(create(f"q{number}", target=f"{TARGET}/w1"))
    assert [len(ear.messages) for ear in ears] == [3, 7]
    await w.do(create("gone", target=f"{TARGET}/w9"))
    assert sum(len(ear.messages) for ear in ears) == 11


async def test_uni_goes_to_the_newest_of_that_name_only(w: World) -> None:
    older, newer, other = Ear(), Ear(), Ear()
    w.engine.connect(GROUP, "w1", older)
    w.engine.connect(GROUP, "w1", newer)
    w.engine.connect(GROUP, "w2", other)
    await w.do(create("p", target=f"poll://uni@{GROUP}/w1"))
    await w.do(create("q", target=f"poll://uni@{GROUP}/w3"))
    assert (older.executes, newer.executes, other.executes) == ([], [("p", 0)], [])
    late = Ear()
    w.engine.connect(GROUP, "w3", late)
    await late.hear(1)


async def test_what_a_closed_connection_left_unread_goes_to_another(w: World) -> None:
    first, second = Ear(), Ear()
    connection = w.engine.connect(GROUP, "w1", first)
    await w.do(create("taken", target=TARGET))
    await w.do(create("unread", target=TARGET))
    await w.do(acquire("taken", 0))
    w.engine.connect(GROUP, "w2", second)
    connection.close()
    connection.close()
    await second.hear(1)
    await w.do(c.PromiseGet(id="unread"))
    assert second.executes == [("unread", 0)]
    assert w.engine.statistics.connections == 1


async def test_a_failing_receiver_harms_nobody(w: World) -> None:
    def broken(_: Message) -> None:
        raise RuntimeError("full")

    w.engine.connect(GROUP, "w1", broken)
    assert (await w.do(create("p", target=TARGET))).promise.id == "p"


async def test_a_full_member_gets_the_backlog_piece_by_piece(w: World) -> None:
    for number in range(40):
        await w.do(create(f"p{number:02}", target=TARGET))
    taken: list[str] = []
    room = 15

    def bounded(message: Message) -> bool:
        nonlocal room
        assert isinstance(message, Execute)
        if room == 0:
            return False
        room -= 1
        taken.append(message.task.id)
        return True

    w.engine.connect(GROUP, "w1", bounded)
    async with asyncio.timeout(5):
        while len(taken) < 40:
            await asyncio.sleep(0.005)
            if room == 0:
                assert len(taken) % 15 == 0
                room = 15
    assert taken == [f"p{number:02}" for number in range(40)]


async def test_what_one_member_has_no_room_for_goes_to_another(w: World) -> None:
    ear = Ear()
    w.engine.connect(GROUP, "full", lambda _: False)
    w.engine.connect(GROUP, "free", ear)
    for number in range(4):
        await w.do(create(f"p{number}", target=f"{TARGET}/full" if number % 2 else TARGET))
    assert [task_id for task_id, _ in ear.executes] == ["p0", "p1", "p2", "p3"]


async def test_news_that_nobody_fetches_is_forgotten_in_time() -> None:
    async with world("sqlite:///:memory:", unblock_keep_ms=1_000) as w:
        await w.do(create("p"))
        await w.do(c.PromiseRegisterListener(awaited="p", address="poll://uni@clients/dead"))
        await w.do(settle("p"))
        await w.pass_time(1_000)
        assert (await w.engine.gauges()).outbox_unblocks == 1
        await w.pass_time(1)
        assert (await w.engine.gauges()).outbox_unblocks == 0


# -- pushes

URL = "http://localhost:1/hook"


class Endpoint:
    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.pushed: list[Message] = []
        self.heard = asyncio.Event()

    async def __call__(self, url: str, message: Message) -> bool:
        assert url == URL
        self.pushed.append(message)
        self.heard.set()
        return self.answers.pop(0) if self.answers else True

    async def hear(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.pushed) < count:
                self.heard.clear()
                await self.heard.wait()


def _pushing(push: Callable[[str, Message], Awaitable[bool]], clock: ManualClock, **settings: int) -> Engine:
    return Engine(open_store("memory://"), clock, EngineSettings(**settings), push)


async def test_pushes_are_sent_and_leave_the_outbox() -> None:
    endpoint, clock = Endpoint(), ManualClock()
    async with _pushing(endpoint, clock) as engine:
        await engine.handle(create("p", target=URL))
        await endpoint.hear(1)
        await engine.handle(c.PromiseGet(id="p"))
        assert isinstance(endpoint.pushed[0], Execute)
        assert (await engine.gauges()).outbox_executes == 0


async def test_a_refused_push_is_repeated_by_the_retry_timer() -> None:
    endpoint, clock = Endpoint(False), ManualClock()
    async with _pushing(endpoint, clock) as engine:
        await engine.handle(create("p", target=URL))
        await endpoint.hear(1)
        assert (await engine.gauges()).outbox_executes == 1
        clock.advance(30_000)
        await endpoint.hear(2)
        assert engine.statistics.pushes["failed"] == 1


async def test_a_task_that_a_function_did_not_take_is_posted_again_before_its_timer() -> None:
    """The clock stands still: it is not the retry timer that does it."""
    endpoint, clock = Endpoint(False), ManualClock()
    async with _pushing(endpoint, clock) as engine:
        await engine.handle(create("p", target=URL))
        await endpoint.hear(2)
        assert endpoint.pushed[0] == endpoint.pushed[1]


async def test_a_refused_notification_is_repeated() -> None:
    endpoint, clock = Endpoint(False), ManualClock()
    async with _pushing(endpoint, clock, retry_timeout_ms=20) as engine:
        await engine.handle(create("p", timeout_at=FAR))
        await engine.handle(c.PromiseRegisterListener(awaited="p", address=URL))
        await engine.handle(settle("p"))
        await endpoint.hear(2)
        assert isinstance(endpoint.pushed[1], Unblock)


async def test_a_raising_sender_does_not_end_the_delivery() -> None:
    calls = []

    async def raising(url: str, message: Message) -> bool:
        calls.append(message)
        if len(calls) == 1:
            raise RuntimeError("bug")
        return True

    clock = ManualClock()
    async with _pushing(raising, clock, push_concurrency=1) as engine:
        await engine.handle(create("p", target=URL))
        await engine.handle(create("q", target=URL))
        async with asyncio.timeout(5):
            while len(calls) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


async def test_a_task_of_which_nobody_hears_is_looked_at_rarely(w: World) -> None:
    for number in range(3):
        await w.do(create(f"p{number}", target=TARGET))
    start = w.now
    await w.pass_time(30_000)
    ticks = w.engine.statistics.unroutable["execute"]
    for _ in range(19):
        await w.pass_time(30_000)
    assert w.engine.statistics.unroutable["execute"] == ticks, f"written down again since {start}"
    await w.pass_time(30_000)
    assert w.engine.statistics.unroutable["execute"] == ticks + 3


async def test_who_connects_late_is_sent_everything_and_reminded_soon(w: World) -> None:
    await w.do(create("p", target=TARGET))
    await w.pass_time(30_000)
    await w.pass_time(1_000)
    ear = Ear()
    w.engine.connect(GROUP, "w1", ear)
    await ear.hear(1)
    await w.pass_time(29_999)
    assert ear.executes == [("p", 0)]
    w.clock.advance(1)  # not ticked here: the ticker must have been told of the earlier moment
    await ear.hear(2)
    assert ear.executes == [("p", 0)] * 2
