"""Three operators, each a pool of its own: processes, database, key, node. One of them is told lies.

Each runs `dao-scorer up`; nothing but the chain is common to them. What is seen of the disagreement is read
as anybody would: metrics, proofs and pages over HTTP, logs, and the chain. `DAO_SCORER_FULL_MATRIX=1` plays
it on anvil, too, and with an operator who counts by a policy of their own.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from contracts.bindings import governor, proposal_scores, reputation_dao
from contracts.bindings.proposal_scores import Course, Rules, ScoreSubmitted, Stage
from contracts.bindings.reputation_dao import ClockUnit, Support
from contracts.deployment import DeployedDao, RegistryTerms, deploy_dao
from contracts.direct import DirectSender
from contracts.rpc import Node
from listener import score_promise_id
from orchestrator.commitments import bundle_from_json
from scorers.audit import audit
from tests.acceptance.boundaries import FULL
from tests.acceptance.nursery import Nursery, Process
from tests.acceptance.scene import ACCOUNTS, ADMIN, CHAIN_ID, signer
from tests.anvil_node import SOON_FINAL, anvil
from tests.browser import headless
from tests.integration.test_verifier_page import Page, allowing

pytestmark = pytest.mark.acceptance
LIAR, *HONEST = SCORERS = (1, 6, 7)
IN_FAVOUR, AGAINST = 2, 3
WEIGHTS = {IN_FAVOUR: 300, AGAINST: 100}
TURNED = ACCOUNTS[IN_FAVOUR][0].lower()
"""Whose vote the liar is told, or counts, otherwise."""
PERIOD_BLOCKS = 20
QUORUM = RegistryTerms(quorum=2, rules=Rules(rounds_max=2, round_window=100_000))
WITHIN_S = 60.0
LOOK_S = 0.05


# -- lies


class LyingNode:
    """A node that passes everything on and turns one voter's vote round, in the log and in the tally."""

    def __init__(self, url: str, voter: str, weight: int) -> None:
        self._url = url
        self._topic = "0x" + voter[2:].rjust(64, "0")
        self._weight = weight

    async def handle(self, request: web.Request) -> web.Response:
        asked = await request.json()
        async with aiohttp.ClientSession() as session, session.post(self._url, json=asked) as answer:
            told = await answer.json()
        questions = {one["id"]: one for one in (asked if isinstance(asked, list) else [asked])}
        for one in told if isinstance(told, list) else [told]:
            if "result" in one:
                one["result"] = self._turned(questions[one["id"]], one["result"])
        return web.json_response(told)

    def _turned(self, question: Any, result: Any) -> Any:
        if question["method"] == "eth_getLogs":
            return [self._vote(log) for log in result]
        data = question["params"][0].get("data", "") if question["method"] == "eth_call" else ""
        if data.startswith("0x" + governor.PROPOSAL_VOTES.selector.hex()):
            against, in_favour, abstain = _words(result)
            return _data([against + self._weight, in_favour - self._weight, abstain])
        return result

    def _vote(self, log: Any) -> Any:
        if (
            log["topics"][0] != "0x" + reputation_dao.VOTE_CAST.topic0.hex()
            or log["topics"][1] != self._topic
        ):
            return log
        words = _words(log["data"])
        return {**log, "data": _data([words[0], int(Support.AGAINST), *words[2:]])}


def _words(data: str) -> list[int]:
    return [int(data[place : place + 64], 16) for place in range(2, len(data), 64)]


def _data(words: list[int]) -> str:
    return "0x" + "".join(f"{word:064x}" for word in words)


OWN_POLICY = json.dumps({"name": "token-weighted", "rules": [{"name": "deny-list", "voters": [TURNED]}]})
LIES = ("node", "policy") if FULL else ("node",)
CHAINS = ("local", "anvil") if FULL else ("local",)


# -- the chain


@dataclass(frozen=True)
class Ground:
    """A chain with one proposal whose vote has ended."""

    url: str
    node: Node
    deployed: DeployedDao

    @property
    def promise_id(self) -> str:
        return score_promise_id(CHAIN_ID, self.deployed.dao, 1)

    async def course(self) -> Course:
        read = proposal_scores.COURSE_OF
        return read.decode(await self.node.call(self.deployed.registry, read.encode(1), "latest"))

    async def submitted(self) -> list[ScoreSubmitted]:
        event = proposal_scores.SCORE_SUBMITTED
        head = (await self.node.header("latest")).number
        logs = await self.node.logs(self.deployed.registry, [event.topic0], 0, head)
        return [event.decode(log) for log in logs]


