"""Several sources in one process: each on its own, each visible, each told in full where it is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from contracts.rpc import Node, NodeUnavailable, RpcError, WrongChain
from listener import Listener, ListenerSettings, SqliteCursorStore, StartBeyondHead
from listener.backoff import Backoff
from listener.incidents import Decision
from listener.metrics import SourcesCollector, health_of
from listener.progress import ProgressCallback
from listener.shapes.event import DEFAULT_ID
from listener.supervisor import HeldSource, Listeners, Phase
from scorers.errors import SettingsError
from scorers.listening import check_sources, settings_of
from scorers.settings import load_settings
from tests.listener_engine import PromiseStore
from tests.listener_node import CHAIN_ID, DAO, StubNode
from tests.unit.test_listener_faults import SETTINGS, until

OTHER = replace(SETTINGS, name="other")


@dataclass(slots=True)
class Stage:
    """Sources on nodes of their own, one engine and one cursor file."""

    store: SqliteCursorStore
    engine: PromiseStore = field(default_factory=PromiseStore)
    nodes: dict[str, StubNode] = field(default_factory=dict)
    faults: dict[str, Exception] = field(default_factory=dict)

    def source(self, settings: ListenerSettings) -> HeldSource:
        node = self.nodes.setdefault(settings.name, StubNode())

        async def opened() -> Node:
            if error := self.faults.get(settings.name):
                raise error
            return cast(Any, node)

        def listener(on: Node, note: ProgressCallback) -> Listener:
            return Listener(settings, on, cast(Any, self.engine), self.store, on_progress=note)

        return HeldSource(settings=settings, open=opened, listener=listener)

    def listeners(self, *settings: ListenerSettings, **more: Any) -> Listeners:
        def pauses() -> Backoff:
            return Backoff(minimum_s=0.001, maximum_s=0.005)

        held = [self.source(each) for each in settings]
        return Listeners(held, self.store, pauses=pauses, decision_poll_s=0.005, **more)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with await SqliteCursorStore.open(tmp_path / "cursor.db") as store:
        yield Stage(store=store)


async def held(listeners: Listeners, play: Callable[[], Any]) -> None:
    stop = asyncio.Event()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(listeners.run(stop))
        try:
            await play()
        finally:
            stop.set()


async def test_a_source_that_fails_parks_and_the_others_go_on(stage: Stage) -> None:
    for fault in (
        WrongChain(CHAIN_ID, 1, "http://stub"),
        NodeUnavailable("http://stub", "gone"),
        StartBeyondHead(5, 1),
        RuntimeError("a fault of this program"),
    ):
        stage.faults = {"": fault}
        listeners = stage.listeners(SETTINGS, OTHER)
        first, second = listeners.statuses

        async def play(first: Any = first, second: Any = second, fault: Exception = fault) -> None:
            await until(lambda: first.phase is Phase.PARKED and second.phase is Phase.RUNNING)
            assert str(fault) in first.reason
            stage.faults = {}
            await until(lambda: first.phase is Phase.RUNNING)

        await held(listeners, play)
        assert listeners.ready


async def test_an_incident_stops_its_source_until_it_is_decided(stage: Stage) -> None:
    settings = replace(SETTINGS, range_blocks=10)
    listeners = stage.listeners(settings, OTHER)
    first, second = listeners.statuses
    node = StubNode()
    stage.nodes[""] = node
    listeners = stage.listeners(settings, OTHER)
    first, second = listeners.statuses

    async def play() -> None:
        await until(lambda: first.progress is not None and first.progress.caught_up)
        node.forks = dict.fromkeys(range(55, 101), 9)
        node.propose(88, 7)
        await until(lambda: first.phase is Phase.STOPPED and second.phase is Phase.RUNNING)
        assert stage.engine.records == {}
        shown = health_of(listeners, 0.0)
        assert shown["ok"] is False
        assert [each["state"] for each in shown["sources"]] == ["stopped", "running"]
        (incident,) = await stage.store.incidents()
        assert shown["sources"][0]["incidents"] == [incident.id]
        stage.nodes["other"].propose(95, 8)
        stage.nodes["other"].head = 110
        await until(lambda: second.progress is not None and second.progress.dispatched == 1)
        await stage.store.decide(incident.id, Decision.REWIND, 1)
        await until(lambda: first.progress is not None and first.progress.dispatched == 1)
        await until(lambda: listeners.ready)

    await held(listeners, play)


async def test_an_incident_outlives_the_process(stage: Stage) -> None:
    node = stage.nodes[""] = StubNode()
    listeners = stage.listeners(SETTINGS)
    status = listeners.statuses[0]

    async def meet() -> None:
        await until(lambda: status.phase is Phase.RUNNING)
        node.fork = 1
        await until(lambda: status.phase is Phase.STOPPED)

    await held(listeners, meet)
    node.fork = 0
    asked = node.asked.total()
    again = stage.listeners(SETTINGS)

    async def stays() -> None:
        await until(lambda: again.statuses[0].phase is Phase.STOPPED)
        assert node.asked.total() == asked, "nothing is read before somebody has decided"
        (incident,) = await stage.store.incidents()
        await stage.store.decide(incident.id, Decision.RETRY, 1)
        await until(lambda: again.ready)

    await held(again, stays)


async def test_a_single_source_that_was_mistyped_raises(stage: Stage) -> None:
    stage.faults = {"": WrongChain(CHAIN_ID, 1, "http://stub")}
    with pytest.raises(RpcError, match="serves chain 1"):
        await stage.listeners(SETTINGS, strict=True).run(asyncio.Event())


async def test_the_numbers_of_all_sources_are_shown(stage: Stage) -> None:
    stage.faults = {"other": NodeUnavailable("http://stub", "gone")}
    listeners = stage.listeners(SETTINGS, OTHER)
    first, second = listeners.statuses
    stage.nodes[""].propose(50, 1)

    async def play() -> None:
        await until(lambda: first.phase is Phase.RUNNING and second.phase is Phase.PARKED)

    await held(listeners, play)
    registry = CollectorRegistry()
    registry.register(SourcesCollector(listeners, lambda: 90 * 12 + 5.0))
    text = generate_latest(registry).decode()
    for line in (
        f'listener_head_block{{chain="777",source="{DAO}"}} 100.0',
        f'listener_cursor_block{{chain="777",source="{DAO}"}} 90.0',
        f'listener_lag_seconds{{chain="777",source="{DAO}"}} 5.0',
        f'listener_dispatched_total{{chain="777",source="{DAO}"}} 1.0',
        'listener_source_state{chain="777",source="other",state="parked"} 1.0',
        'listener_incidents_open{chain="777",source="other"} 0.0',
    ):
        assert line in text


# -- the configuration

GOOD = """
[[sources]]
name = "dao"
chain_id = 1
contract = "0xDADADADADADADADADADADADADADADADADADADADA"
registry = "0x5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c"
finality = 64

