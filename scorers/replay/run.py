"""The re-enactment as a whole: a chain in a process of its own, everything else in this one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from contracts.bindings import proposal_scores
from contracts.deployment import DeployedDao, deploy_dao
from contracts.direct import DirectSender
from contracts.rpc import Node
from listener import Listener, score_promise_id
from orchestrator import Handle, Orchestrator, Refused
from orchestrator.commitments import Bundle
from orchestrator.engine import Engine
from orchestrator.server import fetch_bundle
from orchestrator.store import open_store
from orchestrator.transport.local import LocalTransport
from scorers import composition
from scorers.audit import audit
from scorers.errors import ScenarioError
from scorers.listening import listener_of
from scorers.policy import AnyPolicy
from scorers.processes import family
from scorers.replay.comparison import Replayed, cast_in, compare
from scorers.replay.dataset import Proposal
from scorers.replay.player import BALANCE_WEI, Player, actor
from scorers.replay.timeline import timeline, voting_period
from scorers.serving import PROOFS
from scorers.settings import Settings
from scorers.values import ScoreOutcome

DAY_S = 86_400
POLL_INTERVAL_S = 0.2
STALL_S = 120.0
COUNT_INTERVAL_S = 0.5
VERIFIERS = 4
NOT_FOUND = 404
ADMIN, SCORER = "admin", "scorer"


class Watcher(Protocol):
    """Is told how far a replay is."""

    def played(self, done: int) -> None:
        """So many actions of the time line are on the chain."""
        ...

    def submitted(self, done: int) -> None:
        """So many proposals have their outcome."""
        ...

    def verified(self, done: int) -> None:
        """So many proofs were checked."""
        ...


async def replay(
    proposals: Sequence[Proposal], directory: Path, watcher: Watcher, policy: AnyPolicy | None = None
) -> list[Replayed]:
    """Re-enact, score by a policy, submit and verify all proposals; files are kept in `directory`.

    Raises ScenarioError when it comes to a standstill.
    """
    async with _stage(proposals, directory, policy) as stage, asyncio.TaskGroup() as group:
        stop = asyncio.Event()
        listening = group.create_task(stage.listener.run(stop))
        outcomes = await _outcomes(stage, proposals, watcher)
        stop.set()
        await listening
        return await _verified(stage, proposals, outcomes, watcher)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What the scenario is played on."""

    node: Node
    chain_id: int
    deployed: DeployedDao
    engine: Engine
    app: Orchestrator
    listener: Listener
    player: Player

    def promise_id(self, number: int) -> str:
        """The id of the `number`-th proposal's scoring."""
        return score_promise_id(self.chain_id, self.deployed.dao, number)


@asynccontextmanager
async def _stage(
    proposals: Sequence[Proposal], directory: Path, policy: AnyPolicy | None
) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        children = await stack.enter_async_context(family(directory))
        begin = str(proposals[0].created_at - DAY_S)
        chain = await children.start("the local chain", ["chain", "--port", "0", "--timestamp", begin])
        node = await stack.enter_async_context(Node(chain.where, timeout_s=60))
        chain_id = await node.chain_id()
        deployed, player = await _prepared(node, chain_id, proposals)
        engine = await stack.enter_async_context(Engine(open_store(f"sqlite:///{directory}/replay.db")))
        # Nothing runs at the end but where it was interrupted, and then nobody wants it to finish.
        app = Orchestrator(transport=LocalTransport(engine), group="proposal-scorers", grace_s=0)
        composition.register_scoring(app, node=node, signer=actor(SCORER), policy=policy)
        settings = Settings(
            rpc=chain.where,
            chain_id=chain_id,
            dao=deployed.dao,
            registry=deployed.registry,
            start_block=deployed.block_number,
            cursor=f"sqlite:///{directory}/cursor.db",
            poll_interval=POLL_INTERVAL_S,
        )
        listener = await stack.enter_async_context(listener_of(settings, node, app))
        await stack.enter_async_context(app)
        yield Stage(
            node=node,
            chain_id=chain_id,
            deployed=deployed,
            engine=engine,
            app=app,
            listener=listener,
            player=player,
        )


