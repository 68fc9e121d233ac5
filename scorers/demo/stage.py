"""The demonstration's processes: a chain with a DAO on it, server, listener and two workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.bindings import reputation_dao
from contracts.deployment import DeployedDao, deploy_dao
from contracts.direct import DirectSender
from contracts.rpc import Node
from contracts.transactions import Signer
from orchestrator.protocol.transport import Transport
from orchestrator.transport.http import HttpTransport
from scorers import composition
from scorers.demo.cast import REPUTATIONS, UNIT, VOTING_PERIOD_S, DemoProposal
from scorers.processes import Child, Family, family

LEASE_S = 5
POLL_INTERVAL_S = 0.3
WORKERS = ("worker-1", "worker-2")
CHAIN_ID = 31337

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What the demonstration is played on."""

    node: Node
    deployed: DeployedDao
    transport: Transport
    voters: tuple[DirectSender, ...]
    workers: dict[str, Child]


@asynccontextmanager
async def stage(directory: Path, say: Say) -> AsyncIterator[Stage]:
    """Start everything, each part a process of its own, and end everything on leaving."""
    from hardhat_free_chain import deterministic_accounts  # noqa: PLC0415 - an extra

    async with AsyncExitStack() as stack:
        children = await stack.enter_async_context(family(directory))
        chain = await children.start("the local chain", ["chain", "--port", "0"])
        node = await stack.enter_async_context(Node(chain.where, chain_id=CHAIN_ID, timeout_s=60))
        say(f"a local chain at {chain.where} (pid {chain.pid})")
        keys = [account.private_key for account in deterministic_accounts(2 + len(REPUTATIONS))]
        admin, scorer, *people = [Signer.from_key(key) for key in keys]
        voters = tuple(DirectSender(node, person, CHAIN_ID) for person in people)
        deployed = await _prepared_dao(DirectSender(node, admin, CHAIN_ID), scorer.address, voters)
        say(f"a DAO at {deployed.dao}, its score registry at {deployed.registry}")
        server = await children.start("the server", ["serve", "--port", "0", "--store", "sqlite:///demo.db"])
        say(f"the orchestrator at {server.where} (pid {server.pid}), on one SQLite file")
        await _start_listener(children, deployed, chain.where, server.where)
        workers = await _start_workers(children, chain.where, server.where, keys[1])
        names = ", ".join(f"{name} (pid {child.pid})" for name, child in workers.items())
        say(f"a listener, and a pool of scorers: {names}")
        transport = HttpTransport(server.where)
        stack.push_async_callback(transport.close)
        yield Stage(node=node, deployed=deployed, transport=transport, voters=voters, workers=workers)


async def _prepared_dao(admin: DirectSender, scorer: str, voters: Sequence[DirectSender]) -> DeployedDao:
    deployed = await deploy_dao(admin, voting_period=VOTING_PERIOD_S, scorers=[scorer])
    addresses = [voter.address for voter in voters]
    amounts = [reputation * UNIT for reputation in REPUTATIONS]
    await admin.send(deployed.dao, reputation_dao.SET_REPUTATIONS.encode(addresses, amounts))
    return deployed


async def _start_listener(children: Family, deployed: DeployedDao, rpc: str, server: str) -> None:
    arguments = ["listen", "--rpc", rpc, "--server", server, "--cursor", "sqlite:///demo-cursor.db"]
    arguments += ["--dao", deployed.dao, "--registry", deployed.registry]
    arguments += ["--start-block", str(deployed.block_number), "--poll-interval", str(POLL_INTERVAL_S)]
    await children.start("the listener", arguments)


async def _start_workers(children: Family, rpc: str, server: str, key: str) -> dict[str, Child]:
    arguments = ["--rpc", rpc, "--server", server, "--lease", str(LEASE_S)]
    environment = {composition.KEY_VARIABLE: key}
    return {
        name: await children.start(name, ["worker", "--name", name, *arguments], environment=environment)
        for name in WORKERS
    }


async def vote(stage: Stage, proposals: Sequence[DemoProposal]) -> None:
    """Make the proposals and cast the votes on them, each voter by its own key."""
    dao = stage.deployed.dao
    for proposal in proposals:
        await stage.voters[0].send(dao, reputation_dao.PROPOSE.encode(proposal.content_hash))
    # Voting opens after the timepoint of the snapshot: the chain's clock must have moved on.
    await stage.node.request("evm_mine", [])
    for number, proposal in enumerate(proposals, 1):
        for voter, support in zip(stage.voters, proposal.votes, strict=True):
            if support is not None:
                await voter.send(dao, reputation_dao.CAST_VOTE.encode(number, support))


async def end_voting(stage: Stage) -> None:
    """Let the chain's clock pass every deadline."""
    await stage.node.request("evm_increaseTime", [2 * VOTING_PERIOD_S])
    await stage.node.request("evm_mine", [])
