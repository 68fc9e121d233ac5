"""Workflows that are asked to end: Cancelled at an await, recorded there; clean-up that may be durable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator import (
    ApplicationError,
    Cancelled,
    Context,
    Info,
    Orchestrator,
    PromiseCanceled,
    Refused,
)
from orchestrator.client import calls
from orchestrator.client.options import DEFAULTS
from orchestrator.domain.address import any_of
from orchestrator.domain.promise import PromiseState
from orchestrator.domain.task import TaskState
from orchestrator.engine import Engine, EngineSettings
from orchestrator.protocol import commands as c
from orchestrator.protocol.messages import Cancel, Message
from orchestrator.protocol.transport import Receiver, Transport
from orchestrator.store import Store
from orchestrator.store.memory import MemoryStore
from orchestrator.store.sqlite import SqliteStore
from orchestrator.testing import SimulatedCrash, crash_at
from orchestrator.transport.local import LocalTransport
from tests.integration.sdk_places import way, way_to
from tests.integration.server_support import served

__all__ = ["way"]
Running = Callable[..., AbstractAsyncContextManager[Orchestrator]]
TTL_MS = {"embedded": 10_000, "served": 900}
"""Of leases: by their renewal a worker behind a server hears that it is to stop."""


@asynccontextmanager
async def opened(way: str, *functions: object) -> AsyncIterator[Orchestrator]:
    async with (
        Engine(MemoryStore(), settings=EngineSettings(retry_timeout_ms=50)) as engine,
        way_to(engine, way) as transport,
    ):
        app = Orchestrator(transport=transport, ttl_ms=TTL_MS[way])
        for function in functions:
            app.register(function)  # type: ignore[arg-type]
        async with app, asyncio.timeout(10):
            yield app


@pytest.fixture
def running(way: str) -> Running:
    """Run an application with some functions, its engine in the process or behind a server."""
    return partial(opened, way)


class Scene:
    """What the functions of a test tell it, and what it tells them."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.stopped = asyncio.Event()
        self.did: list[str] = []


async def test_a_request_is_raised_recorded_and_cleaned_up_after(running: Running) -> None:
    scene = Scene()

    async def endless() -> None:
        scene.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            scene.did.append("leaf cancelled")
            raise

    async def undo(what: str) -> str:
        scene.did.append(f"undo {what}")
        return what

    async def book(ctx: Context) -> None:
        await ctx.run(undo, "nothing yet")
        try:
            await ctx.run(endless)
        except Exception:  # must not see it
            scene.did.append("swallowed")
        except Cancelled:
            await ctx.run(undo, "all")
            raise

    async with running(endless, undo, book) as app:
        handle = await app.begin_run("trip", book)
        await scene.begun.wait()
        await handle.cancel()
        with pytest.raises(PromiseCanceled):
            await handle.result()
        assert scene.did == ["undo nothing yet", "leaf cancelled", "undo all"]
        tree = {record.id: record for record in (await app.promises.search()).promises}
        states = {key: record.state for key, record in tree.items()}
        assert states == {
            "trip": PromiseState.REJECTED_CANCELED,
            "trip:1": PromiseState.RESOLVED,
            "trip:2": PromiseState.REJECTED_CANCELED,
            "trip:3": PromiseState.RESOLVED,
            "trip:4": PromiseState.RESOLVED,
        }
        assert tree["trip:3"].param.headers == {"func": "ctx.cancelled", "version": "1", "await": "2"}


async def test_local_branches_and_threads_are_told_too(running: Running) -> None:
    scene = Scene()
    loop = asyncio.get_running_loop()

    def patient(info: Info) -> None:
        loop.call_soon_threadsafe(scene.begun.set)
        while not info.cancelled:
            pass
        scene.did.append("thread saw it")
        loop.call_soon_threadsafe(scene.stopped.set)

    async def note(what: str) -> None:
        scene.did.append(what)

    async def inner(ctx: Context) -> None:
        try:
            await ctx.run(patient)
        finally:
            await ctx.run(note, "inner")

    async def outer(ctx: Context) -> str:
        try:
            await ctx.run(inner)
        except Cancelled:
            await ctx.run(note, "outer")
        return "ended well"

    async with running(patient, note, inner, outer) as app:
        handle = await app.begin_run("tree", outer)
        await scene.begun.wait()
        await handle.cancel()
        assert await handle.result() == "ended well"
        await scene.stopped.wait()
        assert sorted(scene.did) == ["inner", "outer", "thread saw it"]
        states = [record.state for record in (await app.promises.search()).promises]
        assert states.count(PromiseState.REJECTED_CANCELED) == 2  # the branch and its leaf
        assert PromiseState.PENDING not in states


