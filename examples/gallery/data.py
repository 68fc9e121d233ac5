"""Imports, transfers and everything else that must not be done by halves."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from examples.gallery.example import Example, one_program
from examples.stage import Crash, Stage

TITLE = "Data and money"


async def batch_import(stage: Stage) -> str:
    """Crash in the third of five batches; the rows in the database count, too."""
    rows = "".join(f"{number},person {number}\n" for number in range(455))
    (stage.folder / "people.csv").write_text(f"number,name\n{rows}", encoding="utf-8")
    said = await stage.run(
        "batch_import/import_rows.py", "people.csv", crash=Crash(step="import_batch", number=3)
    )
    with closing(sqlite3.connect(stage.folder / "imported.db")) as database:
        stored = database.execute("SELECT count(*), max(number) FROM imported").fetchone()
    return f"{said}, {stored[0]} in the database"


async def saga(stage: Stage) -> str:
    """Crash half-way through the compensations."""
    said = await stage.run("saga/trip.py", "1", "--sold-out", "car", crash=Crash(step="cancel", number=2))
    kept = len(list(stage.folder.glob("*.booked")))
    return f"{said}; {kept} bookings kept"


async def food_delivery(stage: Stage) -> str:
    """Crash as the second order, which nobody drives, is undone; a driver has taken the first one."""
    bank = await stage.start("stand_ins/bank.py", "--port", "0")
    where = ("--bank", (await bank.line("http://")).split()[3])
    url = await stage.server()
    program = "food_delivery/delivery.py"
    await stage.keep(program, "--at", url, "work", crash=Crash(step="discard"))
    await (await stage.start(program, "--at", url, "accept", "7", "eve")).result()
    brought = await stage.start(program, "--at", url, "place", "7", "ada", "30", *where)
    said = await brought.result()
    left = await stage.start(program, "--at", url, "place", "8", "ada", "40", "--patience-s", "0.5", *where)
    said = f"{said}; {await left.result()}"
    return f"{said}; {await bank.line('+40')}"


async def mutual_exclusion(stage: Stage) -> str:
    """Crash the worker that has the printer, in the middle of a job; another one takes its place."""
    url = await stage.server()
    program = "mutual_exclusion/printer.py"
    asked = await stage.start(program, "--at", url, "ask", "1", "2", "3", "4")
    await stage.keep(program, "--at", url, "work", crash=Crash(step="output", number=2))
    return await asked.result()


async def order_states(stage: Stage) -> str:
    """Crash the worker as the first order is packed; the second one is cancelled before it is."""
    url = await stage.server()
    program = "order_states/order.py"
    told = (("7", "paid"), ("7", "packed"), ("7", "shipped"), ("8", "paid"), ("8", "cancelled"))
    await stage.keep(program, "--at", url, "work", crash=Crash(step="enter", number=2))
    for order, state in told:
        await (await stage.start(program, "--at", url, "tell", order, state)).result()
    orders = [await stage.start(program, "--at", url, "place", order) for order in ("7", "8")]
    return ", ".join([await order.result() for order in orders])


async def priority_tiers(stage: Stage) -> str:
    """Crash the worker at the second request."""
    url = await stage.server()
    program, customers = "priority_tiers/support.py", ("free-bob", "gold-ada", "free-tim", "gold-eve")
    asked = await stage.start(program, "--at", url, "ask", *customers)
    await stage.keep(program, "--at", url, "work", crash=Crash(step="answer", number=2))
    return await asked.result()


async def money_transfer(stage: Stage) -> str:
    """Crash between the two bookings, and refuse a second transfer for lack of money."""
    bank = await stage.start("stand_ins/bank.py", "--port", "0")
    url = (await bank.line("http://")).split()[3]
    program, where = "money_transfer/transfer.py", ("--bank", url)
    done = await stage.run(program, "1", "ada", "grace", "30", *where, crash=Crash(step="change", number=2))
    refused = await stage.start(program, "2", "ada", "grace", "80", *where)
    return f"{done}; {await refused.result()}"


EXAMPLES = (
    Example(
        folder="order_states",
        problem="An order through its states, told from outside",
        crash="of the worker, as the order is packed",
        root="follow-7",
        store="server.db",
        play=order_states,
    ),
    Example(
        folder="two_stores",
        problem="Two stores that agree without a common transaction",
        crash="between the two",
        root="account-7",
        store="accounts.db",
        play=one_program("two_stores/account.py", "7", "ada", crash=Crash(step="write", number=2)),
    ),
    Example(
        folder="priority_tiers",
        problem="Those who pay first, and only so many at once",
        crash="of the worker, at the second request",
        root="request-gold-ada",
        store="server.db",
        play=priority_tiers,
        caption="One of the requests.",
    ),
    Example(
        folder="money_transfer",
        problem="Money that moves once, over HTTP",
        crash="between the two bookings",
        root="transfer-1",
        store="transfers.db",
        play=money_transfer,
    ),
    Example(
        folder="mutual_exclusion",
        problem="One at a time, without a lock",
        crash="of the worker that has the printer",
        root="print-1",
        store="server.db",
        play=mutual_exclusion,
    ),
    Example(
        folder="batch_import",
        problem="A long import that resumes at its first open batch",
        crash="in the third batch",
        root="import-e4c2a3c381d3a9d6-100",
        store="import.db",
        play=batch_import,
    ),
    Example(
        folder="saga",
        problem="All or nothing over several services",
        crash="between two compensations",
        root="trip-1",
        store="trips.db",
        play=saga,
    ),
    Example(
        folder="food_delivery",
        problem="An order that is undone if nobody comes for it",
        crash="of the worker, as an order without a driver is undone",
        root="delivery-8",
        store="server.db",
        play=food_delivery,
        caption="The promise that a driver settles stands beside the tree: `driver-8`.",
    ),
    Example(
        folder="event_sourcing",
        problem="What happened, and views that are made from it",
        crash="with one view behind the other",
        root="change-monday-3",
        store="commands.db",
        play=one_program(
            "event_sourcing/accounts.py",
            *("monday", "ada=50", "ada=-70", "ada=-20", "bob=20"),
            crash=Crash(step="project", number=4),
        ),
        caption="One of its commands.",
    ),
)