@asynccontextmanager
async def chain(kind: str, nursery: Nursery, folder: Path) -> AsyncIterator[str]:
    if kind == "anvil":
        with anvil("--block-time", "0.2", *SOON_FINAL) as url:
            yield url
        return
    arguments = [str(folder / "chain.journal"), "", "chain", "--port", "0"]
    process = nursery.start("chain", arguments, environment={}, directory=folder)
    try:
        yield await process.ready()
    finally:
        await process.kill()


@asynccontextmanager
async def voted(url: str) -> AsyncIterator[Ground]:
    async with Node(url) as node:
        admin = DirectSender(node, signer(ADMIN), CHAIN_ID)
        deployed = await deploy_dao(
            admin,
            voting_period=PERIOD_BLOCKS,
            scorers=[signer(each).address for each in SCORERS],
            clock=ClockUnit.BLOCK_NUMBER,
            terms=QUORUM,
        )
        people = [signer(each).address for each in WEIGHTS]
        await admin.send(deployed.dao, reputation_dao.SET_REPUTATIONS.encode(people, list(WEIGHTS.values())))
        await admin.send(deployed.dao, reputation_dao.PROPOSE.encode(b"\x07" * 32))
        await node.request("hardhat_mine", ["0x1"])
        for voter, support in ((IN_FAVOUR, Support.FOR), (AGAINST, Support.AGAINST)):
            sender = DirectSender(node, signer(voter), CHAIN_ID)
            await sender.send(deployed.dao, reputation_dao.CAST_VOTE.encode(1, int(support)))
        await node.request("hardhat_mine", [hex(PERIOD_BLOCKS + 1)])
        yield Ground(url=url, node=node, deployed=deployed)


# -- the pools


@dataclass(frozen=True)
class Pool:
    """One operator's `dao-scorer up`, as others see it."""

    scorer: str
    process: Process
    url: str

    async def get(self, path: str) -> str:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.text()

    async def proof(self, ground: Ground) -> bytes:
        return (await self.get(f"/proofs/{ground.promise_id}")).encode()

    def told(self, event: str) -> list[str]:
        return [line for line in self.process.output.read_text().splitlines() if event in line]


async def pool(
    ground: Ground, nursery: Nursery, folder: Path, scorer: int, *, rpc: str = "", policy: str = ""
) -> Pool:
    """Start a pool that shares nothing with the others but the chain."""
    home = folder / f"pool-{scorer}"
    home.mkdir()
    environment = {
        "DAO_SCORER_RPC": rpc or ground.url,
        "DAO_SCORER_CHAIN_ID": str(CHAIN_ID),
        "DAO_SCORER_DAO": ground.deployed.dao,
        "DAO_SCORER_REGISTRY": ground.deployed.registry,
        "DAO_SCORER_START_BLOCK": str(ground.deployed.block_number),
        "DAO_SCORER_STORE": f"sqlite:///{home}/engine.db",
        "DAO_SCORER_CURSOR": f"sqlite:///{home}/cursor.db",
        "DAO_SCORER_PRIVATE_KEY": str(ACCOUNTS[scorer][1]),
        **({"DAO_SCORER_POLICY": policy} if policy else {}),
    }
    arguments = [str(home / "journal"), "", "up", "--port", "0", "--poll-interval", "0.1"]
    process = nursery.start(f"pool-{scorer}", arguments, environment=environment, directory=home)
    return Pool(scorer=ACCOUNTS[scorer][0].lower(), process=process, url=await process.ready())