[[sources]]
name = "transfers"
kind = "event"
chain_id = 10
rpc = ["http://one.example", "http://two.example"]
contract = "0xdadadadadadadadadadadadadadadadadadadada"
event = "Transfer(address indexed from, address indexed to, uint value)"
function = "on_transfer"
group = "handlers"
arguments = { sender = "from", amount = "value" }
"""


def configured(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "dao-scorer.toml"
    path.write_text(text)
    return load_settings(path)


def test_sources_are_read_from_the_file(tmp_path: Path) -> None:
    settings = configured(tmp_path, 'finality = "tag"\n' + GOOD)
    check_sources(settings)
    dao, transfers = (settings_of(settings, each) for each in settings.sources)
    assert (dao.dao, dao.finality_depth, dao.target) == (DAO, 64, f"poll://any@{settings.group}")
    assert (transfers.finality_depth, transfers.function) == (None, "on_transfer")
    assert transfers.target == "poll://any@handlers"
    assert settings.sources[1].rpc == ("http://one.example", "http://two.example")
    assert settings.sources[1].handler().promise_id == DEFAULT_ID


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ('registry = "0x5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c"\n', "", "needs the registry"),
        ("finality = 64", "finality = -1", "must be tag, or how many blocks"),
        ("finality = 64", 'finality = "safe"', "must be tag, or how many blocks"),
        ('kind = "event"', 'kind = "log"', "'dao' or 'event'"),
        ('function = "on_transfer"\n', "", "needs event and function"),
        ("uint value)", "uint300 value)", "uint300 is no type"),
        ("uint value)", "uint)", "is no parameter"),
        ('amount = "value"', 'amount = "worth"', "has no 'worth'"),
        ('group = "handlers"', 'id = "t-{value}"', "must hold {chain_id} and {contract}"),
        ('group = "handlers"', 'id = "t-{chain_id}-{contract}"', "must hold a parameter"),
        ('group = "handlers"', 'id = "t-{chain_id}-{contract}-{block_number}"', "cannot hold {block_number}"),
        ('group = "handlers"', 'id = "a:b"', "may hold letters"),
        ('group = "handlers"', 'id = ""', "may hold letters"),
        ('group = "handlers"', 'abi = "/nowhere.json"', "No such file"),
        ('group = "handlers"', "colour = 1", "is not a known setting"),
        ("chain_id = 10", "", "Field required"),
    ],
)
def test_a_source_names_its_fault(tmp_path: Path, was: str, now: str, told: str) -> None:
    assert was in GOOD
    with pytest.raises(SettingsError) as caught:
        configured(tmp_path, GOOD.replace(was, now))
    assert told in str(caught.value)
    assert "sources.0" in str(caught.value) or "sources.1" in str(caught.value)


def test_sources_and_flags_do_not_mix(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="two sources are named dao"):
        check_sources(configured(tmp_path, GOOD.replace('name = "transfers"', 'name = "dao"')))
    with pytest.raises(SettingsError, match="list the DAO as one of the sources"):
        check_sources(configured(tmp_path, f'dao = "{DAO}"\n' + GOOD))
    with pytest.raises(SettingsError, match="missing"):
        check_sources(configured(tmp_path, ""))
