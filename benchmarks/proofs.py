"""What proofs cost: `python -m benchmarks.proofs [trees|steps|store|large] [--quick] [--json]`.

`trees`: root and all proofs of 10,000 votes, in seconds of processor time. `steps`: a committed step beside a
plain one, one at a time, values under 1 KiB, in turns on one SQLite file, by the clock and by processor time.
`store`: a proof by promise id out of 100,000 scored proposals (`--quick`: 5,000) in SQLite. `large`, only by
name: seconds and memory of a proposal with 10,000 votes, scored end to end (of `benchmarks.chain`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

from benchmarks.chain import large
from contracts.dao import DaoForm, DaoKind
from orchestrator import Context, Orchestrator
from orchestrator.commitments import Uint256, bundle_to_json
from orchestrator.engine import Engine
from orchestrator.server.proofs import ProofSource, fetch_evidence
from orchestrator.store import open_store
from scorers.policy import ANY_POLICY
from scorers.steps.score import tally_of
from scorers.values import Ballot, Eligibility, Proposal
from scorers.vote_leaves import domain_of, vote_leaves, vote_tree

VOTERS = 10_000
STEPS = 100
ROUNDS = 40
PROPOSALS = 100_000
READS = 300
QUICK = 5_000


def ballots_of(count: int) -> list[Ballot]:
    """So many voters, two of three in favour."""
    return [
        Ballot(
            voter=f"0x{number + 1:040x}",
            support=1 if number % 3 else 0,
            weight=10**18 + number,
            block_number=100 + number // 50,
            log_index=number % 50,
        )
        for number in range(count)
    ]


def proposal_of(ballots: list[Ballot]) -> Proposal:
    return Proposal(
        chain_id=1,
        dao="0x" + "da" * 20,
        form=DaoForm(kind=DaoKind.REPUTATION, counting_mode="support=bravo", clock_mode="mode=timestamp"),
        registry="0x" + "5c" * 20,
        scored_dao="0x" + "da" * 20,
        proposal_id=7,
        snapshot=99,
        deadline=10_000,
        first_block=100,
        last_block=10_000,
        tally=tally_of(ballots),
        policy_hash=ANY_POLICY,
    )


def trees() -> dict[str, float]:
    """CPU seconds for the root and all proofs of the votes."""
    ballots = ballots_of(VOTERS)
    eligibility, domain = Eligibility(counted=ballots, excluded=[]), domain_of(proposal_of(ballots))
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        leaves = vote_leaves(eligibility)
        tree = vote_tree(domain, leaves)
        proofs = [tree.proof(leaf.index) for leaf in leaves]
        best = min(best, time.process_time() - began)
        assert len(proofs) == VOTERS
    return {"root and all proofs of 10,000 voters, s": round(best, 3)}


def weigh(voter: str, weights: list[Uint256]) -> dict[str, str]:
    return {"voter": voter, "total": str(sum(weights))}


async def many_steps(ctx: Context, count: int, committed: bool, executor: str) -> int:
    step = STEPS_BY[committed, executor]
    for number in range(count):
        await ctx.run(step, f"0x{number:040x}", [10**18 + number, 5, 7])
    return count


def _named(name: str) -> Callable[..., dict[str, str]]:
    def step(voter: str, weights: list[Uint256]) -> dict[str, str]:
        return weigh(voter, weights)

    step.__name__ = step.__qualname__ = name
    return step


STEPS_BY = {
    (committed, executor): _named(f"{'committed' if committed else 'plain'}_{executor}")
    for committed in (False, True)
    for executor in ("inline", "thread")
}


async def steps_cost(folder: str, rounds: int = ROUNDS) -> dict[str, float]:
    """Milliseconds a step, and what committing adds: medians over pairs of slices that follow each other."""
    app = Orchestrator.local(f"sqlite:///{folder}/steps.db")
    for (committed, executor), step in STEPS_BY.items():
        app.register(step, commit=committed, executor=executor)  # type: ignore[call-overload]
    app.register(many_steps)

    async def slice_of(turn: int, committed: bool, executor: str) -> tuple[float, float]:
        began, cpu = time.perf_counter(), time.process_time()
        await app.run(f"{turn}-{committed}-{executor}", many_steps, STEPS, committed, executor)
        return time.perf_counter() - began, time.process_time() - cpu

    figures = {}
    async with app:
        for executor in ("inline", "thread"):
            pairs = [
                # Whichever comes first has the caches of the other: they take turns.
                {
                    committed: await slice_of(turn, committed, executor)
                    for committed in (turn % 2 > 0, turn % 2 < 1)
                }
                for turn in range(rounds + 1)
            ][1:]
            for which, name in enumerate(("", ", of processor time")):
                plain, added = (
                    median(pair[False][which] for pair in pairs),
                    median(pair[True][which] / pair[False][which] for pair in pairs),
                )
                figures[f"{executor} step{name}, ms"] = round(1000 * plain / STEPS, 3)
                figures[f"{executor}: commitments add{name}, %"] = round(100 * (added - 1), 1)
    return figures


async def five_steps(ctx: Context, count: int) -> str:
    """Commit and close as a scoring does."""
    for number in range(count):
        await ctx.run(STEPS_BY[True, "inline"], f"0x{number:040x}", [10**18 + number, 5, 7])
    return (await ctx.close_commitments(bytes(32))).root.hex()


async def store_reads(folder: str, proposals: int) -> dict[str, float]:
    """Milliseconds to build and write the bundle of a promise, picked at random from so many."""
    url = f"sqlite:///{folder}/store.db"
    async with Orchestrator.local(url) as app:
        app.register(STEPS_BY[True, "inline"], commit=True, executor="inline")
        app.register(five_steps)
        await app.run("scored-0", five_steps, 5)
    await asyncio.to_thread(_multiply, f"{folder}/store.db", proposals)
    chance, taken = random.Random(7), []  # noqa: S311 - which proofs are read
    async with Engine(open_store(url)) as engine:
        for _ in range(READS):
            promise_id = f"scored-{chance.randrange(proposals)}"
            began = time.perf_counter()
            body = bundle_to_json((await fetch_evidence(engine.handle, promise_id, ProofSource())).bundle)
            taken.append(time.perf_counter() - began)
            assert promise_id.encode() in body
    taken.sort()
    name = f"a proof out of {proposals:,}"
    return {
        f"{name}, p50, ms": round(1000 * taken[len(taken) // 2], 2),
        f"{name}, p99, ms": round(1000 * taken[len(taken) * 99 // 100], 2),
    }


def _multiply(path: str, proposals: int) -> None:
    """Copy the promises of the first proposal under other ids; nothing in a leaf names its promise."""
    with sqlite3.connect(path) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(promises)")]
        named = {"id", "origin", "branch", "parent", "tags"}
        written = [
            f"replace(p.{column}, 'scored-0', 'scored-' || n.n)" if column in named else f"p.{column}"
            for column in columns
        ]
        database.execute(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?) "  # noqa: S608
            f"INSERT INTO promises ({', '.join(columns)}) SELECT {', '.join(written)} "
            "FROM n CROSS JOIN (SELECT * FROM promises) AS p",
            (proposals - 1,),
        )
    database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=["trees", "steps", "store", "large"])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args([] if sys.argv[0].endswith("__main__.py") else None)
    figures: dict[str, float | str] = {}
    with tempfile.TemporaryDirectory() as folder:
        if chosen.part in (None, "trees"):
            figures |= trees()
        if chosen.part in (None, "steps"):
            figures |= asyncio.run(steps_cost(folder))
        if chosen.part in (None, "store"):
            figures |= asyncio.run(store_reads(folder, QUICK if chosen.quick else PROPOSALS))
    if chosen.part == "large":
        figures |= {each.name: each.value for each in asyncio.run(large.measure(1))}
    print(
        json.dumps(figures)
        if chosen.json
        else "\n".join(f"{name}: {value}" for name, value in figures.items())
    )


if __name__ == "__main__":
    main()
