"""The gateway before nine services holds 200 requests while one of each group is dead; none is lost."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from examples.program import Program
from examples.spawning import forked
from examples.stage import STEPS, Fate, Stage, free_port, stage

PROGRAM = "rpc_gateway/gateway.py"
DYING = ("payment", "invoice", "push")
"""One of each group, whose requests all wait for it: a detached chain answers when its first one has."""
LIVING = ("stock", "shipping", "ledger", "archive", "mail", "sms")
APART = os.environ.get("DAO_SCORER_RECORDS") == "1"
"""Each service in a process of its own; else the six that live share one."""
BEFORE, HELD = 30, 200
OUTCOMES = {
    "await_chain": ["stock done", "payment done", "shipping done"],
    "detached_chain": ["invoice done"],
    "fan_out": ["mail done", "push done", "sms done"],
}
FIRST = {"await_chain": {"service": "stock"}, "detached_chain": {"service": "invoice"}, "fan_out": {}}


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asks the gateway at `url`, in an order's turn for one of its three ways."""

    url: str
    session: aiohttp.ClientSession

    async def ask(self, order: int, **other: Any) -> tuple[int, dict[str, Any]]:
        """Ask for an order, or attach to it; `other` are arguments that it does not have."""
        function = function_of(order)
        body = {**FIRST[function], "order": order, **other}
        async with self.session.post(f"{self.url}/{function}/order-{order}", json=body) as answer:
            return answer.status, await answer.json()

    async def state(self, order: int, wait_s: int = 0) -> dict[str, Any]:
        """Return an order's state, or its outcome if it comes in time."""
        async with self.session.get(f"{self.url}/order-{order}", params={"wait": wait_s}) as answer:
            found: dict[str, Any] = await answer.json()
            return found


def function_of(order: int) -> str:
    return list(OUTCOMES)[order % len(OUTCOMES)]


async def service(made: Stage, url: str, *names: str) -> Program:
    started = await made.start(PROGRAM, "--at", url, "service", *names)
    await started.line("working")
    return started


@pytest.mark.timeout(240)
async def test_two_hundred_requests_in_flight(tmp_path: Path) -> None:
    async with stage(tmp_path, Fate(spawn=forked)) as made, aiohttp.ClientSession() as session:
        url, port = await made.server(), str(free_port())
        for names in [(name,) for name in LIVING] if APART else [LIVING]:
            await service(made, url, *names)
        dying = [await service(made, url, name) for name in DYING]
        gateway = await made.start(PROGRAM, "--at", url, "gateway", "--port", port)
        await gateway.line("http://")
        caller = Caller(f"http://127.0.0.1:{port}", session)

        early = [asyncio.create_task(caller.ask(order)) for order in range(BEFORE)]
        await asyncio.gather(*(one.several(" handles order ", 2) for one in dying))
        await asyncio.gather(*(one.kill() for one in dying))
        late = range(BEFORE, BEFORE + HELD)
        asked = await asyncio.gather(*early, *(caller.ask(order) for order in late))
        assert {status for status, _ in asked} == {202}

        states = await asyncio.gather(*(caller.state(order) for order in late))
        assert Counter(state["state"] for state in states) == {"pending": HELD}
        again = await asyncio.gather(*(caller.ask(order) for order in late))
        assert [answer for _, answer in again] == states, "a repeated request is the one that runs"
        status, refused = await caller.ask(BEFORE, service="nobody")
        assert (status, "another call" in refused["error"]) == (409, True)

        for name in DYING:
            await service(made, url, name)
        for order in range(BEFORE + HELD):
            outcome = await caller.state(order, wait_s=60)
            assert (outcome["state"], outcome.get("value")) == ("resolved", OUTCOMES[function_of(order)]), (
                order
            )
        await archived(made)
    work = [line for line in made.printed if " handles order " in line]
    assert len(set(work)) == 3 * (BEFORE + HELD), "every service has handled every order of its group"
    log = await asyncio.to_thread((tmp_path / STEPS).read_text)
    ended: set[str] = set()
    for what, promise_id in (line.split() for line in log.splitlines()):
        assert what == "finished" or promise_id not in ended, f"{promise_id} was executed again"
        ended |= {promise_id} if what == "finished" else set()
    cut_off = len(work) - len(set(work))
    print(f"{HELD} in flight, {cut_off} steps that the kill cut off came again")  # noqa: T201 - the record


async def archived(made: Stage) -> None:
    """Wait until the detached chains, which nobody awaits, have come to their last service."""
    orders = sum(function_of(order) == "detached_chain" for order in range(BEFORE + HELD))
    holding = next(program for program in made.programs if "archive" in program.name)
    await holding.several("archive handles order", orders)
