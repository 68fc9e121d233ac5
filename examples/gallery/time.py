"""Pauses, deadlines, paces and loops without end."""

from __future__ import annotations

from datetime import datetime, timedelta

from examples.gallery.example import Example, one_program
from examples.stage import Crash, Stage

TITLE = "Time"
MOMENTS = 4
FEED = "red\ngreen\nred\nblue\ngreen\nred\nwhite\nblue\nblack\nred\nwhite\ngreen\nend\n"


async def cancellation_window(stage: Stage) -> str:
    """Crash the worker as it takes the first order; the second one is cancelled in time."""
    url = await stage.server()
    program = "cancellation_window/order.py"
    await stage.keep(program, "--at", url, "work", crash=Crash(step="confirm"))
    first = await stage.start(program, "--at", url, "place", "7", "--window-s", "1")
    charged = await first.result()
    second = await stage.start(program, "--at", url, "place", "8")
    await (await stage.start(program, "--at", url, "cancel", "8")).result()
    return f"{charged}, {await second.result()}"


async def idle_session(stage: Stage) -> str:
    """Crash the worker at the second action."""
    url = await stage.server()
    program = "idle_session/session.py"
    for number, action in enumerate(("looks", "buys"), 1):
        await (await stage.start(program, "--at", url, "act", "ada", str(number), action)).result()
    await stage.keep(program, "--at", url, "work", crash=Crash(step="note", number=2))
    session = await stage.start(program, "--at", url, "begin", "ada", "--idle-s", "1")
    return await session.result()


async def reminder(stage: Stage) -> str:
    """Crash before the second of three reminders; a day takes some milliseconds here."""
    words = ("remember", "rent", "pay the rent", "--days", "0.000003", "--most", "3")
    return await stage.run("reminder/reminder.py", *words, crash=Crash(step="remind", number=2))


async def cron_report(stage: Stage) -> str:
    """Crash at the second moment, so that those are made up for that pass until it is started again."""
    words = ("daily", "--cron", "* * * * * *")
    reporting = await stage.keep("cron_report/report.py", *words, crash=Crash(step="publish", number=2))
    moments: set[datetime] = set()
    lines: list[str] = []
    while not moments or not moments.issuperset(_following(min(moments))):
        lines = await reporting.several("report daily", len(lines) + 1)
        moments = {datetime.fromisoformat(line.split()[0]) for line in lines}
    stage.root = f"report-daily-{min(moments).timestamp() * 1000:.0f}"
    return f"{MOMENTS} moments, a second between two, none left out"


def _following(first: datetime) -> set[datetime]:
    """Return the moments that are due from the first one on, as many as are waited for."""
    return {first + timedelta(seconds=seconds) for seconds in range(MOMENTS)}


async def monitor(stage: Stage) -> str:
    """Crash in the second round, when half of the feed has been told."""
    (stage.folder / "feed").write_text(FEED, encoding="utf-8")
    arguments = ("feed", "--pause-s", "0.1")
    return await stage.run("monitor/monitor.py", *arguments, crash=Crash(step="tell", number=5))


async def queue_countdown(stage: Stage) -> str:
    """Crash the worker at the second number of two countdowns, of which Bob's ends well after Ada's."""
    program, where = "queue_countdown/countdown.py", ("--broker", await stage.broker())
    await stage.keep(program, *where, "work", crash=Crash(step="tell", number=2))
    put = [
        await stage.start(program, *where, "put", name, start, "--pause-s", "0.2")
        for name, start in (("ada", "3"), ("bob", "8"))
    ]
    return "; ".join([await one.result() for one in put])


EXAMPLES = (
    Example(
        folder="countdown",
        problem="Pauses that survive, and are not begun again",
        crash="at the third number",
        root="countdown-start",
        store="countdown.db",
        play=one_program(
            "countdown/countdown.py", "start", "4", "--pause-s", "0.2", crash=Crash(step="tell", number=3)
        ),
    ),
    Example(
        folder="rate_limiter",
        problem="No more calls than a provider allows",
        crash="before the second call",
        root="mailing-7",
        store="mailing.db",
        play=one_program(
            "rate_limiter/mailing.py",
            *("7", "ada", "grace", "barbara", "frances", "jean"),
            crash=Crash(step="send", number=2),
        ),
    ),
    Example(
        folder="cancellation_window",
        problem="An order that may be cancelled for some time",
        crash="of the worker, as it takes the order",
        root="order-7",
        store="server.db",
        play=cancellation_window,
        caption="The wish to cancel stands beside the tree: `cancel-7`.",
    ),
    Example(
        folder="idle_session",
        problem="A session that closes when nothing happens in it",
        crash="of the worker, at the second action",
        root="session-ada",
        store="server.db",
        play=idle_session,
        caption="The actions stand beside the tree: `ada-action-1`.",
    ),
    Example(
        folder="cron_report",
        problem="Something every morning, although the machine was off at that moment",
        crash="at the second moment",
        root="report-daily-1795341600000",
        store="cron.db",
        play=cron_report,
        caption="One of its runs; each has an id of its own, which is the moment that was due.",
    ),
    Example(
        folder="reminder",
        problem="A reminder that sleeps for days",
        crash="before the second reminder",
        root="reminder-rent",
        store="reminder.db",
        play=reminder,
        caption="The news that it is done stands beside the tree: `done-rent`.",
    ),
    Example(
        folder="monitor",
        problem="A loop without end, whose record does not grow",
        crash="in the second round",
        root="monitor-feed",
        store="monitor.db",
        play=monitor,
        caption="Its last round; what came before is forgotten.",
    ),
    Example(
        folder="queue_countdown",
        problem="Countdowns that a queue asks for",
        crash="of the worker, at the second number",
        root="countdown-ada",
        store="countdown.db",
        play=queue_countdown,
    ),
)
