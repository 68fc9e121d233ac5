"""A chain with proposals whose votes have ended, and the `dao-scorer` processes that score them.

The chain is this project's, or anvil: a node that others wrote, with blocks, finality and reorgs of its own.

The chain is prepared once and put back to the same block for every scenario, so that all of them start from
the same facts and must come to the same roots. Store, cursor, journal and ports are each scenario's own.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from contracts.bindings import reputation_dao
from contracts.bindings.reputation_dao import ClockUnit, Support
from contracts.deployment import deploy_dao
from contracts.direct import DirectSender
from contracts.rpc import Node
from contracts.transactions import Signer
from hardhat_free_chain import deterministic_accounts
from listener import score_promise_id
from orchestrator.domain.errors import Unavailable
from orchestrator.protocol.commands import PromiseSearch, TaskSearch
from orchestrator.protocol.records import PromiseRecord, TaskRecord, TaskState
from orchestrator.transport.http import HttpTransport
from tests.acceptance.journal import History
from tests.acceptance.nursery import Nursery, Process

CHAIN_ID = 31337
VOTING_PERIOD_BLOCKS = 60
ACCOUNTS = deterministic_accounts(10)
ADMIN, SCORER, VOTERS, STRANGER = 0, 1, range(2, 6), 6
WEIGHTS = (1000, 300, 70, 5)
KILLED = -9
LOOK_S = 0.02
END_S = 90.0
PROMPT_S = 18.0
"""Beyond a lease, what a take-over may last: an engine's retry timer is longer, and must not be needed."""
CHAIN_S = 30.0
"""What a chain that mines by itself may need besides, until the last submission is final."""
LEASE_S = 2.0


def signer(index: int) -> Signer:
    """Return one of the development keys."""
    return Signer.from_key(str(ACCOUNTS[index][1]))


@dataclass(slots=True, kw_only=True)
class Ground:
    """A chain process with one DAO; `rewind` puts it back to where every vote had just ended.

    `of_others` says that anvil serves it, `moves` that it mines by itself and blocks are final only later.
    """

    nursery: Nursery
    url: str
    dao: str
    registry: str
    start_block: int
    proposals: int
    scorer_nonce: int
    of_others: bool = False
    moves: bool = False
    snapshot: str = ""

    @property
    def where(self) -> str:
        """What to say behind who dies."""
        return " on anvil" if self.of_others else ""

    async def rewind(self) -> None:
        """Put the chain back; a snapshot can be used once, so another is taken."""
        async with Node(self.url) as node:
            if self.snapshot:
                assert await node.request("evm_revert", [self.snapshot])
            if self.of_others:
                # What a killed worker had broadcast would stay in anvil's pool, and belongs to no later run.
                await node.request("anvil_dropAllTransactions", [])
            self.snapshot = str(await node.request("evm_snapshot", []))

    async def reorganise(self, depth: int) -> None:
        """Have the chain replace its newest blocks by others, without what was in them.

        The first of them pays a stranger: two empty blocks of the same second on the same parent are one.
        """
        stranger = signer(STRANGER).address
        payment = {"from": stranger, "to": stranger, "value": "0x1"}
        async with Node(self.url) as node:
            await node.request("anvil_reorg", [depth, [[payment, 0]]])

    def promise_id(self, proposal_id: int) -> str:
        """The invocation of a proposal's scoring."""
        return score_promise_id(CHAIN_ID, self.dao, proposal_id)


async def prepare(nursery: Nursery, folder: Path, proposals: int, *options: str) -> Ground:
    """Start a chain, with more options if given, and vote on all of so many proposals but the last."""
    arguments = [str(folder / "chain.journal"), "", "chain", "--port", "0", *options]
    chain = nursery.start("chain", arguments, environment={}, directory=folder)
    return await furnish(nursery, await chain.ready(), proposals, moves="--block-time" in options)