async def _prepared(node: Node, chain_id: int, proposals: Sequence[Proposal]) -> tuple[DeployedDao, Player]:
    """Fund everyone, deploy the DAO and its registry."""
    admin, scorer = actor(ADMIN), actor(SCORER)
    for signer in (admin, scorer):
        await node.request("hardhat_setBalance", [signer.address, hex(BALANCE_WEI)])
    sender = DirectSender(node, admin, chain_id)
    deployed = await deploy_dao(sender, voting_period=voting_period(proposals), scorers=[scorer.address])
    player = Player(node, admin, deployed.dao, chain_id)
    await player.fund({vote.voter for proposal in proposals for vote in proposal.votes})
    await player.fund({proposal.proposer for proposal in proposals})
    return deployed, player


async def _outcomes(stage: Stage, proposals: Sequence[Proposal], watcher: Watcher) -> list[ScoreOutcome]:
    """Play the time line while proposals are scored, then let all voting end; return every outcome."""
    async with asyncio.TaskGroup() as group:
        progress = RunProgress()
        counting = group.create_task(_count(stage, progress, watcher))
        await stage.player.play(timeline(proposals), lambda: _advance(progress, watcher))
        await stage.player.pass_time(voting_period(proposals) + 1)
        handles = [await _dispatched(stage, number) for number in range(1, len(proposals) + 1)]
        outcomes = [await handle.result() for handle in handles]
        counting.cancel()
    watcher.submitted(len(outcomes))
    return outcomes


@dataclass(slots=True)
class RunProgress:
    """How far a run is: actions on the chain, and final scores."""

    played: int = 0
    submitted: int = 0


def _advance(progress: RunProgress, watcher: Watcher) -> None:
    progress.played += 1
    watcher.played(progress.played)


async def _count(stage: Stage, progress: RunProgress, watcher: Watcher) -> None:
    """Count final scores on the chain. Raises ScenarioError when nothing has moved for a long while."""
    moved_at, before = time.monotonic(), (0, 0)
    topic = proposal_scores.SCORE_FINALIZED.topic0
    while time.monotonic() - moved_at < STALL_S:
        head = (await stage.node.header("latest")).number
        progress.submitted = len(await stage.node.logs(stage.deployed.registry, [topic], 0, head))
        watcher.submitted(progress.submitted)
        now = (progress.played, progress.submitted)
        if now != before:
            moved_at, before = time.monotonic(), now
        await asyncio.sleep(COUNT_INTERVAL_S)
    raise ScenarioError(
        f"the replay came to a standstill with {progress.submitted} scores submitted: "
        "run it again with --log-level info to see what is waited for"
    )


async def _dispatched(stage: Stage, number: int) -> Handle[ScoreOutcome]:
    """Wait until the listener has dispatched a proposal."""
    while True:
        try:
            return await stage.app.get(stage.promise_id(number))
        except Refused as refusal:
            if refusal.status != NOT_FOUND:
                raise
        await asyncio.sleep(POLL_INTERVAL_S)


async def _verified(
    stage: Stage, proposals: Sequence[Proposal], outcomes: Sequence[ScoreOutcome], watcher: Watcher
) -> list[Replayed]:
    """Check every proof against the chain, some at a time."""
    room, done = asyncio.Semaphore(VERIFIERS), 0

    async def verify(number: int) -> Replayed:
        nonlocal done
        async with room:
            bundle = await _bundle(stage, stage.promise_id(number))
            faults = (await audit(stage.node, bundle)).faults
        done += 1
        watcher.verified(done)
        return compare(proposals[number - 1], outcomes[number - 1], cast_in(bundle), faults)

    return await asyncio.gather(*(verify(number) for number in range(1, len(proposals) + 1)))


async def _bundle(stage: Stage, promise_id: str) -> Bundle:
    return await fetch_bundle(stage.engine.handle, promise_id, PROOFS.sections, decode=PROOFS.decode)