async def test_a_leaf_that_is_a_task_ends_as_canceled(running: Running) -> None:
    scene = Scene()

    async def endless() -> None:
        scene.begun.set()
        await asyncio.Event().wait()

    async with running(endless) as app:
        handle = await app.begin_run("leaf", endless)
        await scene.begun.wait()
        await handle.cancel()
        with pytest.raises(PromiseCanceled):
            await handle.result()


async def test_one_call_is_ended_alone(running: Running) -> None:
    scene = Scene()

    async def endless(info: Info) -> None:
        scene.begun.set()
        await asyncio.Event().wait()

    async def quick() -> int:
        await scene.begun.wait()
        return 7

    async def callee(ctx: Context) -> None:
        await ctx.promise()

    async def racing(ctx: Context) -> tuple[int, list[str]]:
        losers = [ctx.run(endless), ctx.run(callee), ctx.rpc(callee)]
        first = await ctx.run(quick)
        for loser in losers:
            ctx._execution.cancellations.end(loser)
        ended = []
        for loser in losers:
            try:
                await loser
            except ApplicationError as error:
                ended.append(error.type_name)
        return first, ended

    async with running(endless, quick, callee, racing) as app:
        assert await app.run("race", racing) == (7, ["PromiseCanceled"] * 3)


async def test_a_tree_across_groups_ends_from_its_leaves_to_its_root(running: Running) -> None:
    scene = Scene()

    async def note(what: str) -> None:
        scene.did.append(what)

    async def child(ctx: Context, name: str) -> None:
        try:
            await ctx.promise()
        finally:
            await ctx.run(note, name)

    async def parent(ctx: Context) -> None:
        loose = ctx.detached(child, "detached")
        both = ctx.gather(ctx.rpc(child, "one"), ctx.rpc(child, "two"))
        await ctx.run(note, loose.id)
        try:
            await both
        finally:
            await ctx.rpc(note, "parent")  # a clean-up may call others

    async with running(note, child, parent) as app:
        handle = await app.begin_run("tree", parent)
        while len((await app.promises.search(tags={"resonate:parent": "tree"})).promises) < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await handle.cancel()
        await handle.cancel()
        with pytest.raises(PromiseCanceled):
            await handle.result()
        loose, *rest = scene.did
        assert (sorted(rest[:2]), rest[2:]) == (["one", "two"], ["parent"])
        assert (await app.promises.get(loose)).pending
        other = await app.get(loose)
        await other.terminate()
        with pytest.raises(PromiseCanceled):
            await other.result()
        assert "detached" not in scene.did


async def test_a_promise_that_nobody_executes_is_settled(running: Running) -> None:
    async with running() as app:
        await app.promises.create("bare")
        assert (await app.promises.cancel("bare")).state is PromiseState.REJECTED_CANCELED
        assert (await app.promises.cancel("bare")).state is PromiseState.REJECTED_CANCELED


async def approve(ctx: Context) -> None:
    await ctx.sleep(3_600)


async def asking(ctx: Context) -> None:
    elsewhere = ctx.options(target="nobody")
    await ctx.gather(elsewhere.rpc(approve), ctx.run(asking_too), ctx.promise())


async def asking_too(ctx: Context) -> None:
    await ctx.gather(ctx.options(target="nobody").rpc(approve), ctx.sleep(3_600))


async def around(ctx: Context) -> str:
    child = ctx.begin_run(asking)
    await ctx.promise("go")
    try:
        await child
    except PromiseCanceled:
        return "went on"
    return "never"


async def until_opened(app: Orchestrator, promise_id: str, promises: int) -> None:
    while len(await app.promises.tree(promise_id)) < promises:  # noqa: ASYNC110 - the engine's
        await asyncio.sleep(0.005)