async def furnish(
    nursery: Nursery, url: str, proposals: int, *, of_others: bool = False, moves: bool = False
) -> Ground:
    """Found a DAO on a chain, and vote on all of so many proposals but the last."""
    async with Node(url) as node:
        admin = DirectSender(node, signer(ADMIN), CHAIN_ID)
        deployed = await deploy_dao(
            admin,
            voting_period=VOTING_PERIOD_BLOCKS,
            scorers=[signer(SCORER).address],
            clock=ClockUnit.BLOCK_NUMBER,
        )
        dao = deployed.dao.lower()
        await _vote(node, admin, dao, proposals)
        await node.request("hardhat_mine", [hex(VOTING_PERIOD_BLOCKS + 1)])
        nonce = await node.nonce(signer(SCORER).address)
    ground = Ground(
        nursery=nursery,
        url=url,
        dao=dao,
        registry=deployed.registry.lower(),
        start_block=deployed.block_number,
        proposals=proposals,
        scorer_nonce=nonce,
        of_others=of_others,
        moves=moves,
    )
    await ground.rewind()
    return ground


async def _vote(node: Node, admin: DirectSender, dao: str, proposals: int) -> None:
    addresses = [signer(index).address for index in VOTERS]
    await admin.send(dao, reputation_dao.SET_REPUTATIONS.encode(addresses, list(WEIGHTS)))
    voters = [DirectSender(node, signer(index), CHAIN_ID) for index in VOTERS]
    for number in range(1, proposals + 1):
        await admin.send(dao, reputation_dao.PROPOSE.encode(number.to_bytes(32, "big")))
    for number in range(1, proposals):
        for place, voter in enumerate(voters[: 1 + number % len(voters)]):
            support = (Support.FOR, Support.AGAINST, Support.ABSTAIN)[(number + place) % 3]
            await voter.send(dao, reputation_dao.CAST_VOTE.encode(number, int(support)))


