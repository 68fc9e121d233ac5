"""A scorer that dies at every single request to its node: one submission, no settled step executed again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.bindings import proposal_scores
from contracts.bindings.reputation_dao import Support
from contracts.rpc import Node
from contracts.transactions import patience
from listener.invocation import ProposalRequest
from orchestrator import Orchestrator, PromiseState
from scorers.policies import MinimumWeight, ParticipationAdjusted
from scorers.policies.statement import state
from scorers.policy import AnyPolicy
from scorers.registration import register_scoring
from scorers.values import ScoreOutcome, ScoreStatus
from scorers.workflow import score_proposal
from tests.scorers_chain import FAST, RETRY, World, world

TIMEOUT_S = 30


class DyingNode(Node):
    """Hangs for ever at one request: at once, or when the node has already done what was asked."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.count = 0
        self.dies_at = 0
        self.dies_after_the_effect = False
        self.died = asyncio.Event()
        connection: Any = self.pool.endpoints[0].connection
        connection.request = self._around(connection.request)
        connection.batch = self._around(connection.batch)

    def _around(self, send: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def around(*asked: object) -> Any:
            await self._perhaps_die(before=True)
            outcome = await send(*asked)
            await self._perhaps_die(before=False)
            return outcome

        return around

    async def _perhaps_die(self, *, before: bool) -> None:
        self.count += before
        if self.count == self.dies_at and before is not self.dies_after_the_effect:
            self.died.set()
            await asyncio.Event().wait()


class Executions:
    """Counts the starts of steps that had been settled before."""

    def __init__(self) -> None:
        self.resolved: set[str] = set()
        self.repeated: Counter[str] = Counter()

    def on_step_started(self, promise_id: str, name: str, attempt: int) -> None:
        if promise_id in self.resolved:
            self.repeated[f"{promise_id} {name}"] += 1

    def on_step_finished(self, promise_id: str, name: str, state: PromiseState) -> None:
        self.resolved.add(promise_id)


async def score(
    made: World,
    node: DyingNode,
    store: Path,
    request: ProposalRequest,
    executions: Executions,
    *,
    policy: AnyPolicy | None = None,
) -> ScoreOutcome | None:
    """Score in one life of the process; None if it died."""
    app = Orchestrator.local(f"sqlite:///{store}", group="proposal-scorers")
    register_scoring(app, node=node, signer=made.signer, policy=policy, sending=FAST, retry=RETRY)
    app.observe(executions)
    await app.start()
    await made.end(app, request)
    scoring = asyncio.ensure_future(app.rpc(request.promise_id, score_proposal, request))
    death = asyncio.create_task(node.died.wait())
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.wait((scoring, death), return_when=asyncio.FIRST_COMPLETED)
    if not death.done():
        death.cancel()
        outcome = await scoring
        await app.stop()
        return outcome
    await app.abort()
    scoring.cancel()
    await asyncio.gather(scoring, return_exceptions=True)
    return None


READING = state(ParticipationAdjusted(last=3, base_bps=0), [MinimumWeight()])
"""A policy that reads the DAO's past; here both voters have always taken part."""


@pytest.mark.parametrize(
    ("after", "policy"),
    [(False, None), (True, None), (True, READING)],
    ids=["before the request", "after its effect", "with a policy that reads"],
)
async def test_killed_at_every_request(
    after: bool, policy: AnyPolicy | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PARK_S", 0.05)
    died = 0
    async with world(period=6) as made, DyingNode(made.server.url) as node:
        await made.reputations({2: 10, 3: 20})
        node.dies_after_the_effect = after
        while True:
            request = await made.propose()
            await made.mine()
            await made.vote(2, request, Support.FOR)
            await made.vote(3, request, Support.AGAINST)
            await made.mine(8)
            executions, store = Executions(), tmp_path / f"{died}.db"
            node.dies_at, node.died = node.count + died + 1, asyncio.Event()
            outcome = await score(made, node, store, request, executions, policy=policy)
            survived = outcome is not None
            if outcome is None:
                died += 1
                node.dies_at, node.died = 0, asyncio.Event()
                outcome = await score(made, node, store, request, executions, policy=policy)
            assert outcome is not None, f"died at request {died}"
            assert (outcome.status, outcome.score) == (ScoreStatus.SCORED, -3_333)
            assert not executions.repeated
            await check_submitted_once(made, request, outcome)
            if survived:
                break
    assert died > 10, "there must have been requests to die at"


async def check_submitted_once(made: World, request: ProposalRequest, outcome: ScoreOutcome) -> None:
    event, head = proposal_scores.SCORE_SUBMITTED, await made.node.header("latest")
    topics = event.topics(proposal_id=int(request.proposal_id))
    (log,) = await made.node.logs(made.registry, topics, 0, head.number)
    assert "0x" + event.decode(log).root.hex() == outcome.root
    assert "0x" + log.transaction_hash.hex() == outcome.transaction_hash
