"""The doctor finds each fault by itself, and changes nothing while it looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts.bindings import proposal_scores
from contracts.deployment import deploy_registry
from contracts.rpc import BlockHeader, BlockReference, Node
from contracts.transactions import Signer
from contracts.transactions.nonces import Claim, Limits, NonceBook
from hardhat_free_chain.faults import Finality as FinalityFault
from hardhat_free_chain.faults import PrunedHistory, PrunedState, Refusal, StaleHead
from listener import Source, SqliteCursorStore
from listener.store import Cursor
from orchestrator import Orchestrator
from orchestrator.engine import Engine
from orchestrator.server import ServerSettings, create_app, listening
from orchestrator.store import open_store
from scorers import doctor
from scorers.doctor import Finding, State, examine
from scorers.policies.configuration import PolicySettings, policy_from
from scorers.policy import policy_hash
from scorers.settings import Settings
from tests.cli_stage import TOKEN
from tests.governors import ADMIN, governance
from tests.scorers_chain import ACCOUNTS, World, world


@dataclass
class Ward:
    made: World
    directory: Path

    def settings(self, **changes: object) -> Settings:
        given: dict[str, object] = {
            "rpc": self.made.node.endpoint,
            "chain_id": self.made.chain_id,
            "dao": self.made.dao,
            "registry": self.made.registry,
            "store": f"sqlite:///{self.directory}/store.db",
            "cursor": f"sqlite:///{self.directory}/cursor.db",
            "server": "http://127.0.0.1:9",
            "private_key": ACCOUNTS[1][1],
        }
        return Settings.model_validate({**given, **changes})

    async def cursor_at(self, number: int, block_hash: bytes) -> None:
        source = Source(chain_id=self.made.chain_id, dao=self.made.dao)
        async with await SqliteCursorStore.open(self.directory / "cursor.db") as store:
            await store.advance(source, Cursor(block_number=number, block_hash=block_hash), [], [])


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[Ward]:
    async with world() as made:
        yield Ward(made=made, directory=tmp_path)


async def found(settings: Settings, name: str) -> Finding:
    return next(each for each in await examine(settings) if each.name == name)


async def failed(settings: Settings, *, submissions: int = 10) -> set[str]:
    findings = await examine(settings, submissions=submissions)
    return {each.name for each in findings if each.state is State.FAILED}


@asynccontextmanager
async def serving(ward: Ward, token: str | None = None) -> AsyncIterator[str]:
    async with (
        Engine(open_store(f"sqlite:///{ward.directory}/store.db")) as engine,
        listening(create_app(engine, ServerSettings(port=0, token=token))) as url,
    ):
        yield url


async def test_a_healthy_host(ward: Ward) -> None:
    head = await ward.made.node.header("finalized")
    await ward.cursor_at(head.number, head.hash)
    async with serving(ward) as url:
        assert await failed(ward.settings(server=url)) == set()
        assert "in use by process" in (await found(ward.settings(server=url), "store")).detail
        assert "0 to go" in (await found(ward.settings(server=url), "cursor")).detail


async def test_each_of_several_nodes_is_asked(ward: Ward) -> None:
    await ward.made.mine(20)
    away, lagging = "http://127.0.0.1:9", await ward.made.server.open_endpoint(StaleHead(blocks=9))
    good = ward.made.node.endpoint
    finding = await found(ward.settings(rpc=f"{good},{away}"), "endpoints")
    assert finding.state is State.FAILED
    assert f"{good} head " in finding.detail
    assert f"{away} fails: no usable answer" in finding.detail
    finding = await found(ward.settings(rpc=f"{good},{lagging.url}"), "endpoints")
    assert "9 blocks behind the best" in finding.detail
    assert (await found(ward.settings(), "endpoints")).state is State.OK
    assert await failed(ward.settings(rpc=f"{good},{away}")) == {"endpoints", "server"}, "one is enough"


async def test_nothing_is_created_by_looking(ward: Ward) -> None:
    assert await failed(ward.settings()) == {"server"}
    assert list(ward.directory.iterdir()) == []


async def test_the_policy_is_the_registered_one(ward: Ward) -> None:
    chosen = {"name": "quadratic", "rules": [{"name": "first-vote-before"}]}
    settings = ward.settings(policy=chosen)
    assert "binds none" in (await found(settings, "policy")).detail
    bound = policy_hash(policy_from(PolicySettings.model_validate(chosen)))
    await ward.made.execute(0, ward.made.registry, proposal_scores.REGISTER_POLICY, bytes.fromhex(bound[2:]))
    assert (await found(settings, "policy")).detail.endswith("as the registry binds it")
    other = await found(ward.settings(policy="token-weighted"), "policy")
    assert other.state is State.FAILED
    assert f"policy {bound} and token-weighted here is 0x" in other.detail
    nowhere = {"name": "reputation-weighted", "contract": ACCOUNTS[8][0]}
    assert "is no contract" in (await found(ward.settings(policy=nowhere), "policy")).detail


async def test_a_paused_registry(ward: Ward) -> None:
    await ward.made.send(0, ward.made.registry, proposal_scores.PAUSE.encode())
    finding = await found(ward.settings(), "registry")
    assert (finding.state, "unpause()" in finding.detail) == (State.FAILED, True)


async def test_a_cursor_of_another_history(ward: Ward) -> None:
    await ward.cursor_at(1, b"\x66" * 32)
    assert "another hash" in (await found(ward.settings(), "cursor")).detail
    await ward.cursor_at(10_000, b"\x66" * 32)
    finding = await found(ward.settings(), "cursor")
    assert finding.state is State.FAILED
    assert "the node is behind" in finding.detail


async def test_a_store_held_by_something_that_does_not_serve(ward: Ward) -> None:
    async with Engine(open_store(f"sqlite:///{ward.directory}/store.db")):
        finding = await found(ward.settings(), "store")
        assert finding.state is State.FAILED
        assert "stop that process" in finding.detail
    assert (await found(ward.settings(), "store")).state is State.OK


async def test_the_token(ward: Ward) -> None:
    async with serving(ward, TOKEN) as url:
        assert await failed(ward.settings(server=url)) >= {"server"}
        assert await failed(ward.settings(server=url, token="another-token-of-16")) >= {"server"}
        assert await failed(ward.settings(server=url, token=TOKEN)) == set()


async def test_a_balance_that_does_not_last(ward: Ward) -> None:
    assert await failed(ward.settings(), submissions=10**12) == {"server", "balance"}


async def test_what_a_node_no_longer_keeps(ward: Ward) -> None:
    """Old logs are needed to begin, old state is not: the facts that are scored are checkpointed."""
    await ward.made.mine(20)
    assert (await found(ward.settings(), "archive")).state is State.OK
    pruned = (await ward.made.server.open_endpoint(PrunedState(keep=4))).url
    finding = await found(ward.settings(rpc=pruned), "archive")
    assert (finding.state, "state at block 1 is pruned" in finding.detail) == (State.SKIPPED, True)
    assert await failed(ward.settings(rpc=pruned)) == {"server"}
    forgetful = (await ward.made.server.open_endpoint(PrunedHistory(before=10))).url
    assert await failed(ward.settings(rpc=forgetful, start_block=1)) == {"server", "history"}
    assert await failed(ward.settings(rpc=forgetful, start_block=10)) == {"server"}


async def test_a_start_beyond_the_head(ward: Ward) -> None:
    assert await failed(ward.settings(start_block=10**9)) == {"server", "history"}


async def test_finality_that_stalls(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    header = Node.header

    async def stalled(node: Node, block: BlockReference) -> BlockHeader:
        return await header(node, 0 if block == "finalized" else block)

    monkeypatch.setattr(Node, "header", stalled)
    await ward.made.pass_time(7200)
    assert "finality stalls" in (await found(ward.settings(), "finality")).detail


async def test_a_retiring_key_is_kept_until_nothing_of_it_is_in_flight(ward: Ward) -> None:
    old = Signer.from_key(ACCOUNTS[2][1])
    chain_id = ward.made.chain_id
    async with serving(ward) as url, Orchestrator.remote(url, group="g", worker=False) as app:
        settings = ward.settings(server=url, retiring_private_key=ACCOUNTS[2][1])
        assert "may be removed" in (await found(settings, "retiring keys")).detail
        book = NonceBook(app)
        nonce = await ward.made.node.nonce(old.address)
        claim = Claim(chain_id=chain_id, address=old.address, logical_id="submit-1", workflow_id="send-1")
        taken = await book.reserve(claim, first=nonce, limits=Limits(border=nonce + 16))
        assert taken == nonce
        finding = await found(settings, "retiring keys")
        assert (finding.state, "has 1 in flight: keep it" in finding.detail) == (State.OK, True)
        await book.spent(chain_id=chain_id, address=old.address, nonce=nonce, transaction_hash=None)
        assert "may be removed" in (await found(settings, "retiring keys")).detail
    assert (await found(settings, "retiring keys")).state is State.FAILED, "nobody can be asked"


@pytest.mark.parametrize("name", ["SimpleGovernor", "BravoGovernor"])
async def test_a_governor_of_others(name: str, tmp_path: Path) -> None:
    """OpenZeppelin's contracts as they are, with the registry beside them."""
    async with governance("hardhat_free_chain") as chain:
        dao = await chain.found(name)
        registry = await deploy_registry(chain.sender(ADMIN), dao, scorers=[ACCOUNTS[1][0]])
        await chain.mine(3)
        settings = Settings.model_validate(
            {
                "rpc": chain.node.endpoint,
                "dao": chain.governor,
                "registry": registry,
                "store": f"sqlite:///{tmp_path}/store.db",
                "cursor": f"sqlite:///{tmp_path}/cursor.db",
                "private_key": ACCOUNTS[1][1],
            }
        )
        findings = {each.name: each for each in await examine(settings)}
        assert [each.name for each in findings.values() if each.state is State.FAILED] == []
        assert f"answers as {dao.form.kind}" in findings["DAO"].detail
        assert "may submit" in findings["scorer role"].detail
        wrong = settings.model_copy(update={"dao": chain.token})
        assert (await found(wrong, "DAO")).state is State.FAILED, "a token is no Governor"
        assert "keeps the scores of" in (await found(wrong, "registry")).detail


