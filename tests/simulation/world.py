"""A world in one process and in virtual time: one server, several workers, a client, a human, bad weather.

`simulate(seed)` lets everything go wrong for a while, then lets it calm down, and returns what was seen. The
same seed gives the same run, event by event.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import structlog

from orchestrator import ApplicationError, Handle, Orchestrator, OrchestratorError, PromiseRecord
from orchestrator.domain.task import TaskState
from orchestrator.engine import EngineSettings
from orchestrator.store.memory import MemoryStore
from orchestrator.testing import CALM, FaultyTransport, SeededLoop, VirtualClock, Weather
from tests.simulation.server import Server
from tests.simulation.watch import Watch
from tests.workflow_programs import (
    ANSWER,
    ASKING,
    END,
    Program,
    generate,
    interpret,
    register_programs,
    without_chance,
)

GROUP = "workers"
TTL_MS = 10_000
CALM_AFTER_S = 240.0
PATIENCE_S = 4 * 3600.0
"""Virtual seconds within which a calm world must come to its end (the longest back-off is five minutes)."""
PAUSE_S = 1.0
WISHES_MAX = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one seed means: programs, workers, how bad it gets. Chaos lasts `chaos_s` virtual seconds."""

    seed: int
    programs: list[Program]
    workers: int
    weather: Weather
    troubles: int
    chaos_s: float
    batch_max: int
    commit_s: float
    skew_ms: int
    same_names: bool

    @classmethod
    def of(cls, seed: int) -> Plan:
        """Return the plan of a seed."""
        chance = Random(seed)  # noqa: S311 - a seed makes the case repeatable
        bad = chance.choice([0.0, 0.02, 0.1, 0.25])
        return cls(
            seed=seed,
            programs=[generate(chance, length_max=3, extra=ASKING) for _ in range(chance.randint(1, 3))],
            workers=chance.randint(1, 3),
            weather=Weather(
                lost=bad,
                doubled=chance.choice([0.0, bad, 2 * bad]),
                late=chance.choice([0.0, 0.02, 0.2]),
                delay_s=chance.choice([0.0, 0.01, 0.3]),
                late_s=chance.choice([1.0, TTL_MS / 1000, 3 * TTL_MS / 1000]),
                timeout_s=chance.choice([1.0, 5.0]),
            ),
            troubles=chance.randint(0, 8),
            chaos_s=chance.uniform(1.0, CALM_AFTER_S),
            batch_max=chance.choice([1, 256]),
            commit_s=chance.choice([0.0, 0.005, 0.05]),
            skew_ms=chance.choice([0, 50, 3_000]),
            same_names=chance.random() < 0.3,
        )

    def undisturbed(self) -> Plan:
        """Return the same work in a world where nothing goes wrong."""
        return Plan(
            seed=self.seed,
            programs=self.programs,
            workers=1,
            weather=CALM,
            troubles=0,
            chaos_s=0.0,
            batch_max=256,
            commit_s=0.0,
            skew_ms=0,
            same_names=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a run has shown. `records` are those of W3, `violations` one line each."""

    outcomes: list[object]
    records: dict[str, object]
    violations: list[str]
    trace: list[str]
    digest: str
    executed: dict[str, int]
    commits: int
    passed_s: float


@dataclass(slots=True, kw_only=True)
class SkewedClock:
    """A node's own wall clock, which is wrong by so many milliseconds."""

    clock: VirtualClock
    skew_ms: int

    def now_ms(self) -> int:
        return self.clock.now_ms() + self.skew_ms

    async def sleep_until(self, moment_ms: int) -> None:
        await self.clock.sleep_until(moment_ms - self.skew_ms)


@dataclass(slots=True, kw_only=True)
class Node:
    """A process: its application, and its line to the server, while it lives."""

    name: str
    number: int
    app: Orchestrator | None = None
    line: FaultyTransport | None = None
    lives: int = 0


class World:
    """One run."""

    def __init__(self, plan: Plan, chance: Random, clock: VirtualClock, server_kind: type[Server]) -> None:
        self.plan = plan
        self.chance = chance
        self.clock = clock
        self.store = MemoryStore()
        self.asked: dict[str, None] = {}
        self.watch = Watch(self.store, self.clock.now_ms)
        self.server = server_kind(
            self.store,
            watch=self.watch,
            clock=self.clock,
            chance=self.chance,
            commit_s=plan.commit_s,
            settings=EngineSettings(batch_max=plan.batch_max),
        )
        self.nodes = [Node(name=f"w{number}", number=number) for number in range(1, plan.workers + 1)]
        self.weather = plan.weather
        self.asking = asyncio.Event()
        self.lines: list[FaultyTransport] = []

    async def run(self) -> Seen:
        """Begin the workflows, let chaos reign, calm down, wait for the end."""
        await self.server.start()
        for node in self.nodes:
            await self.start(node)
        client_line = self.line()
        client = self.application(client_line, "client", 0, worker=False)
        async with client, asyncio.TaskGroup() as group:
            human = group.create_task(self.answer(client))
            beginnings = [
                group.create_task(self.begin(client, number)) for number in range(len(self.plan.programs))
            ]
            await self.trouble()
            await self.calm()
            outcomes = await self.end(client, beginnings)
            human.cancel()
            for each in beginnings:
                each.cancel()
        await self.stop()
        return self.seen(outcomes)

    async def end(self, client: Orchestrator, beginnings: list[asyncio.Task[None]]) -> list[object]:
        """Wait until everything has settled; a world that does not come to its end breaks T5."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*beginnings)
                outcomes = [
                    await outcome_of(await self.handle(client, number))
                    for number in range(len(self.plan.programs))
                ]
                while open_ones := self.open_promises():  # noqa: ASYNC110 - seen from outside, like an operator
                    await asyncio.sleep(PAUSE_S)
        except TimeoutError:
            open_ones = self.open_promises()
            tasks = [self.store._tables.tasks.get(key) for key in open_ones]
            self.watch.broken("T5", f"still open after {PATIENCE_S} s: {open_ones} {tasks}")
            return []
        return outcomes

    def open_promises(self) -> list[str]:
        """Return what has not settled, and the tasks that have not ended."""
        tables = self.store._tables
        unfinished = [each.id for each in tables.tasks.values() if each.state is not TaskState.FULFILLED]
        return sorted({each.id for each in tables.promises.values() if each.pending}.union(unfinished))

    # -- nodes

    def line(self) -> FaultyTransport:
        line = FaultyTransport(self.server, self.weather, self.chance)
        self.lines.append(line)
        return line

    def application(self, line: FaultyTransport, pid: str, number: int, *, worker: bool) -> Orchestrator:
        app = Orchestrator(
            transport=line,
            group=GROUP,
            pid=pid,
            ttl_ms=TTL_MS,
            worker=worker,
            clock=SkewedClock(clock=self.clock, skew_ms=number * self.plan.skew_ms),
            chance=self.chance,
        )
        register_programs(app, self.ask, witness=self.watch.witness, delay_s=0.5)
        app.observe(self.watch)
        return app

    async def start(self, node: Node) -> None:
        if node.app is not None:
            return
        node.lives += 1
        name = node.name if self.plan.same_names else f"{node.name}-{node.lives}"
        node.line = self.line()
        node.app = self.application(node.line, name, node.number, worker=True)
        self.watch.note(f"start {name}")
        # A server that is away is waited for, by the node and not by the world.
        starting = asyncio.ensure_future(node.app.start())
        await asyncio.wait((starting,), timeout=PAUSE_S)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            node.app = None

    async def crash(self, node: Node) -> None:
        app, line, node.app = node.app, node.line, None
        if app is None or line is None:
            return
        self.watch.note(f"crash {app.pid}")
        await app.abort()

    async def leave(self, node: Node) -> None:
        app, node.app = node.app, None
        if app is not None:
            self.watch.note(f"stop {app.pid}")
            await app.stop()

    async def stop(self) -> None:
        for node in self.nodes:
            await self.leave(node)
        for line in self.lines:
            await line.close()
        await self.server.close()

    # -- trouble

    async def trouble(self) -> None:
        """Let what the plan says go wrong, at moments of chance."""
        plan, chance = self.plan, self.chance
        moments = sorted(chance.uniform(0, plan.chaos_s) for _ in range(plan.troubles))
        passed_s = 0.0
        for moment_s in moments:
            await asyncio.sleep(moment_s - passed_s)
            passed_s = moment_s
            await self.one_trouble()
        await asyncio.sleep(max(0.0, plan.chaos_s - passed_s))

    async def one_trouble(self) -> None:
        node, length_s = self.chance.choice(self.nodes), self.chance.choice([0.1, 2.0, 15.0, 60.0])
        kind = self.chance.choice(["crash", "crash", "leave", "server", "partition", "blackout", "storm"])
        self.watch.note(f"trouble {kind} {node.name} {length_s}")
        match kind:
            case "crash":
                await self.crash(node)
                await asyncio.sleep(length_s)
                await self.start(node)
            case "leave":
                await self.leave(node)
                await asyncio.sleep(length_s)
                await self.start(node)
            case "server":
                await self.server.crash()
                await asyncio.sleep(length_s)
                await self.server.start()
            case "partition":
                await self.sever([node.line] if node.line is not None else [], length_s)
            case "blackout":
                await self.sever(self.lines, length_s)
            case "storm":
                for line in self.lines:
                    line.weather = Weather(lost=0.5, doubled=0.5, late=0.5, late_s=length_s, timeout_s=2.0)
                await asyncio.sleep(length_s)
                for line in self.lines:
                    line.weather = self.weather

    async def sever(self, lines: list[FaultyTransport], length_s: float) -> None:
        lines = list(lines)
        for line in lines:
            line.severed = True
        await asyncio.sleep(length_s)
        for line in lines:
            line.severed = False

    async def calm(self) -> None:
        self.weather = Weather(timeout_s=self.plan.weather.timeout_s)
        for line in self.lines:
            line.weather, line.severed = self.weather, False
        self.watch.note("calm")
        for node in self.nodes:
            await self.start(node)

    # -- people

    async def ask(self, what: str) -> None:
        """A step tells somebody outside of a promise, or of a call that is to be cancelled."""
        self.asked[what] = None
        self.asking.set()

    async def answer(self, client: Orchestrator) -> None:
        """Somebody outside settles and cancels what was asked for, sooner or later."""
        while True:
            await self.asking.wait()
            self.asking.clear()
            for what in list(self.asked):
                await asyncio.sleep(self.chance.choice([0.0, 0.01, 40.0]))
                while True:
                    try:
                        if what.startswith(END):
                            await client.promises.cancel(what.removeprefix(END))
                        else:
                            await client.promises.resolve(what, ANSWER)
                        break
                    except OrchestratorError:
                        await asyncio.sleep(PAUSE_S)
                self.asked.pop(what, None)

    async def begin(self, client: Orchestrator, number: int) -> None:
        """Begin a workflow, on a worker if chance has it, else from outside; until it is known to exist."""
        node = self.chance.choice(self.nodes)
        name, program = root_of(number), self.plan.programs[number]
        await asyncio.sleep(self.chance.random())
        if self.chance.random() < 0.5 and node.app is not None:
            with suppress(OrchestratorError):
                await node.app.begin_run(name, interpret, program)
                return
        while True:
            try:
                await client.begin_rpc(name, interpret, program)
                return
            except OrchestratorError:
                await asyncio.sleep(PAUSE_S)

    async def handle(self, client: Orchestrator, number: int) -> Handle[Any]:
        while True:
            try:
                return await client.get(root_of(number))
            except OrchestratorError:
                await asyncio.sleep(PAUSE_S)

    def seen(self, outcomes: list[object]) -> Seen:
        stored: dict[str, PromiseRecord] = self.store._tables.promises
        return Seen(
            outcomes=outcomes,
            records=without_chance(stored),
            violations=self.watch.violations,
            trace=self.watch.trace,
            digest=self.watch.digest(),
            executed=self.watch.executed,
            commits=self.watch.commits,
            passed_s=self.clock.passed_s,
        )


def root_of(number: int) -> str:
    return f"root-{number}"


async def outcome_of(handle: Handle[Any]) -> object:
    try:
        return await handle.result()
    except ApplicationError as error:
        return (error.type_name, error.message)


class Interrupted(World):
    """A world in which somebody asks roots and called workflows to end, or ends them, at any moment."""

    async def trouble(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.interrupt())
            await super().trouble()

    async def interrupt(self) -> None:
        chance, line = Random(self.plan.seed), self.line()  # noqa: S311 - a seed makes the case repeatable
        async with self.application(line, "impatient", 0, worker=False) as client:
            for number in range(len(self.plan.programs)):
                await asyncio.sleep(self.plan.chaos_s * chance.random() / len(self.plan.programs))
                tasks = [key for key in self.store._tables.tasks if key.startswith(root_of(number))]
                end = chance.choice(
                    [client.promises.cancel, client.promises.cancel, client.promises.terminate]
                )
                for _ in range(WISHES_MAX):
                    try:
                        await end(chance.choice([root_of(number), *tasks]))
                        break
                    except OrchestratorError:  # not begun yet, or the server is away
                        await asyncio.sleep(PAUSE_S)


def simulate(plan: Plan, server_kind: type[Server] = Server, world: type[World] = World) -> Seen:
    """Run a plan to its end."""
    clock, chance = VirtualClock(), Random(plan.seed)  # noqa: S311 - a seed makes the case repeatable
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    async def main() -> Seen:
        return await world(plan, chance, clock, server_kind).run()

    try:
        return clock.run(main(), SeededLoop(chance, lateness_s=0.001))
    finally:
        structlog.configure(**before)


def faults_of(plan: Plan, server_kind: type[Server] = Server) -> list[str]:
    """Return what is wrong with a run of a plan: violations, and differences from the undisturbed run."""
    seen, expected = simulate(plan, server_kind), simulate(plan.undisturbed())
    faults = [*seen.violations, *(f"undisturbed: {each}" for each in expected.violations)]
    if seen.outcomes and seen.outcomes != expected.outcomes:
        faults.append(f"outcome: {seen.outcomes} instead of {expected.outcomes}")
    if seen.outcomes and seen.records != expected.records:
        different = {
            key: (seen.records.get(key), expected.records.get(key))
            for key in seen.records.keys() | expected.records.keys()
            if seen.records.get(key) != expected.records.get(key)
        }
        faults.append(f"W3: {different}")
    return faults
