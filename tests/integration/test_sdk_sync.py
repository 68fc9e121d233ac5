"""The blocking interface: for scripts and threads, refused inside an event loop, cleanly stopped."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator import (
    ApplicationError,
    Context,
    InsideLoop,
    Never,
    NotStarted,
    Orchestrator,
    PromiseCanceled,
    PromiseState,
    Refused,
)
from orchestrator.engine import Engine
from orchestrator.store import MemoryStore, StoreError
from tests.integration.server_support import served

PATIENCE_S = 20


async def double(number: int) -> int:
    return number * 2


async def fail() -> None:
    raise ValueError("no")


async def flow(ctx: Context, number: int) -> int:
    return await ctx.run(double, number) + 1


async def waiting(ctx: Context) -> str:
    return str(await ctx.promise("go"))


def application(url: str = ":memory:", **settings: float) -> Orchestrator:
    return with_functions(Orchestrator.local(url, **settings))  # type: ignore[arg-type]


def with_functions(app: Orchestrator) -> Orchestrator:
    for fn in (double, flow, waiting):
        app.register(fn)
    app.register(fail, retry=Never())
    return app


def test_a_script_runs_functions_and_waits_for_them() -> None:
    with application().sync() as sync:
        assert sync.run("a", flow, 1) == 3
        assert sync.rpc("b", "double", 4) == 8
        handle = sync.begin_run("c", waiting)
        assert not handle.done()
        with pytest.raises(TimeoutError):
            handle.result(timeout_s=0.05)
        sync.promises.resolve("go", "gone")
        assert handle.result(PATIENCE_S) == "gone"
        assert sync.get("c").result() == "gone"
        assert sync.options(tags={"team": "a"}).begin_rpc("d", double, 1).record.tags["team"] == "a"
        assert sync.promises.create("x").pending
        assert [one.id for one in sync.promises.search(tags={"resonate:origin": "x"}).promises] == ["x"]
        assert sync.call(lambda: sync.promises._app.promises.get("x")).pending
        assert repr(handle) == "<SyncHandle c resolved>"


async def test_a_script_works_through_a_server() -> None:
    def script(url: str) -> None:
        with with_functions(Orchestrator.remote(url)).sync() as sync:
            assert sync.run("a", flow, 1) == 3
            handle = sync.begin_run("b", waiting)
            assert not handle.done()
            sync.promises.create("go")
            assert sync.promises.resolve("go", "gone").state is PromiseState.RESOLVED
            assert handle.result(PATIENCE_S) == "gone"
        with Orchestrator.remote(url, worker=False).sync() as later:
            assert later.get("a").result(PATIENCE_S) == 3
            assert later.get("b").result(PATIENCE_S) == "gone"

    async with Engine(MemoryStore()) as engine, served(engine) as url, asyncio.timeout(PATIENCE_S):
        await asyncio.to_thread(script, url)


@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_what_waits_is_ended(how: str) -> None:
    with application().sync() as sync:
        sync.promises.create("go")
        handle = sync.begin_run("c", waiting)
        getattr(handle, how)()
        with pytest.raises(PromiseCanceled):
            handle.result(PATIENCE_S)
        assert sync.promises.terminate("go").state is PromiseState.REJECTED_CANCELED
        assert sync.promises.tree("c")[0].id == "c"


def test_errors_come_through() -> None:
    with application().sync() as sync:
        with pytest.raises(ApplicationError, match="no"):
            sync.run("a", fail)
        with pytest.raises(Refused) as caught:
            sync.get("unknown")
        assert caught.value.status == 404
        with pytest.raises(ValueError, match="exclude"):
            sync.options(delay_s=1, delay_until_ms=1)


def test_many_threads_share_it() -> None:
    with application().sync() as sync, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda number: sync.run(f"w{number}", flow, number), range(64)))
    assert found == [number * 2 + 1 for number in range(64)]


async def test_inside_a_loop_it_says_what_to_use() -> None:
    app = application()
    with pytest.raises(InsideLoop, match=r"asyncio\.to_thread"):
        app.sync().start()
    sync = app.sync()
    await asyncio.to_thread(sync.start)
    try:
        with pytest.raises(InsideLoop):
            sync.run("a", flow, 1)
        assert await asyncio.to_thread(sync.run, "a", flow, 1) == 3
    finally:
        await asyncio.to_thread(sync.stop)


def test_who_waits_is_told_of_the_stop_and_no_thread_is_left() -> None:
    before = set(threading.enumerate())
    sync = application(grace_s=0.05).sync()
    sync.start()
    handle = sync.begin_run("w", waiting)
    told: list[BaseException] = []
    begun = threading.Event()

    def wait() -> None:
        begun.set()
        try:
            handle.result()
        except NotStarted as error:
            told.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(PATIENCE_S)
    sync.stop()
    thread.join(PATIENCE_S)
    assert len(told) == 1
    sync.stop()
    with pytest.raises(NotStarted, match=r"with app\.sync"):
        sync.run("a", flow, 1)
    assert set(threading.enumerate()) - before == set()


def test_it_starts_again_and_remembers(tmp_path: Path) -> None:
    sync = application(f"sqlite:///{tmp_path / 'a.db'}").sync()
    with sync:
        assert sync.run("a", flow, 1) == 3
        with pytest.raises(NotStarted, match="before"):
            sync.start()
    with sync:
        assert sync.get("a").result() == 3


def test_a_start_that_fails_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(StoreError):
        application(f"sqlite:///{tmp_path / 'none' / 'a.db'}").sync().start()
    assert set(threading.enumerate()) - before == set()