async def test_a_clock_that_is_behind_the_chains(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await found(ward.settings(), "clock")).state is State.SKIPPED
    monkeypatch.setattr(doctor, "LOCAL_CHAINS", frozenset())
    assert (await found(ward.settings(), "clock")).state is State.OK
    await ward.made.pass_time(7200)
    finding = await found(ward.settings(), "clock")
    assert (finding.state, "set the clock" in finding.detail) == (State.FAILED, True)


async def test_each_source_of_a_file_is_asked_by_its_own_nodes(ward: Ward) -> None:
    url, made = ward.made.node.endpoint, ward.made
    dao = {
        "name": "dao",
        "chain_id": made.chain_id,
        "rpc": url,
        "contract": made.dao,
        "registry": made.registry,
    }
    paid = {"name": "paid", "kind": "event", "event": "Paid(uint256 order)", "function": "on_paid"}
    paid |= {"chain_id": made.chain_id, "rpc": url, "contract": made.dao}
    pruned = (await made.server.open_endpoint(PrunedHistory(before=10))).url
    await made.mine(20)
    wrong = [
        (dao, "", "is final"),
        (dao, {"chain_id": 5}, "not 5"),
        (dao, {"contract": ACCOUNTS[8][0].lower()}, "no contract at"),
        (dao, {"registry": made.dao}, "no ProposalScores registry"),
        (dao, {"rpc": "http://127.0.0.1:9"}, "no usable answer"),
        (dao, {"start_block": 10**6}, "beyond the head"),
        (dao, {"rpc": pruned, "start_block": 1}, "pruned"),
        (paid, {"contract": ACCOUNTS[8][0].lower()}, "no contract at"),
    ]
    listed = [
        {**table, **dict(changed), "name": f"s{place}"} for place, (table, changed, _) in enumerate(wrong)
    ]
    settings = Settings.model_validate({"sources": listed, "server": "http://127.0.0.1:9"})
    findings = {each.name: each for each in await examine(settings)}
    for place, (_, changed, told) in enumerate(wrong):
        finding = findings[f"source s{place}"]
        assert finding.state is (State.FAILED if changed else State.OK), finding
        assert told in finding.detail
    assert findings["node"].state is State.SKIPPED


