"""A registry of before submissions named their policy: told by name, and nothing is sent to it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest

from contracts.bindings import proposal_scores
from contracts.transactions import patience
from orchestrator import Orchestrator, PromiseState
from scorers.doctor import State, examine
from scorers.errors import NotReady
from scorers.readiness import check_scorer
from scorers.settings import Settings
from scorers.steps import votes as votes_module
from scorers.values import ScoreStatus
from scorers.workflow import score_proposal
from tests.integration.test_scorers_batches import proposals
from tests.scorers_chain import ACCOUNTS, World, world

TIMEOUT_S = 60
SAID = "is of an earlier version, whose submissions name no policy: deploy a new one"
NEW = (
    proposal_scores.COMMITMENT_FOR,
    proposal_scores.SUBMIT_SCORE_UNDER_POLICY,
    proposal_scores.SUBMIT_SCORES,
)


PUSH4, EQ = b"\x63", b"\x14"
"""How compiled code compares the selector of a call with that of a function."""


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PARK_S", 0.05)
    monkeypatch.setattr(patience, "PARK_S_MAX", 0.2)
    monkeypatch.setattr(votes_module, "READ_PAUSE_S", 0.01)


@pytest.fixture
async def aged() -> AsyncIterator[tuple[World, bytes]]:
    """A registry whose code does not know the functions of this version, and the code that does."""
    async with world() as made:
        await made.reputations({2: 10})
        code = await made.node.code(made.registry)
        old = code
        for function in NEW:
            asked = PUSH4 + function.selector + EQ
            assert old.count(asked) == 1
            old = old.replace(asked, PUSH4 + bytes(4) + EQ)
        await renew(made, old)
        yield made, code


async def renew(made: World, code: bytes) -> None:
    await made.node.request("hardhat_setCode", [made.registry, "0x" + code.hex()])
    await made.mine()


async def test_a_worker_does_not_start_and_the_doctor_names_it(aged: tuple[World, bytes]) -> None:
    made, code = aged
    with pytest.raises(NotReady, match=SAID):
        await check_scorer(made.node, ACCOUNTS[1][0], made.registry)
    settings = Settings.model_validate(
        {
            "rpc": made.node.endpoint,
            "chain_id": made.chain_id,
            "dao": made.dao,
            "registry": made.registry,
            "private_key": ACCOUNTS[1][1],
            "server": "http://127.0.0.1:9",
        }
    )
    found = {each.name: each for each in await examine(settings)}
    assert found["registry"].state is State.FAILED
    assert SAID in found["registry"].detail
    await renew(made, code)
    await check_scorer(made.node, ACCOUNTS[1][0], made.registry)


async def test_a_scoring_parks_with_the_message_and_sends_nothing(aged: tuple[World, bytes]) -> None:
    made, code = aged
    (request,) = await proposals(made, 1)
    async with made.scoring() as app, asyncio.timeout(TIMEOUT_S):
        await made.end(app, request)
        handle = await app.begin_rpc(request.promise_id, score_proposal, request)
        await told(app, request.promise_id)
        assert await made.node.nonce(ACCOUNTS[1][0]) == 0
        await renew(made, code)
        outcome = await handle.result()
    assert outcome.status is ScoreStatus.SCORED


async def told(app: Orchestrator, promise_id: str) -> None:
    """Wait until the failure of a step stands in the record."""
    while True:
        page = await app.promises.search(state=PromiseState.REJECTED, limit=1000)
        failed = (each for each in page.promises if each.id.startswith(f"{promise_id}:"))
        if any(SAID in base64.b64decode(each.value.data or "").decode() for each in failed):
            return
        await asyncio.sleep(0.02)