async def until(what: Callable[[], Any], pools: list[Pool]) -> None:
    """Wait for something that a look tells; say what the pools said last where it does not come."""
    end = time.monotonic() + WITHIN_S
    while not await what():
        assert time.monotonic() < end, "\n".join(each.process.words() for each in pools)
        await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def three_pools(ground: Ground, nursery: Nursery, folder: Path, lie: str) -> AsyncIterator[list[Pool]]:
    """Run the liar until it has submitted, then the others."""
    async with AsyncExitStack() as stack:
        pools: list[Pool] = []
        stack.push_async_callback(_ended, pools)
        lying = web.Application()
        lying.router.add_post("/", LyingNode(ground.url, TURNED, WEIGHTS[IN_FAVOUR]).handle)
        door = str((await stack.enter_async_context(TestServer(lying))).make_url("/"))
        told = {"rpc": door} if lie == "node" else {"policy": OWN_POLICY}
        pools.append(await pool(ground, nursery, folder, LIAR, **told))

        async def liar_has_submitted() -> bool:
            return len(await ground.submitted()) == 1

        await until(liar_has_submitted, pools)
        for scorer in HONEST:
            pools.append(await pool(ground, nursery, folder, scorer))
        yield pools


async def _ended(pools: list[Pool]) -> None:
    for each in pools:
        await each.process.kill()


@pytest.mark.timeout(170)
@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("kind", CHAINS)
async def test_one_of_three_pools_is_lied_to_and_it_is_outvoted_seen_and_proved(
    kind: str, lie: str, nursery: Nursery, tmp_path: Path
) -> None:
    async with (
        chain(kind, nursery, tmp_path) as url,
        voted(url) as ground,
        three_pools(ground, nursery, tmp_path, lie) as (liar, *honest),
    ):

        async def final() -> bool:
            return (await ground.course()).stage is Stage.FINAL

        await until(final, [liar, *honest])
        await _seen(liar, honest)
        await _proved(ground, liar, honest, lie)
        await _shown(ground, liar, honest[0], tmp_path)


async def _seen(liar: Pool, honest: list[Pool]) -> None:
    """Metrics and logs of each tell of the disagreement, on both sides."""
    seen, won = 'scores_compared_total{result="differs"} 1.0', 'scores_final_total{result="agrees"} 1.0'

    async def told() -> bool:
        theirs = [await each.get("/metrics") for each in honest]
        lost = 'scores_final_total{result="differs"} 1.0' in await liar.get("/metrics")
        return lost and all(seen in one and won in one for one in theirs)

    await until(told, [liar, *honest])
    for each in honest:
        (line,) = each.told("scorer_disagrees")
        assert liar.scorer in line
        assert not each.told("verdict_outvoted")
    assert liar.told("verdict_outvoted")


async def _proved(ground: Ground, liar: Pool, honest: list[Pool], lie: str) -> None:
    """Anybody can tell from the served bundles and the chain who is right, and where the other is not."""
    final = await ground.course()
    root = "0x" + final.root.hex()
    assert final.score == 5_000
    first, second, wrong = [bundle_from_json(await each.proof(ground)) for each in (*honest, liar)]
    assert (first.root, first.leaves) == (root, second.leaves)
    for each in (first, second):
        assert (await audit(ground.node, each)).ok
    found = await audit(ground.node, wrong)
    # Where the DAO has bound no policy, another one contradicts nothing but the final verdict.
    assert (lie == "node") == any(f"[{TURNED}]" in each.place for each in found.differences), (
        found.differences
    )
    assert "registry" in {check.name for check in found.checks if not check.ok}
    submitted = {each.scorer.lower(): "0x" + each.root.hex() for each in await ground.submitted()}
    assert submitted == {liar.scorer: wrong.root, **{each.scorer: root for each in honest}}


async def _shown(ground: Ground, liar: Pool, honest: Pool, folder: Path) -> None:
    """The page of either operator shows it to whoever names a node of their own."""
    async with headless(folder) as tab, TestServer(allowing(ground.url)) as door:
        page, rpc = Page(tab, folder), str(door.make_url("/"))
        await tab.open(f"{honest.url}/verifier")
        assert set((await page.check(await honest.proof(ground), rpc)).values()) == {"true"}
        told = await tab.evaluate("document.getElementById('check-scorers').textContent")
        assert f"2 of 3 submitted this verdict; another: {liar.scorer}" in told
        await tab.open(f"{liar.url}/verifier")
        checks = await page.check(await liar.proof(ground), rpc)
        assert {checks["registry"], checks["transaction"]} == {"false", "true"}