@pytest.mark.parametrize(
    ("changed", "name", "told"),
    [
        ({"chain_id": 5}, "chain id", "not 5"),
        ({"dao": ACCOUNTS[8][0].lower()}, "DAO", "no contract at"),
        ({"registry": ACCOUNTS[8][0].lower()}, "registry", "no contract at"),
        ({"private_key": ACCOUNTS[8][1]}, "scorer role", "grantRole(SCORER_ROLE"),
        ({"private_key": "0x11"}, "key", "64 hexadecimal digits"),
    ],
)
async def test_what_was_mistyped_is_told_by_its_question(
    ward: Ward, changed: dict[str, object], name: str, told: str
) -> None:
    finding = await found(ward.settings(**changed), name)
    assert finding.state is State.FAILED
    assert told in finding.detail


async def test_a_remote_signer_is_asked_for_the_keys(ward: Ward) -> None:
    signer = {"private_key": None, "signer_addresses": ACCOUNTS[1][0].lower()}
    assert (await found(ward.settings(), "signer")).state is State.SKIPPED
    # The local chain signs for its own accounts, as web3signer does for those of its files.
    held = await found(ward.settings(**signer, signer=ward.made.node.endpoint), "signer")
    assert (held.state, "holds 0x" in held.detail) == (State.OK, True)
    away = await found(ward.settings(**signer, signer="http://127.0.0.1:9/secret"), "signer")
    assert (away.state, "secret" in away.detail) == (State.FAILED, False)
    strange = {**signer, "signer_addresses": "0x" + "77" * 20}
    lacking = await found(ward.settings(**strange, signer=ward.made.node.endpoint), "signer")
    assert (lacking.state, "holds no key of 0x77" in lacking.detail) == (State.FAILED, True)
    silent = Refusal(methods=("eth_accounts",), code=-32601, message="no such method")
    clef = (await ward.made.server.open_endpoint(silent)).url
    assert (await found(ward.settings(**signer, signer=clef), "signer")).state is State.SKIPPED


async def test_finality_by_depth_needs_no_tag(ward: Ward) -> None:
    await ward.made.mine(20)
    untagged = (await ward.made.server.open_endpoint(FinalityFault(missing=True))).url
    assert (await found(ward.settings(rpc=untagged), "finality")).state is State.FAILED
    by_depth = await found(ward.settings(rpc=untagged, finality="7"), "finality")
    assert (by_depth.state, by_depth.detail.endswith("7 behind the head")) == (State.OK, True)


async def test_no_secret_is_ever_shown(ward: Ward) -> None:
    for finding in await examine(ward.settings(token=TOKEN)):
        assert TOKEN not in finding.detail
        assert ACCOUNTS[1][1][2:] not in finding.detail