async def until_suspended(transport: Transport, promise_id: str) -> None:
    """Wait until nobody holds a task that has begun: a crash before that leaves a lease behind."""
    while (await transport.call(c.TaskGet(id=promise_id))).task.state is not TaskState.SUSPENDED:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def test_a_workflow_within_another_is_settled_with_all_that_it_called(running: Running) -> None:
    async with running(asking, asking_too, around) as app:
        await app.promises.create("go")
        await app.promises.resolve("go")
        handle = await app.begin_run("w", around)
        await until_opened(app, "w", 7)
        await app.promises.cancel("w:1")
        assert await handle.result() == "went on"
        assert not [record.id for record in await app.promises.tree("w") if record.pending]


@pytest.mark.parametrize("extended", [True, False], ids=["extended", "published"])
async def test_what_a_workflow_left_open_that_was_settled_alone_is_ended_by_the_next_execution(
    way: str, *, extended: bool
) -> None:
    """A promise.settle reaches one promise; what that stood for is not executed again after a crash."""

    def application() -> Orchestrator:
        app = Orchestrator(transport=transport if extended else Published(transport))
        for function in (asking, asking_too, around):
            app.register(function)
        return app

    async with (
        Engine(MemoryStore(), settings=EngineSettings(retry_timeout_ms=50)) as engine,
        way_to(engine, way) as transport,
    ):
        first = application()
        async with asyncio.timeout(10):
            await first.start()
            await first.begin_run("w", around)
            await until_opened(first, "w", 7)
            await until_suspended(transport, "w")
            await first.abort()
            async with application() as second:
                settle = c.PromiseSettle(id="w:1", state=PromiseState.REJECTED_CANCELED)
                await transport.call(settle)
                await second.promises.resolve("go")
                assert await (await second.get("w")).result() == "went on"
                called = Orchestrator(transport=transport, group="nobody")
                called.register(approve)
                async with called:  # is asked to end, where the engine can pass that on
                    with pytest.raises(PromiseCanceled):
                        await (await called.get("w:1.1")).result()
                assert not [record.id for record in await second.promises.tree("w") if record.pending]


async def test_what_ends_before_the_request_counts(running: Running) -> None:
    async def quick(ctx: Context) -> int:
        return 5

    async with running(quick) as app:
        handle = await app.begin_run("quick", quick)
        assert await handle.result() == 5
        await handle.cancel()
        assert await handle.result() == 5


async def test_a_worker_elsewhere_hears_by_its_heartbeat() -> None:
    scene = Scene()

    async def endless() -> None:
        scene.begun.set()
        await asyncio.Event().wait()

    async def flow(ctx: Context) -> None:
        await ctx.run(endless)

    async with Engine(MemoryStore()) as engine, served(engine) as url, asyncio.timeout(10):
        app = Orchestrator.remote(url, ttl_ms=600)
        app.register(endless)
        app.register(flow)
        async with app:
            handle = await app.begin_run("far", flow)
            await scene.begun.wait()
            await handle.cancel()
            with pytest.raises(PromiseCanceled):
                await handle.result()


async def test_a_request_is_heard_by_the_next_suspension() -> None:
    """A workflow of which the worker has not heard, since no heartbeat was due, is not put to rest."""

    async def waiting(ctx: Context) -> None:
        await ctx.promise()

    async with Engine(MemoryStore()) as engine, asyncio.timeout(10):
        transport = Deaf(LocalTransport(engine))
        app = Orchestrator(transport=transport)
        app.register(waiting)
        async with app:
            handle = await app.begin_run("deaf", waiting)
            with pytest.raises(PromiseCanceled):
                await handle.result()
    assert transport.answers == [(False, True)]


class Deaf:
    """Hears no messages; the workflow `deaf` is asked to end just before it is first put to rest."""

    def __init__(self, inner: LocalTransport) -> None:
        self.inner = inner
        self.answers: list[tuple[bool, bool]] = []

    async def call(self, command: c.Command[Any]) -> Any:
        if isinstance(command, c.TaskSuspend) and not self.answers:
            await self.inner.call(c.PromiseCancel(id=command.id))
        answer = await self.inner.call(command)
        if isinstance(answer, c.SuspendAnswer):
            self.answers.append((answer.suspended, answer.cancelled))
        return answer

    def connect(self, group: str, pid: str, receive: Receiver) -> AbstractAsyncContextManager[None]:
        def hear(message: Message) -> None:
            if not isinstance(message, Cancel):
                receive(message)

        return self.inner.connect(group, pid, hear)

    async def close(self) -> None: ...


