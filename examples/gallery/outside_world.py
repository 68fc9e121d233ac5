"""Waiting for people and for other systems."""

from __future__ import annotations

import json

from examples.gallery.example import Example
from examples.stage import Crash, Stage, free_port

SECRET = "whsec_" + "c2VjcmV0" * 4

TITLE = "The outside world"


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
    where, port = (await farm.line("http://")).split()[3], str(free_port())
    crash = Crash(step="publish")
    await stage.keep("external_job/render.py", "--port", port, "--farm", where, crash=crash)
    await stage.ask("POST", f"http://127.0.0.1:{port}/films/7")
    return await _outcome(stage, port, "film-7")


async def webhook(stage: Stage) -> str:
    """Crash between the two steps of an event that is delivered three times."""
    port = str(free_port())
    crash = Crash(step="ship")
    await stage.keep("webhook/payments.py", "--port", port, "--secret", SECRET, crash=crash)
    hook = ("--hook", f"http://127.0.0.1:{port}/hooks/payments", "--secret", SECRET)
    provider = await stage.start("stand_ins/provider.py", "evt_1", "7", "30", *hook)
    return f"{await provider.result()}; {await _outcome(stage, port, 'payment-evt_1')}"


async def onboarding(stage: Stage) -> str:
    """Crash at the first mail; the address is confirmed when the site is there again."""
    port = str(free_port())
    crash = Crash(step="mail")
    site = await stage.keep("onboarding/onboard.py", "--port", port, "--token", "secret", crash=crash)
    hook = ("--hook", f"http://127.0.0.1:{port}/hooks/users", "--token", "secret")
    database = await stage.start("stand_ins/database.py", "ada", "ada@example.org", *hook)
    await site.line("please confirm")
    await stage.ask("POST", f"http://127.0.0.1:{port}/durable/confirmed-1/resolve", True)
    return f"{await database.result()}; {await _outcome(stage, port, 'user-1')}"


async def queue_worker(stage: Stage) -> str:
    """Crash the worker with two orders taken, of which the second one overtakes the first."""
    program, where = "queue_worker/orders.py", ("--broker", await stage.broker())
    await stage.keep(program, *where, "work", crash=Crash(step="pack"))
    return await (await stage.start(program, *where, "put", "7=3", "8")).result()


async def _outcome(stage: Stage, port: str, promise_id: str) -> str:
    """Return what a gateway answers for an invocation, once it is through."""
    url = f"http://127.0.0.1:{port}/durable/{promise_id}?wait=30"
    return str(json.loads(await stage.ask("GET", url))["value"])


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
        caption=(
            "The promise that is waited for stands beside the tree, "
            "under an id that a person can be told: `approval-7`."
        ),
    ),
    Example(
        folder="node_drain",
        problem="A node that is drained, with an operator who decides on what may not be evicted",
        crash="before the third pod",
        root="drain-node-1",
        store="server.db",
        play=node_drain,
        caption="What was decided stands beside the tree: `decision-node-1-db-0`.",
    ),
    Example(
        folder="external_job",
        problem="A job that runs elsewhere and calls back",
        crash="when its result has come",
        root="film-7",
        store="films.db",
        play=external_job,
        caption="Its result stands beside the tree: `rendered-7`.",
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
        caption="The quick one of two orders; the slow one, `order-7`, came before it.",
    ),
)
