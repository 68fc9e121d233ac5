"""From settings to listeners: the one source that flags name, or all that a configuration file lists."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.registry import Collector

from contracts.rpc import Node
from contracts.rpc.metrics import PoolsCollector
from contracts.rpc.pool import Pool
from listener import FilterCheck, InvalidSettings, Listener, ListenerSettings, Source, SqliteCursorStore
from listener.invocation import FUNCTION
from listener.metrics import SourcesCollector, health_of
from listener.progress import ProgressCallback
from listener.shapes import DaoShape, EventShape, Shape
from listener.store import CursorStore
from listener.supervisor import HeldSource, Listeners
from listener.wakeup import HeadsWatch
from orchestrator import Orchestrator
from orchestrator.server import ServerSettings, create_status_app, listening
from scorers import composition
from scorers.errors import NotReady, SettingsError
from scorers.readiness import check_registry
from scorers.settings import Settings, require, token_of
from scorers.sources import SourceSettings, depth_of


class NodeDirectory:
    """The nodes of a process, each opened when it is first asked for and shared by whoever names the same.

    Nodes stay open until `stack` is left.
    """

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._nodes: dict[tuple[tuple[str, ...], int], Node] = {}
        self._opening = asyncio.Lock()

    async def node(self, urls: tuple[str, ...], chain_id: int) -> Node:
        """Return the open node of these endpoints. Raises RpcError."""
        async with self._opening:
            key = (urls, chain_id)
            if key not in self._nodes:
                node = composition.node_at(self._settings, urls, chain_id)
                self._nodes[key] = await self._stack.enter_async_context(node)
            return self._nodes[key]

    def pools(self) -> list[Pool]:
        """Return the pools of the nodes that are open by now."""
        return [node.pool for node in self._nodes.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """The listeners of a process, what wakes them, and the pools of the nodes that they have opened."""

    listeners: Listeners
    watches: Sequence[HeadsWatch]
    pools: Callable[[], Sequence[Pool]]

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until `stop` is set. Raises what is wrong with the only source at its start."""
        ending = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for watch in self.watches:
                group.create_task(watch.run(ending))
            try:
                await self.listeners.run(stop)
            finally:
                ending.set()

    @property
    def where(self) -> str:
        """What is listened to, for a line that says so."""
        return ", ".join(str(each.settings.source) for each in self.listeners.statuses)


@asynccontextmanager
async def listening_of(settings: Settings, app: Orchestrator, node: Node | None) -> AsyncIterator[Listening]:
    """Hold the listeners of a configuration; `node` is that of the flags' only source, and open.

    Raises SettingsError where neither a DAO nor any source is configured.
    """
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(await SqliteCursorStore.open(settings.cursor))
        nodes = NodeDirectory(settings, stack)
        builder = _Builder(settings, app, store, nodes)
        if settings.sources:
            held = [builder.held(each) for each in settings.sources]
        else:
            assert node is not None  # noqa: S101 - the caller opens it where there are no sources
            held = [await builder.flagged(node)]
        yield Listening(
            listeners=Listeners(held, store, strict=not settings.sources),
            watches=builder.watches(),
            pools=lambda: [*([] if node is None else [node.pool]), *nodes.pools()],
        )


@asynccontextmanager
async def cursor_store(settings: Settings) -> AsyncIterator[SqliteCursorStore]:
    """Hold the cursor file open. Raises SettingsError where there is none: looking must not make one."""
    path = settings.cursor.removeprefix("sqlite:///")
    if not await asyncio.to_thread(Path(path).exists):
        raise SettingsError(f"there is no cursor file {path}: start the listener, or correct --cursor")
    async with await SqliteCursorStore.open(path) as store:
        yield store


async def source_named(settings: Settings, store: SqliteCursorStore, name: str | None) -> Source:
    """Return the source of a name, or else that of the configured DAO, among those with a cursor.

    Raises SettingsError where it is not exactly one.
    """
    known = [source for source, _ in await store.cursors()]
    if name is None:
        found = [each for each in known if not each.name and settings.dao in (None, each.dao)]
    else:
        found = [each for each in known if each.name == name]
    if len(found) != 1:
        names = ", ".join(each.name or each.dao for each in known) or "none"
        raise SettingsError(f"{len(found)} sources are meant: choose by --source or --dao among {names}")
    return found[0]


def check_sources(settings: Settings) -> None:
    """Raise SettingsError unless something is configured to be listened to, and only in one way."""
    if not settings.sources:
        require(settings, "dao", "registry")
        return
    if settings.dao is not None:
        raise SettingsError("dao and sources are both configured: list the DAO as one of the sources")
    names = [each.name for each in settings.sources]
    if twice := sorted({each for each in names if names.count(each) > 1}):
        raise SettingsError(f"two sources are named {twice[0]}: a name is what tells them apart")


