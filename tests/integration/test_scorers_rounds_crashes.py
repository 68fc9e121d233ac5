"""A scorer that dies at any request while commitments, rounds and windows pass: one submission a round."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from contracts.bindings import proposal_scores
from contracts.bindings.proposal_scores import Rules, Stage
from contracts.bindings.reputation_dao import Support
from contracts.deployment import RegistryTerms
from contracts.transactions import patience
from listener.invocation import ProposalRequest
from orchestrator import Orchestrator
from scorers.registration import register_scoring
from scorers.rounds import course as course_module
from scorers.rounds import following
from scorers.rounds.values import RoundsEnd
from scorers.steps import votes as votes_module
from scorers.values import ScoreOutcome, ScoreStatus
from scorers.workflow import rounds_id, score_proposal
from tests.integration.test_scorers_crashes import DyingNode
from tests.scorers_chain import ACCOUNTS, FAST, RETRY, World, world

TIMEOUT_S = 60
RECORDS = os.environ.get("DAO_SCORER_RECORDS") == "1"
SEED = int(os.environ.get("DAO_SCORER_SEED", "7"))
REQUESTS = 60
"""About so many requests lead from the vote's end to a final verdict, unless time makes another round."""
DEATHS = REQUESTS if RECORDS else 6
TERMS = RegistryTerms(
    challenge_window_s=1_000,
    rules=Rules(
        rounds_max=16,
        round_window=20_000,
        commit_window=2_000,
        bond=1,
        bond_receiver=ACCOUNTS[0][0],
    ),
)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PARK_S", 0.05)
    monkeypatch.setattr(patience, "PARK_S_MAX", 0.1)
    monkeypatch.setattr(votes_module, "READ_PAUSE_S", 0.01)
    monkeypatch.setattr(following, "LOOK_S", 0.05)
    monkeypatch.setattr(following, "LOOK_S_MAX", 0.1)
    monkeypatch.setattr(course_module, "STAGGER_S", 0)


async def hurry(made: World) -> None:
    """Let the chain's time run, whoever is dead meanwhile."""
    while True:
        await made.pass_time(400)
        await asyncio.sleep(0.1)


async def live(made: World, node: DyingNode, store: Path, request: ProposalRequest) -> RoundsEnd | None:
    """Score, and follow until the end, in one life of the process; None if it died."""
    app = Orchestrator.local(f"sqlite:///{store}", group="proposal-scorers")
    register_scoring(app, node=node, signer=made.signer, sending=FAST, retry=RETRY)
    await app.start()
    await made.end(app, request)

    async def course() -> RoundsEnd:
        outcome: ScoreOutcome = await app.rpc(request.promise_id, score_proposal, request)
        assert outcome.status is ScoreStatus.SCORED
        end: RoundsEnd = await (await app.get(rounds_id(request.promise_id))).result()
        return end

    scoring, death = asyncio.ensure_future(course()), asyncio.create_task(node.died.wait())
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.wait((scoring, death), return_when=asyncio.FIRST_COMPLETED)
    if not death.done():
        death.cancel()
        end = await scoring
        await app.stop()
        return end
    await app.abort()
    scoring.cancel()
    await asyncio.gather(scoring, return_exceptions=True)
    return None


@pytest.mark.timeout(1_800 if RECORDS else 120)
async def test_killed_while_rounds_pass(tmp_path: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311 - chance, not secrecy
    places = range(1, REQUESTS + 1) if RECORDS else sorted(chance.sample(range(1, REQUESTS + 1), DEATHS))
    async with world(period=6, terms=TERMS) as made, DyingNode(made.server.url) as node:
        await made.reputations({2: 10, 3: 20})
        for place in places:
            request = await made.propose()
            await made.mine()
            await made.vote(2, request, Support.FOR)
            await made.mine(8)
            node.dies_after_the_effect = chance.random() < 0.5
            node.dies_at, node.died = node.count + place, asyncio.Event()
            store, clock = tmp_path / f"{place}.db", asyncio.create_task(hurry(made))
            end = await live(made, node, store, request)
            if end is None:
                node.dies_at, node.died = 0, asyncio.Event()
                end = await live(made, node, store, request)
            clock.cancel()
            await asyncio.gather(clock, return_exceptions=True)
            told = f"DAO_SCORER_SEED={SEED}, died at request {place}"
            assert end is not None, told
            assert end.agrees, told
            await check_each_round_once(made, request, told)


async def check_each_round_once(made: World, request: ProposalRequest, told: str) -> None:
    head, number = await made.node.header("latest"), int(request.proposal_id)
    counted: Counter[tuple[str, int]] = Counter()
    for event in (proposal_scores.SCORE_SUBMITTED, proposal_scores.SCORE_COMMITTED):
        for log in await made.node.logs(made.registry, event.topics(proposal_id=number), 0, head.number):
            counted[event.name, event.decode(log).round] += 1
    assert set(counted.values()) == {1}, f"{told}: {counted}"
    data = proposal_scores.COURSE_OF.encode(number)
    found = proposal_scores.COURSE_OF.decode(await made.node.call(made.registry, data, "latest"))
    assert (found.stage, found.score) == (Stage.FINAL, 10_000), told
