"""One DAO, four proposals: one as it should be, one nobody voted on, and two whose reads revert.

The real listener, server and worker play; what parks is seen through the command line, and stops nobody.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from contracts.bindings import proposal_scores
from contracts.bindings.reputation_dao import PROPOSAL_DEADLINE, PROPOSAL_VOTES, Support
from contracts.rpc import BlockReference, Call, CallReverted, Node, RpcError
from listener import Progress, score_promise_id
from orchestrator import Orchestrator
from orchestrator.engine import Engine
from orchestrator.server import ServerSettings, create_app, listening
from orchestrator.store import open_store
from orchestrator.transport.local import LocalTransport
from scorers.cli import main
from scorers.listening import listener_of
from scorers.registration import register_scoring
from scorers.serving import PROOFS
from scorers.settings import Settings
from scorers.values import ScoreOutcome, ScoreStatus
from tests.scorers_chain import FAST, RETRY, World, world

GOOD, SILENT, UNREADABLE_VOTES, UNREADABLE_END = 1, 2, 3, 4


class RevertingNode(Node):
    """A node on which some reads revert, as they do on a contract with a fault."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.reverting = {PROPOSAL_VOTES.encode(UNREADABLE_VOTES), PROPOSAL_DEADLINE.encode(UNREADABLE_END)}

    async def call_each(
        self, calls: Sequence[Call], block: BlockReference = "latest"
    ) -> list[bytes | RpcError]:
        answers = await super().call_each(calls, block)
        return [
            CallReverted(to, b"", "execution reverted") if data in self.reverting else answer
            for (to, data), answer in zip(calls, answers, strict=True)
        ]


@dataclass
class Stage:
    made: World
    node: RevertingNode
    app: Orchestrator
    url: str
    seen: list[Progress] = field(default_factory=list)

    def promise(self, number: int) -> str:
        return score_promise_id(self.made.chain_id, self.made.dao, number)

    async def outcome(self, number: int) -> ScoreOutcome:
        handle = await self.app.get(self.promise(number))
        outcome: ScoreOutcome = await handle.result()
        return outcome


@asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(world())
        node = await stack.enter_async_context(RevertingNode(made.node.endpoint))
        engine = await stack.enter_async_context(Engine(open_store(f"sqlite:///{directory}/s.db")))
        app = Orchestrator(transport=LocalTransport(engine), group="proposal-scorers")
        register_scoring(app, node=node, signer=made.signer, sending=FAST, retry=RETRY)
        serving = create_app(engine, ServerSettings(port=0), PROOFS)
        url = await stack.enter_async_context(listening(serving))
        played = Stage(made=made, node=node, app=app, url=url)
        settings = Settings(
            chain_id=made.chain_id,
            dao=made.dao,
            registry=made.registry,
            cursor=f"sqlite:///{directory}/cursor.db",
            poll_interval=0.05,
        )
        listener = await stack.enter_async_context(listener_of(settings, node, app, played.seen.append))
        await stack.enter_async_context(app)
        stop, group = asyncio.Event(), await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(listener.run(stop))
        stack.callback(stop.set)
        yield played
        stop.set()


async def play(made: World) -> None:
    await made.reputations({2: 10, 3: 30})
    requests = [await made.propose() for _ in range(4)]
    await made.mine()
    for request in (requests[0], *requests[2:]):
        await made.vote(2, request, Support.AGAINST)
        await made.vote(3, request, Support.FOR)
    await made.mine(40)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command in a thread of its own, as a process would; return what it printed."""
    before, sys.argv = sys.argv, ["dao-scorer", *arguments]
    try:
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, capsys.readouterr().err
    finally:
        sys.argv = before
    return capsys.readouterr().out


async def test_odd_proposals_stop_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with capture_logs() as logs:
        async with stage(tmp_path) as played, asyncio.timeout(40):
            await play(played.made)
            await until(lambda: any(progress.ended == 3 for progress in played.seen))
            good, silent = await played.outcome(GOOD), await played.outcome(SILENT)
            await until(lambda: any(log["event"] == "step_failed" for log in logs))
            assert (good.status, good.score) == (ScoreStatus.SCORED, 5000)
            assert (silent.status, silent.score) == (ScoreStatus.NO_VOTES, 0)
            assert silent.transaction_hash is not None
            assert await statuses(played) == {GOOD: 1, SILENT: 2, UNREADABLE_VOTES: 0, UNREADABLE_END: 0}
            await check_parked_scoring(played, capsys)
            await check_parked_listening(played, capsys)
    told = {log["event"]: log for log in logs if log["log_level"] == "warning"}
    assert told["proposal_parked"]["promise_id"].endswith(f"-{UNREADABLE_END}")
    assert told["step_failed"]["promise_id"].startswith(played.promise(UNREADABLE_VOTES))
    assert told["step_failed"]["function"] == "read_proposal"


async def statuses(played: Stage) -> dict[int, int]:
    """The registry's word on each proposal."""
    read, found = proposal_scores.SUBMISSION_OF, {}
    for number in (GOOD, SILENT, UNREADABLE_VOTES, UNREADABLE_END):
        data = read.encode(number, proposal_scores.FIRST_ROUND, played.made.signer.address)
        found[number] = int(read.decode(await played.node.call(played.made.registry, data)).status)
    return found


async def check_parked_scoring(played: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """A step that failed for good, and the sleep after which it is tried again, stand in the tree."""
    promise = played.promise(UNREADABLE_VOTES)
    drawn = await asyncio.to_thread(command, capsys, "tree", promise, "--server", played.url)
    assert "✘ read_proposal" in drawn
    assert "● sleep" in drawn
    text = await asyncio.to_thread(command, capsys, "tree", promise, "--server", played.url, "--json")
    calls = [(call["function"], call["state"]) for call in json.loads(text)["children"]]
    failed = calls.index(("read_proposal", "rejected"))
    assert calls[failed + 1] == ("sleep", "pending")
    step = json.loads(text)["children"][failed]["id"]
    shown = await asyncio.to_thread(command, capsys, "promise", "get", step, "--server", played.url)
    assert "reverted" in shown


async def check_parked_listening(played: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """A proposal whose end cannot be read stays open: counted, awaited, and shown as such."""
    assert (played.seen[-1].open_proposals, played.seen[-1].parked_proposals) == (1, 1)
    promise = played.promise(UNREADABLE_END)
    drawn = await asyncio.to_thread(command, capsys, "tree", promise, "--server", played.url)
    assert drawn.startswith("●")
    async with aiohttp.ClientSession() as session, session.get(f"{played.url}/metrics") as answer:
        assert "orchestrator_promises_pending 4.0" in await answer.text()


async def test_what_parked_goes_on_when_the_fault_is_gone(tmp_path: Path) -> None:
    async with stage(tmp_path) as played, asyncio.timeout(40):
        played.node.reverting = {PROPOSAL_DEADLINE.encode(UNREADABLE_END)}
        await play(played.made)
        await until(lambda: bool(played.seen) and played.seen[-1].parked_proposals == 1)
        played.node.reverting = set()
        outcome = await played.outcome(UNREADABLE_END)
        assert (outcome.status, outcome.score) == (ScoreStatus.SCORED, 5000)
