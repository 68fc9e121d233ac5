"""Recorded executions replayed on the code under test: what breaks live workflows breaks a test first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.client.history import History, read_history
from orchestrator.client.replaying import Replay
from orchestrator.runtime import Orchestrator


async def assert_replays(app: Orchestrator, *histories: History | Path | str) -> Sequence[Replay]:
    """Replay recorded executions on the functions of `app`, which need not run; no function is executed.

    Each history is one, or the path of its file. Raises AssertionError that shows every difference,
    UnreadableHistory for a file that is none, NotRegistered where `app` lacks the root's function. Returns
    how each workflow's replay ended: one of an unfinished execution goes as far as its record.
    """
    replays: list[Replay] = []
    for each in histories:
        replays += await app.replay(each if isinstance(each, History) else _read(Path(each)))
    faults = [f"{one.promise_id} ({one.function}): {one.fault}" for one in replays if one.fault is not None]
    if faults:
        raise AssertionError("the code does not repeat what is recorded:\n" + "\n".join(faults))
    return replays


def _read(path: Path) -> History:
    return read_history(path.read_bytes(), str(path))
