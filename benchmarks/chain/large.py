"""A proposal with 10,000 votes scored end to end by `dao-scorer up`: seconds, and how large its process gets.

The votes are cast on anvil by as many accounts. The process is server, listener and scorer in one, with the
evidence of every step and of every vote on one SQLite file; its peak is the kernel's (VmHWM), so Linux only.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from benchmarks.chain.stage import Figure, node_on_anvil
from contracts.bindings import proposal_scores, reputation_dao
from contracts.deployment import DeployedDao, deploy_dao
from contracts.direct import DirectSender
from contracts.rpc import Node
from contracts.transactions import Signer
from scorers.composition import KEY_VARIABLE
from scorers.processes import Child, family

KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
VOTES = 10_000
PEAK_MIB_MAX = 256
VOTING_PERIOD_S = 7_200
FIRST_VOTER = 1 << 120
FUNDS_WEI = hex(10**18)
TOGETHER = 250
"""So many votes make a block, and so many voters are registered by one transaction."""
LOOK_S = 0.2
PATIENCE_S = 300.0


async def measure(rounds: int) -> list[Figure]:
    """Score one such proposal; `rounds` is ignored."""
    del rounds
    voters = [f"0x{FIRST_VOTER + number:040x}" for number in range(VOTES)]
    async with (
        node_on_anvil("--slots-in-an-epoch", "1") as (node, url),
        aiohttp.ClientSession(url) as session,
    ):
        deployed, proposal_id = await _voted(node, session, voters)
        with tempfile.TemporaryDirectory() as folder:
            async with family(Path(folder)) as children:
                began = time.perf_counter()
                arguments = ["--rpc", url, "--dao", deployed.dao, "--registry", deployed.registry]
                arguments += [
                    "--start-block",
                    str(deployed.block_number),
                    "--port",
                    "0",
                    "--poll-interval",
                    "0.5",
                ]
                child = await children.start(
                    "dao-scorer up", ["up", *arguments], environment={KEY_VARIABLE: KEY}
                )
                started_mib = _peak_mib(child)
                await _final(node, deployed, proposal_id, child)
                seconds, peak_mib = time.perf_counter() - began, _peak_mib(child)
    return [
        Figure(
            name=f"{VOTES:,} votes scored and submitted, from the start of the process",
            value=f"{seconds:.1f} s",
        ),
        Figure(
            name="the largest that its process became",
            value=f"{peak_mib:.0f} MiB ({started_mib:.0f} MiB once started)",
            target=f"{PEAK_MIB_MAX} MiB",
            met=peak_mib <= PEAK_MIB_MAX,
        ),
    ]


async def _voted(
    node: Node, session: aiohttp.ClientSession, voters: Sequence[str]
) -> tuple[DeployedDao, int]:
    """Deploy a DAO, make a proposal, have all cast their votes and let voting end."""
    sender = DirectSender(node, Signer.from_key(KEY), await node.chain_id())
    deployed = await deploy_dao(sender, voting_period=VOTING_PERIOD_S, scorers=[sender.address])
    lots = [voters[start : start + TOGETHER] for start in range(0, len(voters), TOGETHER)]
    for lot in lots:
        amounts = [10**18 + int(voter, 16) % 997 for voter in lot]
        await sender.send(deployed.dao, reputation_dao.SET_REPUTATIONS.encode(lot, amounts))
    log = (await sender.send(deployed.dao, reputation_dao.PROPOSE.encode(bytes(range(32))))).logs[0]
    proposal_id = reputation_dao.PROPOSAL_CREATED.decode(log).proposal_id
    await node.request("evm_mine", [])
    await node.request("anvil_autoImpersonateAccount", [True])
    await node.request("evm_setAutomine", [False])
    for lot in lots:
        await _all(session, "anvil_setBalance", [[voter, FUNDS_WEI] for voter in lot])
        await _all(
            session, "eth_sendTransaction", [[_vote(deployed.dao, proposal_id, voter)] for voter in lot]
        )
        await node.request("evm_mine", [])
    await node.request("anvil_autoImpersonateAccount", [False])
    await node.request("evm_setAutomine", [True])
    await node.request("evm_increaseTime", [2 * VOTING_PERIOD_S])
    await node.request("anvil_mine", [hex(70)])
    return deployed, proposal_id


def _vote(dao: str, proposal_id: int, voter: str) -> dict[str, str]:
    support = int(voter, 16) % 3
    data = reputation_dao.CAST_VOTE.encode(proposal_id, support)
    return {"from": voter, "to": dao, "data": "0x" + data.hex(), "gas": hex(200_000)}


async def _all(session: aiohttp.ClientSession, method: str, each: Sequence[Sequence[object]]) -> None:
    calls = [
        {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        for number, params in enumerate(each)
    ]
    async with session.post("/", json=calls) as answer:
        failed = [one for one in await answer.json() if "error" in one]
    if failed:
        raise SystemExit(f"{method}: {failed[0]['error']}")


async def _final(node: Node, deployed: DeployedDao, proposal_id: int, child: Child) -> None:
    """Wait until the score is final on the chain."""
    asked = proposal_scores.IS_FINAL.encode(proposal_id)
    async with asyncio.timeout(PATIENCE_S):
        while not proposal_scores.IS_FINAL.decode(await node.call(deployed.registry, asked)):
            if not child.running:
                raise SystemExit(f"dao-scorer up has ended: {child.last_words}")
            await asyncio.sleep(LOOK_S)
            await node.request("evm_mine", [])


def _peak_mib(child: Child) -> float:
    status = Path(f"/proc/{child.pid}/status").read_text(encoding="ascii")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kib) / 1024
