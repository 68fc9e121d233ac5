"""Deterministic simulation: whatever the weather, the invariants hold and the record is the undisturbed one.

`SIMULATION_SEEDS` says how many seeds (default 300, for the record 2,000), `SIMULATION_FIRST` which is the
first. A failure names its seed: `SIMULATION_FIRST=<seed> SIMULATION_SEEDS=1` shows it again, event by event.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.protocol import commands as c
from tests.simulation.server import Server
from tests.simulation.world import Interrupted, Plan, faults_of, simulate
from tests.workflow_programs import ASKING, NESTED, SIMPLE, Program

SEEDS = int(
    os.environ.get("SIMULATION_SEEDS", "2000" if os.environ.get("DAO_SCORER_RECORDS") == "1" else "300")
)
FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
LOTS = min(10, SEEDS)
PROGRESS_EVERY = 100
INTERRUPTED_PART = 3
"""So much fewer seeds are interrupted."""
ROOT = Path(__file__).parents[2]
EVENTFUL = 11


@pytest.mark.timeout(60 + SEEDS)
@pytest.mark.parametrize("lot", range(LOTS))
def test_the_invariants_hold_whatever_goes_wrong(lot: int) -> None:
    for number, seed in enumerate(range(FIRST + lot, FIRST + SEEDS, LOTS), 1):
        faults = faults_of(Plan.of(seed))
        assert not faults, f"SIMULATION_FIRST={seed} SIMULATION_SEEDS=1: {faults}"
        if number % PROGRESS_EVERY == 0:
            print(f"lot {lot}: {number} seeds hold", file=sys.__stderr__, flush=True)


@pytest.mark.timeout(60 + SEEDS)
@pytest.mark.parametrize("lot", range(LOTS))
def test_all_comes_to_an_end_whoever_is_cancelled_or_terminated(lot: int) -> None:
    for seed in range(FIRST + lot, FIRST + SEEDS // INTERRUPTED_PART, LOTS):
        violations = simulate(Plan.of(seed), world=Interrupted).violations
        assert not violations, f"SIMULATION_FIRST={seed}: {violations}"


def test_the_seeds_mix_every_operation() -> None:
    kinds: Counter[str] = Counter()

    def count(program: Program) -> None:
        for step in program:
            kinds[step["kind"]] += 1
            for nested in step.get("programs", []):
                count(nested)

    for seed in range(100):
        for program in Plan.of(seed).programs:
            count(program)
    assert set(kinds) == {*SIMPLE, *NESTED, *ASKING}


def test_a_seed_gives_the_same_run_again() -> None:
    first, second = simulate(Plan.of(EVENTFUL)), simulate(Plan.of(EVENTFUL))
    assert len(first.trace) > 20
    assert first.trace == second.trace
    assert simulate(Plan.of(EVENTFUL + 1)).digest != first.digest


@pytest.mark.parametrize("seed", [EVENTFUL, 7])
def test_a_seed_gives_the_same_run_in_another_process(seed: int) -> None:
    program = f"from tests.simulation.world import *; print(simulate(Plan.of({seed})).digest)"
    digests = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        digests.add(done.stdout.strip())
    assert digests == {simulate(Plan.of(seed)).digest}


class Unfenced(Server):
    """Takes the writes of whoever held the task before (T2 is broken)."""

    async def call(self, command: c.Command[Any]) -> Any:
        if not isinstance(command, (c.TaskFence, c.TaskFulfill, c.TaskSuspend)):
            return await super().call(command)
        version = self._watch.before(command)
        engine, arrived_ms = self._engine, self._clock.now_ms()
        if engine is None or version is None:
            return await super().call(command)
        answer = await engine.handle(msgspec.structs.replace(command, version=version))
        self._watch.answered(command, arrived_ms, version, answer)
        return answer


class Forgetful(Server):
    """Sends no preload, so that workers do not know what has settled."""

    async def call(self, command: c.Command[Any]) -> Any:
        answer = await super().call(command)
        return msgspec.structs.replace(answer, preload=[]) if isinstance(answer, c.TaskClaim) else answer


class Repeating(Server):
    """Creates anew what exists (P2 is broken), as long as it is open."""

    async def call(self, command: c.Command[Any]) -> Any:
        if isinstance(command, c.PromiseCreate) and command.id in self._store._tables.promises:
            known = self._store._tables.promises[command.id]
            if known.pending:
                changed = msgspec.structs.replace(known, timeout_at=known.timeout_at - 1)
                self._store._tables.promises[command.id] = changed
        return await super().call(command)


@pytest.mark.parametrize(
    ("kind", "invariant"),
    [(Unfenced, "T2"), (Forgetful, "W1"), (Repeating, "P2")],
    ids=str,
)
def test_the_simulation_finds_a_server_that_breaks_its_promises(kind: type[Server], invariant: str) -> None:
    for seed in range(200):
        if any(fault.startswith(invariant) for fault in simulate(Plan.of(seed), kind).violations):
            return
    pytest.fail(f"200 seeds have not shown that {invariant} is broken")
