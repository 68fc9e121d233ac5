"""The whole house in one process and in virtual time: a chain, its nodes, listeners, a server and workers.

Real contracts on the local chain, the real listener, engine, scoring and sending. Blocks come every twelve
seconds; proposals are made and voted on; nodes lie, lag, lose and forget, unfinalised blocks are replaced,
the server and every process die. `live` lets it all go wrong for so many blocks, then calms down and waits
until nothing is left to do.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import structlog

from contracts.artifacts import load
from contracts.bindings import Log, deploy_data, proposal_scores, reputation_dao
from contracts.deployment import RegistryTerms
from contracts.rpc import Node, PoolSettings, RpcError
from contracts.rpc.records import parse_logs
from contracts.transactions import SendingPolicy, Signer
from hardhat_free_chain import ChainSettings, deterministic_accounts
from hardhat_free_chain.endpoint import Endpoint
from hardhat_free_chain.faults import (
    BrokenBatch,
    ConnectionReset,
    CutReply,
    ForgottenTransactions,
    HttpFailure,
    Latency,
    LostReply,
    OtherMempool,
    RangeLimit,
    RateLimit,
    Refusal,
    Rule,
    StaleHead,
    TruncatedLogs,
)
from listener import Listener, ListenerSettings, Progress, SqliteCursorStore
from listener.shapes import DaoShape
from listener.supervisor import HeldSource, Listeners
from orchestrator import Orchestrator
from orchestrator.domain.promise import PromiseState
from orchestrator.domain.task import TaskState
from orchestrator.engine import EngineSettings
from orchestrator.store.memory import MemoryStore
from orchestrator.testing import FaultyTransport, SeededLoop, VirtualClock
from orchestrator.testing import Weather as NetworkWeather
from scorers.batches.gathering import Batching
from scorers.registration import register_scoring
from tests.simulation.server import Server
from tests.simulation.watch import Watch
from tests.simulation.wire import ChainInside

CHAIN_ID = 31337
BLOCK_S = 12
HOUR_BLOCKS = 3_600 // BLOCK_S
FINALITY_LAG = 8
VOTING_BLOCKS = 20
PATIENCE_BLOCKS = 1_200
ACCOUNTS = [(address.lower(), str(key)) for address, key in deterministic_accounts(8)]
ADMIN, SCORER, VOTERS = 0, 1, (2, 3, 4, 5)
WEIGHTS = (1000, 300, 70, 5)
GAS = 10_000_000
GROUP = "proposal-scorers"
SENDING = SendingPolicy(poll_ms=2_000)
STORMS: tuple[tuple[Rule, ...], ...] = (
    (LostReply(probability=0.3),),
    (LostReply(probability=0.3, executed=False), Latency(seconds=0.5, jitter=3.0)),
    (ConnectionReset(probability=0.4), CutReply(probability=0.2)),
    (HttpFailure(status=503, probability=0.5), HttpFailure(status=502, probability=0.2)),
    (RateLimit(requests=5, seconds=10.0),),
    (StaleHead(blocks=4, probability=0.5), OtherMempool(probability=0.5)),
    (StaleHead(blocks=12),),
    (ForgottenTransactions(probability=0.7),),
    (Refusal(methods=("eth_sendRawTransaction",), code=-32000, message="nonce too low", executed=True),),
    (
        Refusal(
            methods=("eth_sendRawTransaction",), code=-32000, message="replacement transaction underpriced"
        ),
    ),
    (Refusal(probability=0.3, code=-32000, message="something nobody has ever read"),),
    # No more in a row than votes are read again before their sum is believed to be another than the DAO's.
    (TruncatedLogs(keep=0, times=2), RangeLimit(provider="alchemy", blocks=3)),
    (TruncatedLogs(share=0.5, times=3), BrokenBatch(shuffled=True, missing=0.1)),
)


@dataclass(slots=True, kw_only=True)
class Process:
    """A listener or a worker: what ends it, while it lives."""

    name: str
    kill: Any = None
    lives: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What there is when nothing is left to do, and what happened on the way."""

    proposals: int
    faults: list[str]
    events: Counter[str]
    waited_blocks: int


