"""The composition root: an application with its transport, its worker and their common lifetime."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from random import Random
from types import TracebackType
from typing import Self, TypedDict, Unpack

import structlog

from orchestrator.client.application import THREADS_MAX, Application, NotStarted
from orchestrator.client.clock import Clock
from orchestrator.client.encryption import Encryptor
from orchestrator.client.history import History, fetch_history
from orchestrator.client.listening import REFRESH_S, Subscriptions
from orchestrator.client.processes import PROCESSES_MAX
from orchestrator.client.replaying import Replay, replay
from orchestrator.client.sealing import SealingTransport
from orchestrator.client.surroundings import Surroundings
from orchestrator.domain.address import only
from orchestrator.domain.errors import Refused, Unavailable
from orchestrator.protocol.commands import Describe
from orchestrator.protocol.transport import Transport
from orchestrator.synchronous import SyncOrchestrator
from orchestrator.transport.token import NoToken, Token
from orchestrator.worker import (
    KEPT_MAX,
    PushResult,
    Worker,
    WorkerSettings,
    check_push,
    execute_pushed,
    unreachable,
)

DEFAULT_GROUP = "default"
TTL_MS = 10_000
PUSH_LIMIT_S = 60.0
MEMORY = ":memory:"
ASK_PAUSE_S = 0.5
AWAY_S = 2.0
"""A server that is away for longer than this at the start is told of."""
LOOK_AT_IT = "look at the server, it is asked again and again"
PUT_ONE = "put a token there, it is asked for again and again"
CLIENTS = "-clients"
LOCAL_REFRESH_S = 3_600.0
"""Within one process no message is lost on the way."""
_log = structlog.get_logger(__name__)

Opening = Callable[[], AbstractAsyncContextManager[Transport]]


class ApplicationSettings(TypedDict, total=False):
    """What every application may be given, wherever its engine is.

    `group` is whose tasks it executes ("default"), `pid` names this process among them (random), `ttl_ms`
    is the lease of its tasks (10 s). With `worker=False` it only invokes and listens. `concurrency` tasks
    are executed at once (64), `threads_max` plain functions run in threads (32) and `processes_max` in
    processes (one a core), `grace_s` is what a stop leaves to running ones (5 s). `kept_max` suspended
    workflows stay in memory (256), so that a wait costs no replay. `encryptor` (a `Keyring`, say)
    encrypts every value before it leaves this process. `chance` is where random numbers come from (the
    system's), `refresh_s` after how long an outcome that is waited for is asked for again, should its
    message have been lost (15 s; an hour without a network).
    """

    group: str
    pid: str | None
    ttl_ms: int
    worker: bool
    concurrency: int
    grace_s: float
    kept_max: int
    threads_max: int
    processes_max: int
    encryptor: Encryptor | None
    chance: Random | None
    refresh_s: float


class Orchestrator(Application):
    """Durable functions in this process: register them, start, invoke.

    Use as `async with app:`. `transport` is the caller's own to close; `local` and `remote` make one that
    lives as long as the application runs.
    """

    def __init__(
        self,
        *,
        transport: Transport | None = None,
        opening: Opening | None = None,
        clock: Clock | None = None,
        **settings: Unpack[ApplicationSettings],
    ) -> None:
        ttl_ms = settings.get("ttl_ms", TTL_MS)
        super().__init__(
            group=settings.get("group", DEFAULT_GROUP),
            pid=settings.get("pid"),
            ttl_ms=ttl_ms,
            clock=clock,
            threads_max=settings.get("threads_max", THREADS_MAX),
            processes_max=settings.get("processes_max", PROCESSES_MAX),
            chance=settings.get("chance"),
            refresh_s=settings.get("refresh_s", REFRESH_S),
        )
        if opening is None:
            if transport is None:
                raise TypeError(
                    "give a transport, or use Orchestrator.local(...) or Orchestrator.remote(...)"
                )
            opening = _borrowed(transport)
        self._given = settings
        self._unsealed: Transport | None = None
        self._opening: Opening = opening
        self._settings = WorkerSettings(
            ttl_ms=ttl_ms,
            concurrency=settings.get("concurrency", 64),
            grace_s=settings.get("grace_s", 5.0),
            kept_max=settings.get("kept_max", KEPT_MAX),
        )
        self._works = settings.get("worker", True)
        self._encryptor = settings.get("encryptor")
        self._life: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @classmethod
    def local(cls, url: str, *, clock: Clock | None = None, **settings: Unpack[ApplicationSettings]) -> Self:
        """Return an application with an engine of its own on the store at `url`.

        `sqlite:///scores.db` keeps it in a file, `:memory:` nowhere. Starting raises StoreError if the file
        cannot be used, for example because another process owns it. The rest are ApplicationSettings.
        """
        settings = {"refresh_s": LOCAL_REFRESH_S, **settings}
        return cls._opened(lambda: _embedded(url, clock), clock=clock, **settings)

    @classmethod
    def remote(cls, url: str, *, token: Token | None = None, **settings: Unpack[ApplicationSettings]) -> Self:
        """Return an application on the server at `url`; `token` is its bearer token.

        A token may be a file or a function, plain or async, that is asked again when the server believes
        the last one no more. The rest are ApplicationSettings.
        """
        return cls._opened(lambda: _over_http(url, token), **settings)

    @classmethod
    def at(cls, url: str, *, token: Token | None = None, **settings: Unpack[ApplicationSettings]) -> Self:
        """Return `remote` for an `http` or `https` URL, `local` for any other, which takes no token.

        So one program runs by itself or beside others, as its user says.
        """
        if url.startswith(("http://", "https://")):
            return cls.remote(url, token=token, **settings)
        return cls.local(url, **settings)

    @classmethod
    def _opened(
        cls, opening: Opening, *, clock: Clock | None = None, **settings: Unpack[ApplicationSettings]
    ) -> Self:
        return cls(opening=opening, clock=clock, **settings)

    def sync(self) -> SyncOrchestrator:
        """Return this application for code that is not async; use as `with app.sync() as sync:`."""
        return SyncOrchestrator(self)

    def twin(
        self, opening: Opening, *, clock: Clock | None = None, **settings: Unpack[ApplicationSettings]
    ) -> Self:
        """Return another application with the functions, dependencies and observers of this one.

        It reaches its engine by `opening`; `settings` replace those of this one, except for its pid.
        """
        merged: ApplicationSettings = {**self._given, "pid": None, **settings}
        twin = self._opened(opening, clock=clock, **merged)
        twin._share(self)
        return twin

    async def history(self, promise_id: str, *, also: Sequence[str] = ()) -> History:
        """Return the recorded execution to which a promise belongs, its values as they are stored.

        `also` are promises with ids of their own that it awaits. Raises Refused(404) for an unknown one.
        """
        around = self._started()
        transport = self._unsealed if self._unsealed is not None else around.transport
        return await fetch_history(transport, promise_id, now_ms=self._clock.now_ms(), also=also)

    async def replay(self, history: History) -> list[Replay]:
        """Replay a recorded execution on the functions registered here; none of them is executed.

        Needs no engine, and the application need not run. Returns how each workflow of the tree repeated its
        record, differences included. Raises NotRegistered where the function of its root is not known here.
        """

        def around(transport: Transport) -> Surroundings:
            return self._surrounded_by(transport, Subscriptions(transport, only(self.group, self.pid)))

        return await replay(around, history, history.records(self._encryptor))

    async def start(self) -> None:
        """Connect and begin to work. A server that is away is waited for."""
        if self._life is not None:
            raise NotStarted("the application has been started before")
        self._stopping = asyncio.Event()
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(ready), name=f"orchestrator {self.group}/{self.pid}")
        try:
            await asyncio.wait((ready, self._life), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self.abort()
            raise
        if self._life.done():
            life, self._life = self._life, None
            life.result()

    async def stop(self) -> None:
        """Take no more tasks, let running ones finish within the grace period, release the rest."""
        if self._life is None:
            return
        self._stopping.set()
        try:
            await self._life
        finally:
            self._life = None

    async def abort(self) -> None:
        """Stop at once, as if the process had ended: nothing is released, nothing is waited for."""
        if self._life is None:
            return
        life, self._life = self._life, None
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)

    async def handle_push(
        self,
        body: bytes,
        authorization: str | None = None,
        *,
        token: str | None,
        limit_s: float = PUSH_LIMIT_S,
    ) -> PushResult:
        """Execute the task that a server's message announces, in this call; nothing is held afterwards.

        For a function that is called by HTTP: the application is not started, and opens a connection of its
        own for each call. `body` is what was posted, `authorization` that header, which must carry `token`:
        without one nobody is let in. A task that is not through after `limit_s` seconds is given back and
        goes on, behind its last finished step, with the next message. Never raises for what was posted.
        """
        message = check_push(body, authorization, token)
        if isinstance(message, PushResult):
            return message
        async with self._opening() as opened:
            transport = self._sealing(opened)
            around = self._surrounded_by(transport, Subscriptions(transport, ""))
            try:
                around.extensions = frozenset((await transport.call(Describe())).extensions)
            except Refused:
                around.extensions = frozenset()
            except Unavailable as error:
                return unreachable(message.task.id, error)
            return await execute_pushed(around, self._settings, message.task, limit_s=limit_s)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    async def _live(self, ready: asyncio.Future[None]) -> None:
        try:
            async with self._opening() as transport:
                await self._serve(self._sealing(transport), ready)
        finally:
            around, self._surroundings, self._runner = self._surroundings, None, None
            if around is not None:
                around.subscriptions.fail_all(
                    NotStarted("the application has stopped; ask again with app.get(id)")
                )
            if self._processes is not None:
                await self._processes.close()
                self._processes = None
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)
                self._threads = None

    def _sealing(self, transport: Transport) -> Transport:
        self._unsealed = transport
        return transport if self._encryptor is None else SealingTransport(transport, self._encryptor)

    async def _serve(self, transport: Transport, ready: asyncio.Future[None]) -> None:
        # A member of the group is sent its tasks: who does not execute them must not stand among the workers.
        member_of = self.group if self._works else self.group + CLIENTS
        around = self._surround(transport, member_of)
        worker = Worker(around, self._settings)
        around.extensions = await self._extensions(transport)
        receive = worker.receive if self._works else around.subscriptions.receive
        async with transport.connect(member_of, self.pid, receive), asyncio.TaskGroup() as group:
            refreshing = group.create_task(around.subscriptions.refresh_forever())
            working = group.create_task(worker.run(self._stopping))
            # The worker is ready once its task has run up to its first wait.
            await asyncio.sleep(0)
            self._runner = worker if self._works else None
            if not ready.done():
                ready.set_result(None)
            await asyncio.wait((working,))
            refreshing.cancel()

    async def _extensions(self, transport: Transport) -> frozenset[str]:
        """Return what the engine offers beyond the published protocol, waiting for one that is away."""
        loop = asyncio.get_running_loop()
        told_at = loop.time() + AWAY_S
        while not self._stopping.is_set():
            try:
                return frozenset((await transport.call(Describe())).extensions)
            except Refused:
                return frozenset()
            except Unavailable as error:
                # A server that is not reached at all is told of by its transport.
                if loop.time() >= told_at and not error.told:
                    told_at = float("inf")
                    away, remedy = _away(error)
                    _log.warning(away, waiting=True, reason=str(error), remedy=remedy)
                await asyncio.sleep(ASK_PAUSE_S)
        return frozenset()


def _away(error: Unavailable) -> tuple[str, str]:
    """Return what is away, as the log's event, and what to do."""
    return ("token_away", PUT_ONE) if isinstance(error, NoToken) else ("server_away", LOOK_AT_IT)


def _borrowed(transport: Transport) -> Opening:
    return lambda: nullcontext(transport)


@asynccontextmanager
async def _embedded(url: str, clock: Clock | None) -> AsyncIterator[Transport]:
    # Imported here: whoever only calls a server needs neither store nor engine.
    from orchestrator.engine import Engine  # noqa: PLC0415
    from orchestrator.store import open_store  # noqa: PLC0415
    from orchestrator.transport.local import LocalTransport  # noqa: PLC0415

    async with Engine(open_store("sqlite:///:memory:" if url == MEMORY else url), clock=clock) as engine:
        transport = LocalTransport(engine)
        try:
            yield transport
        finally:
            await transport.close()


@asynccontextmanager
async def _over_http(url: str, token: Token | None) -> AsyncIterator[Transport]:
    from orchestrator.transport.http import HttpTransport  # noqa: PLC0415

    transport = HttpTransport(url, token=token)
    try:
        yield transport
    finally:
        await transport.close()