async def listener_settings(settings: Settings, node: Node) -> ListenerSettings:
    """Return what the listener of the flags' DAO needs to know. Raises SettingsError, RpcError."""
    require(settings, "dao", "registry")
    assert settings.dao is not None and settings.registry is not None  # noqa: S101, PT018 - required above
    return ListenerSettings(
        chain_id=settings.chain_id or await node.chain_id(),
        dao=settings.dao,
        registry=settings.registry,
        start_block=settings.start_block,
        target=f"poll://any@{settings.group}",
        poll_interval_s=settings.poll_interval,
        finality_depth=depth_of(settings.finality),
        filter_check=FilterCheck(settings.filter_check),
    )


@asynccontextmanager
async def listener_of(
    settings: Settings, node: Node, app: Orchestrator, on_progress: ProgressCallback | None = None
) -> AsyncIterator[Listener]:
    """Hold a listener with its cursor file open. Raises SettingsError without DAO and registry."""
    chosen = await listener_settings(settings, node)
    async with await SqliteCursorStore.open(settings.cursor) as store:
        yield Listener(chosen, node, app, store, on_progress=on_progress)


def settings_of(settings: Settings, source: SourceSettings) -> ListenerSettings:
    """Return what a source's listener needs to know; where it says nothing, what the settings say."""
    return ListenerSettings(
        chain_id=source.chain_id,
        dao=source.contract,
        registry=source.registry,
        name=source.name,
        start_block=source.start_block,
        target=f"poll://any@{source.group or settings.group}",
        range_blocks=source.range_blocks,
        poll_interval_s=source.poll_interval or settings.poll_interval,
        finality_depth=depth_of(source.finality or settings.finality),
        filter_check=FilterCheck(source.filter_check or settings.filter_check),
        function=source.function or FUNCTION,
    )


def nodes_of(settings: Settings, source: SourceSettings) -> tuple[str, ...]:
    """Return the endpoints of a source."""
    return settings.rpc_urls if source.rpc is None else tuple(source.rpc)


def shape_of(source: SourceSettings, chosen: ListenerSettings) -> Shape:
    """Return what a source listens for."""
    if source.kind == "event":
        return EventShape(chosen, source.handler())
    return DaoShape(chosen, probing=True)


class _Builder:
    """Makes sources out of settings."""

    def __init__(
        self, settings: Settings, app: Orchestrator, store: CursorStore, nodes: NodeDirectory
    ) -> None:
        self._settings = settings
        self._app = app
        self._store = store
        self._nodes = nodes
        self._wakes: dict[str, list[asyncio.Event]] = {}

    async def flagged(self, node: Node) -> HeldSource:
        """Return the source that flags name."""
        chosen = await listener_settings(self._settings, node)

        async def opened() -> Node:
            return node

        return self._held(chosen, opened, self._settings.websocket, lambda: DaoShape(chosen, probing=True))

    def held(self, source: SourceSettings) -> HeldSource:
        """Return a source of the configuration file."""
        chosen, urls = settings_of(self._settings, source), nodes_of(self._settings, source)

        async def opened() -> Node:
            node = (await self._nodes.node(urls, chosen.chain_id)).with_finality(chosen.finality_depth)
            if chosen.registry is not None:
                try:
                    await check_registry(node, chosen.registry, chosen.dao)
                except NotReady as error:
                    raise InvalidSettings("registry", str(error)) from error
            return node

        return self._held(chosen, opened, source.websocket, lambda: shape_of(source, chosen))

    def watches(self) -> list[HeadsWatch]:
        """Return what wakes the sources: one connection for all that name the same WebSocket."""
        return [HeadsWatch(url, events) for url, events in self._wakes.items()]

    def _held(
        self,
        chosen: ListenerSettings,
        opened: Callable[[], Awaitable[Node]],
        websocket: str | None,
        shape: Callable[[], Shape],
    ) -> HeldSource:
        wake = None if websocket is None else asyncio.Event()
        if websocket is not None and wake is not None:
            self._wakes.setdefault(websocket, []).append(wake)

        def listener(node: Node, on_progress: ProgressCallback) -> Listener:
            return Listener(
                chosen, node, self._app, self._store, shape=shape(), on_progress=on_progress, wake=wake
            )

        return HeldSource(settings=chosen, open=opened, listener=listener)


@asynccontextmanager
async def status_served(settings: Settings, served: Listening) -> AsyncIterator[str | None]:
    """Serve health and metrics of the listeners where a port is configured; yields the URL."""
    if settings.metrics_port is None:
        yield None
        return
    chosen = ServerSettings(
        host=settings.host,
        port=settings.metrics_port,
        token=token_of(settings),
        open_metrics=settings.open_metrics,
    )
    collectors: list[Collector] = [
        SourcesCollector(served.listeners, time.time),
        PoolsCollector(served.pools),
    ]
    app = create_status_app(chosen, lambda: health_of(served.listeners, time.time()), collectors)
    async with listening(app) as url:
        yield url