@dataclass(kw_only=True)
class House:
    """One run."""

    seed: int
    folder: Path
    clock: VirtualClock
    chance: Random
    store: MemoryStore = field(default_factory=MemoryStore)
    events: Counter[str] = field(default_factory=Counter)
    lines: list[FaultyTransport] = field(default_factory=list)
    addresses: list[Endpoint] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    progress: dict[str, Progress] = field(default_factory=dict)
    dao: str = ""
    registry: str = ""
    calm: bool = False
    batched: bool = False
    network: NetworkWeather = field(default_factory=NetworkWeather)

    def __post_init__(self) -> None:
        chance, clock = self.chance, self.clock
        self.inside = ChainInside(
            ChainSettings(chain_id=CHAIN_ID, finality_lag=FINALITY_LAG), lambda: clock.now_ms() / 1000
        )
        self.watch = Watch(self.store, clock.now_ms)
        self.server = Server(
            self.store,
            watch=self.watch,
            clock=clock,
            chance=chance,
            commit_s=0.005,
            settings=EngineSettings(),
        )
        self.batched = chance.random() < 0.5
        bad = chance.choice([0.0, 0.02, 0.1])
        self.network = NetworkWeather(lost=bad, doubled=bad, late=bad, delay_s=0.05, late_s=20.0)
        self.processes = [Process(name=name) for name in ("listener-1", "listener-2", "worker-1", "worker-2")]

    # -- the chain

    def transact(self, account: int, to: str | None, data: bytes) -> str:
        """Send a transaction by the chain's own hand; return its hash."""
        fields = {"from": ACCOUNTS[account][0], "data": "0x" + data.hex(), "gas": hex(GAS)}
        sent: str = self.inside.request("eth_sendTransaction", fields | ({"to": to} if to else {}))
        return sent

    def found(self) -> None:
        """Deploy DAO and registry, and give the voters their weights."""
        admin = ACCOUNTS[ADMIN][0]
        self.dao = self._deployed(deploy_data(load("ReputationDao"), admin, VOTING_BLOCKS, 0))
        terms = RegistryTerms()
        self.registry = self._deployed(
            deploy_data(
                load("ProposalScores"),
                self.dao,
                admin,
                0,
                terms.quorum,
                terms.challenge_window_s,
                terms.rules,
            )
        )
        grant = (proposal_scores.SCORER_ROLE, ACCOUNTS[SCORER][0])
        self.transact(ADMIN, self.registry, proposal_scores.GRANT_ROLE.encode(*grant))
        voters = [ACCOUNTS[each][0] for each in VOTERS]
        self.transact(ADMIN, self.dao, reputation_dao.SET_REPUTATIONS.encode(voters, list(WEIGHTS)))
        for _ in range(FINALITY_LAG):
            self.inside.chain.mine()
        self.inside.chain.auto_mine = False

    def _deployed(self, data: bytes) -> str:
        receipt = self.inside.request("eth_getTransactionReceipt", self.transact(ADMIN, None, data))
        assert receipt["status"] == "0x1", receipt
        return str(receipt["contractAddress"]).lower()

    def logs(self, address: str, topic: bytes, first: int = 0) -> list[Log]:
        """Read logs of the chain itself, up to its head."""
        wanted = {"address": address, "topics": ["0x" + topic.hex()], "fromBlock": hex(first)}
        return parse_logs(self.inside.request("eth_getLogs", wanted))

    def proposals(self, first: int = 0) -> list[int]:
        """Return the proposals on the chain that were made in block `first` or later."""
        created = reputation_dao.PROPOSAL_CREATED
        return [created.decode(log).proposal_id for log in self.logs(self.dao, created.topic0, first)]

    def people(self) -> None:
        """Make proposals, and vote."""
        if self.chance.random() < 0.15:
            content = self.chance.randbytes(31) + b"\x01"
            self.transact(ADMIN, self.dao, reputation_dao.PROPOSE.encode(content))
        head = self.inside.chain.ledger.height
        for proposal_id in self.proposals(max(head - VOTING_BLOCKS + 2, 0)):
            for voter in VOTERS:
                if self.chance.random() < 0.1:
                    vote = (proposal_id, self.chance.randrange(3))
                    self.transact(voter, self.dao, reputation_dao.CAST_VOTE.encode(*vote))

    async def block(self) -> None:
        """Let twelve seconds pass, and a block come in the middle of them."""
        await asyncio.sleep(BLOCK_S / 2)
        if not self.calm:
            self.people()
        self.inside.chain.mine()
        if not self.calm and self.chance.random() < 0.08:
            depth = self.chance.randrange(1, FINALITY_LAG)
            fate = self.chance.choice(["included", "pooled", "dropped"])
            self.inside.chain.reorg(depth, fate=fate, length=depth + self.chance.randrange(2))
            self.events[f"reorg {fate}"] += 1
        if not self.calm and self.chance.random() < 0.03:
            self.events["mempool forgotten"] += self.inside.chain.restart() > 0
        await asyncio.sleep(BLOCK_S / 2)

    # -- processes

    def node(self) -> Node:
        """Return a node of two addresses, as every process has one of its own."""
        loop, addresses = asyncio.get_running_loop(), []
        for _ in range(2):
            seed = self.chance.randrange(2**32)
            addresses.append(self.inside.address(seed=seed, clock_s=loop.time))
        self.addresses += addresses
        settings = PoolSettings(probe_interval_s=15.0)
        return self.inside.node(addresses, chain_id=CHAIN_ID, settings=settings)

    def line(self) -> FaultyTransport:
        line = FaultyTransport(self.server, self.network, self.chance)
        self.lines.append(line)
        return line

    async def listen(self, name: str) -> None:
        """Be a listener until it is killed."""
        settings = ListenerSettings(
            chain_id=CHAIN_ID, dao=self.dao, registry=self.registry, poll_interval_s=4.0, range_blocks=64
        )
        line, clock = self.line(), self.clock
        async with AsyncExitStack() as stack:
            store = await SqliteCursorStore.open(self.folder / f"{name}.db")
            stack.push_async_callback(store.close)
            app = Orchestrator(transport=line, group="listeners", worker=False, clock=clock)
            await stack.enter_async_context(app)

            async def opened() -> Node:
                return await stack.enter_async_context(self.node())

            def listener(node: Node, on_progress: Any) -> Listener:
                shape, now_ms = DaoShape(settings, probing=True), clock.now_ms
                return Listener(
                    settings, node, app, store, shape=shape, on_progress=on_progress, now_ms=now_ms
                )

            def note(progress: Progress) -> None:
                self.progress[name] = progress

            source = HeldSource(settings=settings, open=opened, listener=listener)
            await Listeners([source], store, on_progress=note).run(asyncio.Event())

    async def work(self, name: str) -> None:
        """Be a worker until it is killed."""
        async with AsyncExitStack() as stack:
            while True:
                try:
                    node = await stack.enter_async_context(self.node())
                    break
                except RpcError:  # The worker ends, and whatever keeps processes starts it again.
                    await asyncio.sleep(5.0)
            app = Orchestrator(
                transport=self.line(),
                group=GROUP,
                pid=name,
                ttl_ms=10_000,
                clock=self.clock,
                chance=self.chance,
            )
            register_scoring(
                app,
                node=node,
                signer=Signer.from_key(ACCOUNTS[SCORER][1]),
                sending=SENDING,
                batching=Batching() if self.batched else None,
            )
            app.observe(self.watch)
            try:
                await app.start()
                await asyncio.Event().wait()
            finally:
                await app.abort()

    def start(self, process: Process) -> None:
        process.lives += 1
        if process.name.startswith("listener"):
            body = self.listen(process.name)
        else:
            body = self.work(f"{process.name}-{process.lives}")
        process.kill = asyncio.get_running_loop().create_task(body)

    async def die(self, process: Process) -> None:
        task, process.kill = process.kill, None
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is not None:
            raise task.exception()

    # -- trouble

    async def trouble(self) -> None:
        """Let one thing after another go wrong, until it is over."""
        chance, kinds = self.chance, list[str]()
        while True:
            await asyncio.sleep(chance.uniform(5, 40))
            if not kinds:
                kinds = ["storm", "storm", "storm", "kill", "kill", "server", "blackout"]
                chance.shuffle(kinds)
            kind = kinds.pop()
            self.events[kind] += 1
            length_s = chance.choice([1.0, 15.0, 60.0, 120.0])
            if kind == "storm":
                for address in chance.sample(self.addresses, chance.randrange(1, len(self.addresses) + 1)):
                    address.weather.replace(*chance.choice(STORMS))
                await asyncio.sleep(length_s)
                for address in self.addresses:
                    address.weather.clear()
            elif kind == "kill":
                process = chance.choice(self.processes)
                await self.die(process)
                await asyncio.sleep(length_s / 4)
                self.start(process)
            elif kind == "server":
                await self.server.crash()
                await asyncio.sleep(length_s / 4)
                await self.server.start()
            else:
                await self.severed(length_s)

    async def severed(self, length_s: float) -> None:
        """Cut everybody off from the server."""
        lines = list(self.lines)
        for line in lines:
            line.severed = True
        await asyncio.sleep(length_s)
        for line in lines:
            line.severed = False

    async def clear(self) -> None:
        """End what goes wrong: everything lives, and every line and address is good."""
        self.calm = True
        self.network = NetworkWeather()
        for line in self.lines:
            line.weather, line.severed = self.network, False
        for address in self.addresses:
            address.weather.clear()
        if self.server._engine is None:
            await self.server.start()
        for process in self.processes:
            if process.kill is None:
                self.start(process)

    # -- the end

    async def live(self, blocks: int) -> Ended:
        """Live through so many blocks of trouble, and then to the end."""
        self.found()
        await self.server.start()
        for process in self.processes:
            self.start(process)
        troubling = asyncio.get_running_loop().create_task(self.trouble())
        for _ in range(blocks):
            await self.block()
        troubling.cancel()
        await asyncio.gather(troubling, return_exceptions=True)
        await self.clear()
        waited = 0
        while (left := self.left()) and waited < PATIENCE_BLOCKS:
            await self.block()
            waited += 1
        faults = [*left, *(self.failures() if left else ()), *self.watch.violations, *self.judged()]
        for process in self.processes:
            await self.die(process)
        for line in self.lines:
            await line.close()
        await self.server.close()
        return Ended(proposals=len(self.proposals()), faults=faults, events=self.events, waited_blocks=waited)

    def left(self) -> list[str]:
        """Return what is still to be done: the backlog."""
        tables, chain = self.store._tables, self.inside.chain
        final = chain.ledger.height - FINALITY_LAG
        found = [f"{each.id} is pending" for each in tables.promises.values() if each.pending]
        found += [
            f"the task of {each.id} is {each.state}"
            for each in tables.tasks.values()
            if each.state is not TaskState.FULFILLED
        ]
        for number in self.proposals():
            promise_id = f"scoreProposal-{CHAIN_ID}-{self.dao}-{number}"
            if promise_id not in tables.promises:
                found.append(f"{promise_id} was never made")
        for process in self.processes:
            told = self.progress.get(process.name)
            if process.name.startswith("listener") and (
                told is None or told.cursor != final or told.open_proposals or told.parked_proposals
            ):
                found.append(f"{process.name} stands at {told}, block {final} is final")
        waiting = self.inside.request("txpool_status")
        found += [f"transactions are {kind}: {waiting[kind]}" for kind in waiting if int(waiting[kind], 16)]
        return found

    def failures(self) -> list[str]:
        """Return which step failed last of each tree that is open."""
        promises = self.store._tables.promises.values()
        open_roots = {each.id.partition(":")[0] for each in promises if each.pending}
        last = {
            root: each
            for each in sorted(promises, key=lambda each: each.settled_at or 0)
            if each.state is PromiseState.REJECTED and (root := each.id.partition(":")[0]) in open_roots
        }
        return [f"{each.id} failed last: {each.value.data}" for each in last.values()]

    def judged(self) -> list[str]:
        """Return what is wrong with what has come of it all."""
        wanted = dict.fromkeys(self.proposals(), 1)
        faults = []
        for event in (proposal_scores.SCORE_SUBMITTED, proposal_scores.SCORE_FINALIZED):
            found = Counter(event.decode(log).proposal_id for log in self.logs(self.registry, event.topic0))
            if found != wanted:
                faults.append(f"{event.name}: {sorted(found.items())}, proposals {sorted(wanted)}")
        submitted = self.logs(self.registry, proposal_scores.SCORE_SUBMITTED.topic0)
        for told in map(proposal_scores.SCORE_SUBMITTED.decode, submitted):
            if told.score != (right := self.score(told.proposal_id)):
                faults.append(f"proposal {told.proposal_id} was scored {told.score}, and is {right}")
        scored = {each for each in self.store._tables.promises if each.startswith("scoreProposal-")}
        roots = {each for each in scored if ":" not in each}
        if len(roots) != len(wanted):
            faults.append(f"{len(roots)} proposals were dispatched, {len(wanted)} are on the chain")
        return faults

    def score(self, proposal_id: int) -> int:
        """Return a proposal's score by the DAO's own tally: signed basis points, truncated toward zero."""
        data = reputation_dao.PROPOSAL_VOTES.encode(proposal_id)
        answer = self.inside.request("eth_call", {"to": self.dao, "data": "0x" + data.hex()}, "latest")
        votes = reputation_dao.PROPOSAL_VOTES.decode(bytes.fromhex(answer[2:]))
        counted = votes.for_ + votes.against
        return int(10_000 * (votes.for_ - votes.against) / counted) if counted else 0


class OneThread(SeededLoop):
    """A loop on which what was meant for a thread is done at once, so that the seed decides everything."""

    def run_in_executor(self, _: Any, function: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        done = self.create_future()
        try:
            done.set_result(function(*args))
        except Exception as error:
            done.set_exception(error)
        return done


def live(seed: int, blocks: int, folder: Path) -> Ended:
    """Play one house from a seed, through so many blocks of trouble."""
    clock, chance = VirtualClock(), Random(seed)  # noqa: S311 - a seed makes the case repeatable
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    async def main() -> Ended:
        return await House(seed=seed, folder=folder, clock=clock, chance=chance).live(blocks)

    try:
        return clock.run(main(), OneThread(chance, lateness_s=0.001))
    finally:
        structlog.configure(**before)