async def test_without_the_extension_a_promise_is_settled() -> None:
    """Whoever left for a server of the published protocol can cancel, though nothing is cleaned up."""

    async def forever(ctx: Context) -> None:
        await ctx.promise()

    async with Engine(MemoryStore()) as engine, asyncio.timeout(10):
        app = Orchestrator(transport=Published(LocalTransport(engine)))
        app.register(forever)
        async with app:
            handle = await app.begin_rpc("plain", forever)
            await handle.cancel()
            with pytest.raises(PromiseCanceled):
                await handle.result()
            with pytest.raises(Refused):
                await handle.terminate()


class Published(Deaf):
    """Knows the published protocol only."""

    async def call(self, command: c.Command[Any]) -> Any:
        beyond = isinstance(command, (c.Describe, c.PromiseCancel, c.PromiseTerminate))
        if beyond or (isinstance(command, c.TaskFence) and isinstance(command.action, c.PromiseRecordStep)):
            raise Refused(400, f"Unknown operation: {command.KIND}")
        return await self.inner.call(command)


# -- the same record wherever it is cut


class Cut:
    """Functions whose workflow is asked to end as soon as its endless leaf runs."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    def register(self, app: Orchestrator) -> None:
        async def endless() -> None:
            self.begun.set()
            await asyncio.Event().wait()

        async def undo(what: str) -> str:
            return what

        async def waiting(ctx: Context) -> None:
            try:
                await ctx.promise()
            except Cancelled:
                await ctx.run(undo, "remote")

        async def inner(ctx: Context) -> str:
            await ctx.run(undo, "nothing")
            try:
                await ctx.run(endless)
            finally:
                await ctx.run(undo, "inner")
            return "never"

        async def book(ctx: Context) -> None:
            called = ctx.rpc(waiting)
            await ctx.run(undo, "first")
            branch = ctx.run(inner)
            try:
                await ctx.gather(branch, called)
            except Cancelled:
                await ctx.sleep(0.01)
                await called
                await ctx.run(undo, "all")
                raise

        async def choose(ctx: Context) -> None:
            try:
                await ctx.race(ctx.run(endless), ctx.run(inner), ctx.sleep(60))
            finally:
                await ctx.run(undo, "choice")

        async def calling(ctx: Context) -> None:
            await ctx.rpc(undo, "called")  # of a group: no claim brings its record along
            await ctx.run(endless)

        async def call(ctx: Context) -> None:
            await ctx.run(calling)

        for function in (endless, undo, waiting, inner, book, choose, calling, call):
            app.register(function)


ROOT = "cut"


async def _asked_when_begun(transport: LocalTransport, cut: Cut) -> None:
    await cut.begun.wait()
    await transport.call(c.PromiseCancel(id=ROOT))


async def _ended(transport: LocalTransport) -> dict[str, object]:
    """Return the record of the tree, once its root has settled, without times and versions (W3)."""
    async with Orchestrator(transport=transport, group="readers", worker=False) as reader:
        handle = await reader.get(ROOT)
        with pytest.raises(PromiseCanceled):
            await handle.result()
        page = await reader.promises.search(limit=1000)
        return {record.id: (record.state, record.param, record.value) for record in page.promises}


async def _played(
    store: Callable[[], Store],
    number: int | None,
    *,
    after: bool = False,
    name: str = "book",
    way: str = "embedded",
) -> tuple[bool, object]:
    """Play with a crash at a command, and once more to the end; tell whether it came to the crash."""
    cut, settings = Cut(), EngineSettings(retry_timeout_ms=50)
    async with Engine(store(), settings=settings) as engine, way_to(engine, way) as reached:
        transport = LocalTransport(engine)
        target, call = any_of("default"), {"name": name, "version": 1, "args": (), "kwargs": {}}
        await transport.call(calls.root(ROOT, target, DEFAULTS, 0, **call))
        crashing = crash_at(reached, number, after=after)
        app = Orchestrator(transport=crashing, ttl_ms=TTL_MS[way])
        cut.register(app)
        crashed = asyncio.create_task(crashing.crashed.wait())
        asking = asyncio.create_task(_asked_when_begun(transport, cut))
        ending = asyncio.create_task(_ended(transport))
        try:
            await app.start()
            await asyncio.wait((crashed, ending), return_when=asyncio.FIRST_COMPLETED)
        except SimulatedCrash:
            pass
        finally:
            await app.abort()
            for task in (crashed, asking, ending):
                task.cancel()
            results = await asyncio.gather(crashed, asking, ending, return_exceptions=True)
        if not crashing.crashed.is_set():
            return False, results[2]
    again = Cut()
    async with Engine(store(), settings=settings) as engine:
        transport = LocalTransport(engine)
        app = Orchestrator(transport=transport)
        again.register(app)
        asking = asyncio.create_task(_asked_when_begun(transport, again))
        async with app, asyncio.timeout(10):
            record = await _ended(transport)
        asking.cancel()
        return True, record


@pytest.mark.parametrize("executor", ["async", "inline", "thread"])
@pytest.mark.parametrize("asked_by", ["handle", "race"])
async def test_an_endless_loop_of_quick_steps_ends_when_asked(
    running: Running, executor: str, asked_by: str
) -> None:
    def count(number: int) -> int:
        return number + 1

    async def count_async(number: int) -> int:
        return number + 1

    step = count_async if executor == "async" else count
    begun = asyncio.Event()

    async def note() -> None:
        begun.set()

    async def loop(ctx: Context) -> None:
        number = 0
        while True:
            number = await ctx.run(step, number)
            if number == 5:
                await ctx.run(note)

    async def outrun(ctx: Context) -> str:
        await ctx.race(ctx.begin_run(loop), ctx.promise("over"))
        return "over"

    async with running(note, loop, outrun) as app:
        app.register(step, executor="inline" if executor == "inline" else "thread")
        handle = await app.begin_run("endless", outrun if asked_by == "race" else loop)
        await begun.wait()
        if asked_by == "race":
            await app.promises.resolve("over", None)
            assert await handle.result() == "over"
        else:
            await handle.cancel()
            with pytest.raises(PromiseCanceled):
                await handle.result()


@pytest.mark.parametrize("executor", ["inline", "thread"])
async def test_an_endless_loop_that_has_rested_is_outrun(executor: str) -> None:
    """What a workflow still waits for when it goes on from memory is heard beside its quick steps, too."""

    def count(number: int) -> int:
        return number + 1

    async def loop(ctx: Context) -> None:
        number = await ctx.run(count, await ctx.promise("go"))
        while True:
            number = await ctx.run(count, number)

    async def outrun(ctx: Context) -> str:
        await ctx.race(ctx.begin_run(loop), ctx.promise("over"))
        return "over"

    async with Engine(MemoryStore()) as engine:
        transport = LocalTransport(engine)
        app = Orchestrator(transport=transport)
        app.register(loop)
        app.register(outrun)
        app.register(count, executor="inline" if executor == "inline" else "thread")
        async with app, asyncio.timeout(10):
            handle = await app.begin_run("endless", outrun)
            await until_suspended(transport, "endless")
            await app.promises.resolve("go", 0)
            tree = {"resonate:parent": "endless:1"}
            while not (await app.promises.search(tags=tree)).promises[5:]:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await app.promises.resolve("over", None)
            assert await handle.result() == "over"


@pytest.mark.parametrize("name", ["book", "choose", "call"])
async def test_the_record_of_a_cancelled_call_is_the_same_through_a_server(name: str) -> None:
    _, expected = await _played(MemoryStore, None, name=name)
    assert isinstance(expected, dict)
    assert await _played(MemoryStore, None, name=name, way="served") == (False, expected)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", ["choose", "call"])
async def test_the_record_of_a_cancelled_call_is_the_same_wherever_it_is_cut(name: str, after: bool) -> None:
    _, expected = await _played(MemoryStore, None, name=name)
    assert isinstance(expected, dict)
    for number in range(1, 60):
        memory = MemoryStore()
        crashed, record = await _played(lambda: memory, number, after=after, name=name)  # noqa: B023
        assert record == expected, number
        if not crashed:
            break
    assert number > 8


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_the_record_of_a_cancelled_tree_is_the_same_wherever_it_is_cut(
    kind: str, after: bool, tmp_path: Path
) -> None:
    _, expected = await _played(MemoryStore, None)
    assert isinstance(expected, dict)
    assert len(expected) == 14
    for number in range(1, 60):
        memory, path = MemoryStore(), tmp_path / f"{number}.db"
        store = (lambda: memory) if kind == "memory" else (lambda path=path: SqliteStore(path))  # noqa: B023
        crashed, record = await _played(store, number, after=after)
        assert record == expected, number
        if not crashed:
            break
    assert number > 12
