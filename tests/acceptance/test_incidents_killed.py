"""A source that stops for an operator: those who stop it and let it go on are killed, before and after.

An incident is recorded once, whoever is killed; the cursor stays while it is open (C2); a decision is carried
out whole or not at all, and once; afterwards every proposal has its promise, once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from contracts.rpc import Node
from listener import SqliteCursorStore, voting_ended_id
from listener.dispatch import CONTENT_HASH_TAG
from listener.incidents import Decision, Incident, IncidentKind
from listener.store import Cursor
from orchestrator.domain.schedule import NEVER_MS
from orchestrator.protocol.commands import PromiseCreate
from orchestrator.transport.http import HttpTransport
from tests.acceptance.boundaries import FULL, INCIDENTS, Death
from tests.acceptance.conftest import BOTH, LOCAL, Record, Stage, survived
from tests.acceptance.scene import CHAIN_ID, END_S, KILLED, LOOK_S, Scene, scene

pytestmark = pytest.mark.acceptance
STRANGE = 2
"""The proposal whose promise somebody else has made before."""
REORG_BLOCKS = 25
"""Of the last blocks, in which nothing happened and most of which the chain called final."""


async def mismatch(played: Scene) -> None:
    """Make a promise of a proposal's id for another content."""
    transport = HttpTransport(played.server_url)
    try:
        promise_id = played.ground.promise_id(STRANGE)
        tags = {CONTENT_HASH_TAG: "0x" + "ab" * 32}
        await transport.call(PromiseCreate(id=promise_id, timeout_at=NEVER_MS, tags=tags))
    finally:
        await transport.close()


async def replacement(played: Scene) -> None:
    """Let a listener dispatch everything, and then replace blocks that were final."""
    async with Node(played.ground.url) as node:
        await node.request("hardhat_mine", [hex(REORG_BLOCKS)])
    listener = played.listen()
    await until(lambda: ended(played, range(1, played.ground.proposals + 1)))
    await listener.kill()
    await played.ground.reorganise(REORG_BLOCKS)


KINDS: dict[IncidentKind, tuple[Callable[[Scene], Awaitable[None]], Decision]] = {
    IncidentKind.CONTENT_MISMATCH: (mismatch, Decision.SKIP),
    IncidentKind.REORG_BEYOND_FINALITY: (replacement, Decision.REWIND),
}
CASES = [
    (chain, kind, death)
    for chain in BOTH
    for place, kind in enumerate(KINDS)
    for number, death in enumerate(INCIDENTS)
    if FULL
    or (chain == LOCAL and number % 2 == place)
    # The one that anvil is asked about always: final blocks are replaced, and the listener dies of it.
    or (number == 1 and kind is IncidentKind.REORG_BEYOND_FINALITY)
]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    end = time.monotonic() + END_S
    while not await condition():
        assert time.monotonic() < end
        await asyncio.sleep(LOOK_S)


async def incidents(played: Scene) -> list[Incident]:
    path = played.folder / "cursor.db"
    if not path.exists():
        return []
    async with await SqliteCursorStore.open(path) as store:
        return await store.incidents(open_only=False)


async def ended(played: Scene, numbers: range | list[int]) -> bool:
    """Tell whether the votes of these proposals were told to have ended."""
    settled = await played.settled()
    return {voting_ended_id(CHAIN_ID, played.ground.dao, each) for each in numbers} <= settled


async def stopped(played: Scene, kill: str) -> Incident:
    """Have a listener stop its source, or die of it; the next one stops it in any case."""
    if kill:
        victim = played.listen(kill)
        assert await victim.ended(END_S) == KILLED, victim.words()
    played.listen()

    async def recorded() -> bool:
        return bool(await incidents(played))

    await until(recorded)
    (incident,) = await incidents(played)
    return incident


async def decided(played: Scene, incident: Incident, decision: Decision, kill: str) -> None:
    """Decide, though the first who does may be killed; carried out, it cannot be decided again."""
    if kill:
        victim = played.decide(incident.id, decision, kill)
        assert await victim.ended(END_S) == KILLED, victim.words()
    done = bool(kill) and kill.startswith("after")
    (stands,) = await incidents(played)
    assert (stands.decision is decision) is done, stands
    again = played.decide(incident.id, decision)
    assert await again.ended(END_S) == int(done), again.words()


async def cursor(played: Scene) -> Cursor | None:
    async with await SqliteCursorStore.open(played.folder / "cursor.db") as store:
        found = await store.cursors()
    return found[0][1] if found else None


async def on_the_chain(played: Scene) -> bool:
    """Tell whether the cursor stands at a block that the chain has."""
    place = await cursor(played)
    async with Node(played.ground.url) as node:
        return place is not None and place.block_hash == (await node.header(place.block_number)).hash


@pytest.mark.parametrize(("few", "kind", "death"), CASES, indirect=["few"], ids=str)
async def test_killed(
    few: Stage, kind: IncidentKind, death: Death, tmp_path: Path, record_property: Record
) -> None:
    began, ground, (happens, decision) = time.monotonic(), few[0], KINDS[kind]
    kills = {each: str(death.point) if death.role == each else "" for each in ("listener", "operator")}
    async with scene(ground, tmp_path) as played:
        await played.serve()
        await happens(played)
        before = set(await played.promises())
        incident = await stopped(played, kills["listener"])
        assert incident.report.kind is kind
        seen, stood = set(await played.promises()), await cursor(played)
        assert stood is None or not await on_the_chain(played), "C2: the cursor has passed it"
        await decided(played, incident, decision, kills["operator"])
        skipped = {STRANGE} if kind is IncidentKind.CONTENT_MISMATCH else set[int]()
        wanted = [each for each in range(1, ground.proposals + 1) if each not in skipped]
        await until(lambda: ended(played, wanted))
        await until(lambda: on_the_chain(played))
        promises, told = await played.promises(), await incidents(played)
    assert [each.decision for each in told] == [decision], "an incident was recorded again"
    assert before <= seen <= promises.keys()
    if kind is IncidentKind.REORG_BEYOND_FINALITY:
        assert before == promises.keys(), "what exists is not made again"
    assert {ground.promise_id(each) for each in wanted} <= promises.keys()
    assert not {each for each in promises if each.startswith("votingEnded")} & {
        voting_ended_id(CHAIN_ID, ground.dao, each) for each in skipped
    }
    survived(record_property, played, (death.role, death.point.when, str(kind), 1), began)
