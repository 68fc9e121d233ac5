"""One process, several contracts of several kinds, as a configuration file lists them, on a served chain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from contracts.bindings import governor
from contracts.dao import probe
from contracts.deployment import deploy_registry
from contracts.direct import DirectSender
from contracts.transactions import Signer
from listener import VotingEnded, score_promise_id, voting_ended_id
from listener.supervisor import Phase
from scorers.listening import check_sources, listening_of, status_served
from scorers.settings import load_settings
from tests.governors import ACCOUNTS, ADMIN, Governance, governance
from tests.listener_chain import CHAIN_ID, dao_chain
from tests.listener_engine import Call, Handle, PromiseStore

FILE = """
rpc = "{rpc}"
cursor = "sqlite:///{folder}/cursor.db"
poll_interval = 0.02
metrics_port = 0

[[sources]]
name = "governor"
chain_id = {chain_id}
contract = "{governor}"
registry = "{registry}"

[[sources]]
name = "bravo"
chain_id = {chain_id}
contract = "{bravo}"
registry = "{bravo_registry}"

[[sources]]
name = "votes"
kind = "event"
chain_id = {chain_id}
contract = "{governor}"
event = "VoteCast(address indexed voter, uint256 proposalId, uint8 support, uint256 weight, string reason)"
function = "on_vote"
group = "watchers"
id = "vote-{{chain_id}}-{{contract}}-{{proposalId}}-{{voter}}"
arguments = {{ who = "voter", weight = "weight" }}

[[sources]]
name = "other-chain"
chain_id = 5
contract = "{governor}"
registry = "{registry}"
"""


TWO_CHAINS = """
cursor = "sqlite:///{folder}/cursor.db"
poll_interval = 0.02

[[sources]]
name = "here"
chain_id = {here}
rpc = ["{here_url}"]
contract = "{dao}"
registry = "{registry}"

[[sources]]
name = "there"
chain_id = {there}
rpc = ["{there_url}"]
contract = "{dao}"
registry = "{registry}"
"""


class KeywordStore(PromiseStore):
    """Takes calls by name, too."""

    def options(self, *, target: str, tags: Any) -> Any:
        return _KeywordCall(store=self, target=target, tags=dict(tags))


class _KeywordCall(Call):
    async def begin_rpc(
        self, promise_id: str, function: str, argument: object = None, **named: object
    ) -> Handle:
        return await Call.begin_rpc(self, promise_id, function, argument or named)


@pytest.fixture
def engine() -> KeywordStore:
    return KeywordStore()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is watched has no event
            await asyncio.sleep(0.01)


async def founded(chain: Governance, name: str) -> tuple[str, str]:
    dao = await chain.found(name)
    return dao.address, await deploy_registry(chain.sender(ADMIN), dao, scorers=[])


async def test_daos_of_two_kinds_and_an_event_are_listened_to_at_once(
    engine: KeywordStore, tmp_path: Path
) -> None:
    async with governance("local") as chain:
        bravo, bravo_registry = await founded(chain, "BravoGovernor")
        first, _ = await chain.propose("for Bravo")
        address, registry = await founded(chain, "SimpleGovernor")
        second, _ = await chain.propose("for the Governor")
        await chain.mine(3)
        for voter in (2, 3):
            await chain.vote(voter, governor.CAST_VOTE, second, 1)
        await chain.mine(3)
        path = tmp_path / "dao-scorer.toml"
        path.write_text(
            FILE.format(
                rpc=chain.node.endpoint,
                folder=tmp_path,
                chain_id=chain.chain_id,
                governor=address,
                registry=registry,
                bravo=bravo,
                bravo_registry=bravo_registry,
            )
        )
        settings = load_settings(path)
        check_sources(settings)
        stop = asyncio.Event()
        async with (
            listening_of(settings, cast(Any, engine), None) as heard,
            status_served(settings, heard) as url,
            asyncio.TaskGroup() as group,
        ):
            assert url is not None
            group.create_task(heard.run(stop))
            scores = {
                score_promise_id(chain.chain_id, contract, each)
                for contract, each in ((bravo, first), (address, second))
            }
            await until(
                lambda: (
                    scores <= engine.records.keys()
                    or any(each.phase is Phase.PARKED for each in heard.listeners.statuses[:3])
                )
            )
            assert [each.reason for each in heard.listeners.statuses[:3]] == [None] * 3
            await until(lambda: len([each for each in engine.records if each.startswith("vote-")]) == 2)
            assert not [each for each in engine.values if each.startswith("votingEnded")]
            await chain.mine(25)
            ended = [
                voting_ended_id(chain.chain_id, contract, each)
                for contract, each in ((bravo, first), (address, second))
            ]
            await until(lambda: set(ended) <= engine.values.keys())
            broken = heard.listeners.statuses[-1]
            await until(lambda: broken.phase is Phase.PARKED)
            assert "not 5" in str(broken.reason)
            assert [each.phase for each in heard.listeners.statuses[:3]] == [Phase.RUNNING] * 3
            assert len(heard.pools()) == 1, "sources of one chain and its endpoints share them"
            async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
                shown = await answer.text()
            assert f'listener_cursor_block{{chain="{chain.chain_id}",source="votes"}}' in shown
            labels = f'chain="{chain.chain_id}",endpoint="{chain.node.endpoint}",method="eth_getLogs"'
            assert f"rpc_requests_total{{{labels}}}" in shown
            stop.set()
        for each in ended:
            value = cast(VotingEnded, engine.values[each])
            assert value.clock > value.deadline
        votes = sorted(
            cast(Any, engine.arguments[each])["weight"]
            for each in engine.arguments
            if each.startswith("vote-")
        )
        assert votes == ["100", "250"]
        assert set(engine.made.values()) == {1}


async def test_one_address_on_two_chains_is_two_sources(engine: KeywordStore, tmp_path: Path) -> None:
    """Contract and proposals are equal, chain, cursor and pool are not; one that rests holds up no other."""
    async with dao_chain() as here, dao_chain(chain_id=10) as there:
        assert here.dao == there.dao
        registries = set()
        for chain, count in ((here, 1), (there, 3)):
            await chain.finalize()
            sender = DirectSender(
                chain.node, Signer.from_key(ACCOUNTS[ADMIN][1]), await chain.node.chain_id()
            )
            registries.add(await deploy_registry(sender, await probe(chain.node, chain.dao), scorers=[]))
            await chain.propose(count)
            await chain.finalize()
        (registry,) = registries
        path = tmp_path / "dao-scorer.toml"
        path.write_text(
            TWO_CHAINS.format(
                folder=tmp_path,
                here=CHAIN_ID,
                there=10,
                here_url=here.url,
                there_url=there.url,
                dao=here.dao,
                registry=registry,
            )
        )
        settings, stop = load_settings(path), asyncio.Event()
        wanted = {score_promise_id(CHAIN_ID, here.dao, 1)}
        wanted |= {score_promise_id(10, there.dao, each) for each in (1, 2, 3)}
        ended = {voting_ended_id(10, there.dao, each) for each in (1, 2, 3)}
        async with (
            listening_of(settings, cast(Any, engine), None) as heard,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(heard.run(stop))
            await until(lambda: wanted <= engine.records.keys())
            await there.end_voting()
            await until(lambda: ended <= engine.values.keys())
            assert len(heard.pools()) == 2
            assert [each.phase for each in heard.listeners.statuses] == [Phase.RUNNING] * 2
            stop.set()
    assert {each for each in engine.records if each.startswith("score")} == wanted
    assert engine.values.keys() == ended
    assert set(engine.made.values()) == {1}
