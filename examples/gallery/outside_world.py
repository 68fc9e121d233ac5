"""Waiting for people and for other systems."""

from __future__ import annotations

import aiohttp

from examples.gallery.example import Example
from examples.stage import Crash, Program, Stage, free_port

SECRET = "whsec_" + "c2VjcmV0" * 4


async def human_in_the_loop(stage: Stage) -> str:
    """Crash between question and answer: the worker dies when it is about to ask."""
    url = await stage.server()
    program = "human_in_the_loop/purchase.py"
    await stage.keep(program, "--at", url, "work", crash=Crash(step="ask"))
    request = await stage.start(program, "--at", url, "request", "7", "120")
    decide = await stage.start(program, "--at", url, "decide", "7", "yes")
    await decide.result()
    return await request.result()


async def approved_summary(stage: Stage) -> str:
    """Crash the worker between the first answer and the second version."""
    url, model = await stage.server(), await stage.start("stand_ins/model.py", "--port", "0")
    program = "approved_summary/summary.py"
    where = ("--at", url, "--model", (await model.line("http://")).split()[3])
    await stage.keep(program, *where, "work", crash=Crash(step="summarise", number=2))
    request = await stage.start(program, *where, "request", "7", "salt")
    for version, answer in ((1, "no"), (2, "yes")):
        await (await stage.start(program, *where, "review", "7", str(version), answer)).result()
    return await request.result()


async def node_drain(stage: Stage) -> str:
    """Crash when the operator has decided, as the next pod is to be evicted; and decide on a pod to keep."""
    url, cluster = await stage.server(), await stage.start("stand_ins/cluster.py", "--port", "0")
    program, crash = "node_drain/drain.py", Crash(step="evict", number=3)
    decide = ("--at", url, "decide", "node-1", "db-0", "keep")
    await (await stage.start(program, *decide)).result()
    where = (await cluster.line("http://")).split()[3]
    return await stage.run(program, "--at", url, "begin", "node-1", "--cluster", where, crash=crash)


async def external_job(stage: Stage) -> str:
    """Crash when the farm has called back, before its result is published."""
    farm = await stage.start("stand_ins/farm.py", "--port", "0", "--seconds", "0.2")
    where = (await farm.line("http://")).split()[3]
    site = ("external_job/render.py", "--port", str(free_port()), "--farm", where)
    first = await stage.start(*site, crash=Crash(step="publish"))
    url = await _where(first)
    async with aiohttp.ClientSession() as session:
        await session.post(f"{url}/films/7")
    await _again(stage, first, site)
    return await _outcome(f"{url}/durable/film-7")


async def webhook(stage: Stage) -> str:
    """Crash between the two steps of an event that is delivered three times."""
    site = ("webhook/payments.py", "--port", str(free_port()), "--secret", SECRET)
    first = await stage.start(*site, crash=Crash(step="ship"))
    url = await _where(first)
    hook = ("--hook", f"{url}/hooks/payments", "--secret", SECRET)
    provider = await stage.start("stand_ins/provider.py", "evt_1", "7", "30", *hook)
    await _again(stage, first, site)
    return f"{await provider.result()}; {await _outcome(f'{url}/durable/payment-evt_1')}"


async def onboarding(stage: Stage) -> str:
    """Crash at the first mail; the address is confirmed when the site is there again."""
    site = ("onboarding/onboard.py", "--port", str(free_port()), "--token", "secret")
    first = await stage.start(*site, crash=Crash(step="mail"))
    url = await _where(first)
    hook = ("--hook", f"{url}/hooks/users", "--token", "secret")
    database = await stage.start("stand_ins/database.py", "ada", "ada@example.org", *hook)
    running = await _again(stage, first, site)
    await running.line("please confirm")
    async with aiohttp.ClientSession() as session:
        await session.post(f"{url}/durable/confirmed-1/resolve", json=True)
    return f"{await database.result()}; {await _outcome(f'{url}/durable/user-1')}"


async def queue_worker(stage: Stage) -> str:
    """Crash the worker with two orders taken, of which the second one overtakes the first."""
    program, where = "queue_worker/orders.py", ("--broker", await stage.broker())
    await stage.keep(program, *where, "work", crash=Crash(step="pack"))
    return await (await stage.start(program, *where, "put", "7=3", "8")).result()


async def _where(site: Program) -> str:
    """Return the URL that a site prints when it listens."""
    return (await site.line("http://")).split()[3]


async def _again(stage: Stage, site: Program, command: tuple[str, ...]) -> Program:
    """Return the site, started again if it is to crash."""
    if not stage.crashing:
        return site
    await stage.crashed(site)
    second = await stage.start(*command)
    await _where(second)
    return second


async def _outcome(url: str) -> str:
    """Return what a gateway answers for an invocation, once it is through."""
    async with aiohttp.ClientSession() as session, session.get(url, params={"wait": "30"}) as response:
        return str((await response.json())["value"])


EXAMPLES = (
    Example(
        folder="approved_summary",
        problem="A draft that is made again until a person is content",
        crash="of the worker, before the second version",
        root="summary-7",
        store="server.db",
        play=approved_summary,
    ),
    Example(
        folder="human_in_the_loop",
        problem="Waiting for a person's decision",
        crash="before the question is asked",
        root="purchase-7",
        store="server.db",
        play=human_in_the_loop,
    ),
    Example(
        folder="node_drain",
        problem="A node that is drained, with an operator who decides on what may not be evicted",
        crash="before the third pod",
        root="drain-node-1",
        store="server.db",
        play=node_drain,
    ),
    Example(
        folder="external_job",
        problem="A job that runs elsewhere and calls back",
        crash="when its result has come",
        root="film-7",
        store="films.db",
        play=external_job,
    ),
    Example(
        folder="webhook",
        problem="A webhook's event, exactly once",
        crash="of the site, between two steps",
        root="payment-evt_1",
        store="payments.db",
        play=webhook,
    ),
    Example(
        folder="onboarding",
        problem="Days of onboarding, begun by a database's webhook",
        crash="of the site, at the first mail",
        root="user-1",
        store="onboarding.db",
        play=onboarding,
    ),
    Example(
        folder="queue_worker",
        problem="Work that comes by a queue, where no message holds up another",
        crash="of the worker, with two messages taken",
        root="order-8",
        store="orders.db",
        play=queue_worker,
    ),
)
