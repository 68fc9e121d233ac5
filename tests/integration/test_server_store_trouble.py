"""A server whose store is full, locked, gone or stopped answers 503; afterwards everything is as it was."""

from __future__ import annotations

import asyncio
import base64
import os
import pwd
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine import Engine
from orchestrator.store import SqliteStore, open_store, sqlite
from tests.integration.auth_support import envelope
from tests.integration.server_support import get, post, served
from tests.postgres_server import WHY_ABSENT, binaries, server

FAR = 2**50
TARGET = {"resonate:target": "poll://any@g"}
BACK_S = 20.0
Fault = Callable[[], Awaitable[None]]


def create(promise_id: str, data: str = "") -> bytes:
    return envelope(
        "promise.create", {"id": promise_id, "timeoutAt": FAR, "tags": TARGET, "param": {"data": data}}
    )


async def everything(url: str) -> Any:
    """Return all promises and tasks."""
    found = []
    for kind in ("promise.search", "task.search"):
        status, answer = await post(url, envelope(kind, {"limit": 1000}))
        assert status == 200, answer
        found.append(answer["data"])
    return found


async def refused(url: str, body: bytes, *words: str) -> None:
    """Be told 503, and why, in one line."""
    status, answer = await post(url, body)
    assert (status, answer["head"]["status"]) == (503, 503), answer
    assert answer["head"]["corrId"]
    assert answer["data"].startswith("Unavailable: store ")
    assert all(word in answer["data"] for word in words), answer["data"]
    assert "\n" not in answer["data"]


async def through(
    url: str, fault: Fault, mend: Fault, *words: str, body: bytes | None = None, reads: bool = False
) -> None:
    """Let a fault come and go: writes are refused meanwhile and leave nothing, then all works again."""
    assert (await post(url, create("before")))[0] == 200
    stood = await everything(url)
    await fault()
    for _ in range(2):
        await refused(url, body or create("meanwhile"), *words)
    if not reads:
        assert (await get(url, "/ready"))[0] == 503
    assert (await get(url, "/health"))[0] == 200
    assert (await get(url, "/metrics"))[0] == 200
    await mend()
    async with asyncio.timeout(BACK_S):
        while (await post(url, create("after")))[0] != 200:  # noqa: ASYNC110  # a store has no event for it
            await asyncio.sleep(0.05)
    assert (await get(url, "/ready"))[0] == 200
    promises, tasks = await everything(url)
    assert [each for each in promises["promises"] if each["id"] != "after"] == stood[0]["promises"]
    assert [each for each in tasks["tasks"] if each["id"] != "after"] == stood[1]["tasks"]


@asynccontextmanager
async def on_file(path: Path) -> AsyncIterator[tuple[str, SqliteStore]]:
    store = SqliteStore(path)
    async with Engine(store) as engine, served(engine) as url:
        yield url, store


async def test_a_full_disk(tmp_path: Path) -> None:
    async with on_file(tmp_path / "s.db") as (url, store):

        async def grow_to(pages: str) -> None:
            assert store._connection is not None
            count = store._connection.execute("PRAGMA page_count").fetchone()[0]
            store._connection.execute(f"PRAGMA max_page_count = {count if pages == 'here' else pages}")

        large = create("meanwhile", "x" * 500_000)
        words = ("full", "make room")
        await through(url, lambda: grow_to("here"), lambda: grow_to("100000"), *words, body=large, reads=True)


async def test_a_file_that_another_program_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.1)
    path = tmp_path / "s.db"
    async with on_file(path) as (url, _):
        other = sqlite3.connect(path, isolation_level=None)

        async def say(statement: str) -> None:
            other.execute(statement)

        await through(url, lambda: say("BEGIN IMMEDIATE"), lambda: say("ROLLBACK"), "locked", "close")
        other.close()


@pytest.mark.parametrize("how", ["moved", "deleted and replaced"])
async def test_a_file_that_is_moved_takes_no_commits(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection would go on writing to it, and nobody would find what was acknowledged."""
    monkeypatch.setattr(sqlite, "LOOK_PAUSE_S", 0.0)
    path, elsewhere = tmp_path / "s.db", tmp_path / "elsewhere.db"
    async with on_file(path) as (url, _):

        async def move() -> None:
            path.rename(elsewhere)
            if how == "deleted and replaced":
                path.write_bytes(b"")

        async def move_back() -> None:
            elsewhere.replace(path)

        await through(url, move, move_back, "moved, deleted or replaced", "put it back")


async def test_a_file_that_may_only_be_read(tmp_path: Path) -> None:
    async with on_file(tmp_path / "s.db") as (url, store):

        async def query_only(value: str) -> None:
            assert store._connection is not None
            store._connection.execute(f"PRAGMA query_only = {value}")

        words = ("readonly", "rights")
        await through(url, lambda: query_only("on"), lambda: query_only("off"), *words, reads=True)


@pytest.mark.skipif(binaries() is None, reason=WHY_ABSENT)
@pytest.mark.parametrize("mode", ["immediate", "fast"])
async def test_a_postgresql_that_is_restarted(mode: str) -> None:
    with server() as own:
        async with Engine(open_store(own.fresh("scores"))) as engine, served(engine) as url:

            async def stop() -> None:
                await asyncio.to_thread(own.stop, mode)

            async def start() -> None:
                await asyncio.to_thread(own.start)

            await through(url, stop, start, "postgresql://")


@contextmanager
def small_disk(size_mib: int, user: str | None) -> Iterator[Path]:
    """A file system of its own, in memory, that is soon full. Only root may make one, and not everywhere."""
    folder = Path(tempfile.mkdtemp(prefix="small-"))
    owner = pwd.getpwnam(user).pw_uid if user is not None else os.geteuid()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,uid={owner}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system of its own can be mounted here: {done.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    finally:
        folder.rmdir()


@pytest.mark.skipif(binaries() is None, reason=WHY_ABSENT)
@pytest.mark.skipif(shutil.which("mount") is None, reason="a full disk needs `mount`")
async def test_a_postgresql_whose_disk_is_full() -> None:
    with server() as own, small_disk(24, own.user) as disk:
        await own.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
        async with (
            Engine(open_store(own.fresh("scores", tablespace="small"))) as engine,
            served(engine) as url,
        ):
            ballast = disk / "ballast"

            async def fill() -> None:
                with suppress(OSError), ballast.open("wb", buffering=0) as file:
                    while True:
                        file.write(bytes(4096))

            async def make_room() -> None:
                ballast.unlink()

            # What chance gives cannot be packed.
            large = create("meanwhile", base64.b64encode(os.urandom(500_000)).decode())
            words = ("No space left on device", "make room")
            await through(url, fill, make_room, *words, body=large, reads=True)


@pytest.mark.skipif(binaries() is None, reason=WHY_ABSENT)
async def test_a_postgresql_that_may_only_be_read() -> None:
    """As one that was made a standby: what it says is handed on."""
    with server() as own:
        async with Engine(open_store(own.fresh("scores"))) as engine, served(engine) as url:

            async def read_only(value: str) -> None:
                await own.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
                await own.execute("SELECT pg_reload_conf()")
                await own.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'scores'"
                )

            await through(url, lambda: read_only("on"), lambda: read_only("off"), "read-only", reads=True)