@dataclass(slots=True, kw_only=True)
class Scene:
    """One scenario: the processes that were started, and what they left."""

    ground: Ground
    folder: Path
    lease_s: float = LEASE_S
    batched: bool = False
    server_url: str = ""
    processes: list[Process] = field(default_factory=list)

    # -- processes

    async def serve(self, kill: str = "") -> Process:
        """Start the server, on the port that it had before if it had one; do not wait if it is to die."""
        port = urlsplit(self.server_url).port or 0
        process = self._start("server", ["serve", "--port", str(port)], kill)
        self.server_url = await process.ready()
        return process

    def work(self, kill: str = "", lease_s: float | None = None) -> Process:
        """Start a worker."""
        lease = str(lease_s or self.lease_s)
        return self._start("worker", ["worker", "--server", self.server_url, "--lease", lease], kill)

    def listen(self, kill: str = "", cursor: str = "cursor") -> Process:
        """Start a listener."""
        place = ["--server", self.server_url, "--cursor", f"sqlite:///{self.folder}/{cursor}.db"]
        return self._start("listener", ["listen", *place, "--poll-interval", "0.1"], kill)

    def decide(self, incident: int, decision: str, kill: str = "") -> Process:
        """Start the command by which an operator decides about an incident."""
        place = ["--cursor", f"sqlite:///{self.folder}/cursor.db"]
        return self._start("operator", ["incident", "resolve", str(incident), "--as", decision, *place], kill)

    async def up(self) -> Process:
        """Start everything in one process, on the port that it had before if it had one."""
        port = urlsplit(self.server_url).port or 0
        process = self._start("up", ["up", "--port", str(port), "--poll-interval", "0.1"], "")
        self.server_url = await process.ready()
        return process

    def _start(self, name: str, command: Sequence[str], kill: str) -> Process:
        environment = {
            "DAO_SCORER_RPC": self.ground.url,
            "DAO_SCORER_CHAIN_ID": str(CHAIN_ID),
            "DAO_SCORER_DAO": self.ground.dao,
            "DAO_SCORER_REGISTRY": self.ground.registry,
            "DAO_SCORER_START_BLOCK": str(self.ground.start_block),
            "DAO_SCORER_STORE": f"sqlite:///{self.folder}/engine.db",
            "DAO_SCORER_CURSOR": f"sqlite:///{self.folder}/cursor.db",
            "DAO_SCORER_PRIVATE_KEY": str(ACCOUNTS[SCORER][1]),
            "DAO_SCORER_BATCH": str(self.batched).lower(),
            "DAO_SCORER_BATCH_SIZE": str(self.ground.proposals),
            "DAO_SCORER_BATCH_WAIT": "1",
        }
        arguments = [str(self.folder / "journal"), kill, *command]
        process = self.ground.nursery.start(name, arguments, environment=environment, directory=self.folder)
        if kill:
            process.name = f"{name} that is to die {kill}"
        self.processes.append(process)
        return process

    # -- what is there

    @property
    def history(self) -> History:
        """What the processes did so far."""
        return History.read(self.folder / "journal")

    async def promises(self) -> dict[str, PromiseRecord]:
        """Read all promises."""
        found: dict[str, PromiseRecord] = {}
        cursor: str | None = None
        while True:
            page = await self._ask(PromiseSearch(limit=1000, cursor=cursor))
            found.update((record.id, record) for record in page.promises)
            cursor = page.cursor
            if cursor is None:
                return found

    async def settled(self) -> set[str]:
        """Ask the server which promises have settled."""
        return {each.id for each in (await self.promises()).values() if not each.pending}

    def settled_in_file(self) -> set[str]:
        """Read from a copy of the store's file, while nobody runs, which promises have settled."""
        copy = self.folder / "copy"
        copy.mkdir(exist_ok=True)
        for name in ("engine.db", "engine.db-wal"):
            (copy / name).unlink(missing_ok=True)
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, copy / name)
        with closing(sqlite3.connect(copy / "engine.db")) as connection:
            rows = connection.execute("SELECT id FROM promises WHERE state <> 'pending'").fetchall()
        return {row[0] for row in rows}

    async def tasks(self) -> list[TaskRecord]:
        """Read the tasks; a scenario has few."""
        page = await self._ask(TaskSearch(limit=1000))
        assert page.cursor is None
        return list(page.tasks)

    async def _ask(self, command):  # type: ignore[no-untyped-def]
        transport = HttpTransport(self.server_url)
        try:
            return await transport.call(command)
        finally:
            await transport.close()

    async def finished(self, within_s: float | None = None) -> dict[str, PromiseRecord]:
        """Wait until every scoring, and everything else, has settled; return all promises."""
        within_s = within_s or self.lease_s + PROMPT_S + (CHAIN_S if self.ground.moves else 0.0)
        wanted = {self.ground.promise_id(number) for number in range(1, self.ground.proposals + 1)}
        end = time.monotonic() + within_s
        promises: dict[str, PromiseRecord] = {}
        while time.monotonic() < end:
            try:
                promises = await self.promises()
            except Unavailable:
                await asyncio.sleep(LOOK_S)
                continue
            if wanted <= promises.keys() and not any(each.pending for each in promises.values()):
                tasks = await self.tasks()
                if all(task.state is TaskState.FULFILLED for task in tasks):
                    return promises
            await asyncio.sleep(LOOK_S)
        waiting = sorted(wanted - promises.keys()) + [each.id for each in promises.values() if each.pending]
        raise TimeoutError(f"not finished in {within_s:.0f} s: {waiting}\n{self.words()}")

    def words(self) -> str:
        """What every process wrote last."""
        return "\n".join(
            f"--- {process.name} {process.pid} ({process.code}): {process.words()}"
            for process in self.processes
        )


@asynccontextmanager
async def scene(
    ground: Ground, folder: Path, lease_s: float = LEASE_S, *, batched: bool = False
) -> AsyncIterator[Scene]:
    """Rewind the chain and hold the processes of one scenario; all are killed when it is left."""
    await ground.rewind()
    made = Scene(ground=ground, folder=folder, lease_s=lease_s, batched=batched)
    try:
        yield made
    finally:
        for process in reversed(made.processes):
            await process.kill()
