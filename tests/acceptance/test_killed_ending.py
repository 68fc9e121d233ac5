"""A process is killed in the middle of cancelling and of terminating a call tree; the next one ends it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.domain.promise import PromiseRecord, PromiseState
from orchestrator.engine import ManualClock
from orchestrator.protocol import commands as c
from tests.acceptance.ending_victim import CHILDREN, ROOT
from tests.engine_world import world

END_S = 180.0
"""What a process has to do takes it a second; but to start may take it a minute on a busy machine."""
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]
CANCELED = PromiseState.REJECTED_CANCELED
POINTS = [
    ("cancel", "commit:1"),
    ("cancel", "commit:4"),
    ("cancel", "before:1:promise.record tree:26"),
    ("cancel", "after:1:promise.record tree:26"),
    ("cancel", "after:7:promise.record"),
    ("cancel", "before:9:task.fulfill"),
    ("cancel", "before:1:task.fulfill tree "),
    ("terminate", "commit:1"),
    ("terminate", "commit:3"),
    ("terminate", "commit:8"),
]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize(("what", "where"), POINTS, ids=lambda each: each)
async def test_a_tree_is_ended_though_its_process_dies(
    kind: str, what: str, where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "postgresql" and where not in ("commit:1", "commit:3"):
        pytest.skip("the engine's part is shown by these, the client's is the same")
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else f"sqlite:///{tmp_path}/s.db"
    first = await _process(url, what, where)
    assert first.returncode == -9, first.stderr
    try:
        second = await _process(url, "wait", "")
    except subprocess.TimeoutExpired as late:
        async with world(url, ManualClock(round(time.time() * 1000))) as w:
            tasks = (await w.do(c.TaskSearch(limit=1000))).tasks
            stuck = [task for task in tasks if task.state.value != "fulfilled"]
        pytest.fail(f"it does not end: {stuck}\n{late.stdout!r}\n{late.stderr!r}")
    # Warnings may stand above it: on a busy machine a lease of a second ends now and then.
    assert (second.returncode, second.stdout.splitlines()[-1:]) == (0, ["canceled"]), second.stderr
    # By a clock that goes on where theirs was: what is left to be ended is due.
    async with world(url, ManualClock(round(time.time() * 1000)), tick_page=5) as w:
        await w.engine.tick()
        page = await w.do(c.PromiseSearch(limit=1000))
        tree = {promise.id: promise for promise in page.promises}
        _judge(tree, cleaned=what == "cancel")
        # The detached call and what it waits for; bare promises are theirs who were to settle them.
        bare = CHILDREN if what == "cancel" else 0
        assert (await w.engine.gauges()).promises_pending == 2 + bare


def _judge(tree: dict[str, PromiseRecord], *, cleaned: bool) -> None:
    workflows = [ROOT, *(f"{ROOT}:{number}" for number in range(1, CHILDREN + 1))]
    assert {tree[key].state for key in workflows} == {CANCELED}
    undone = [promise for promise in tree.values() if (promise.param.headers or {}).get("func") == "undo"]
    assert len(undone) == (len(workflows) if cleaned else 0)
    assert {promise.state for promise in undone} <= {PromiseState.RESOLVED}
    loose = [promise for key, promise in tree.items() if key.startswith(f"{ROOT}:d")]
    assert [promise.state for promise in loose] == [PromiseState.PENDING] * 2


async def _process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.acceptance.ending_victim", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=END_S, check=False
    )
