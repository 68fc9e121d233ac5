"""Workflows as data, generated from a seed, and the functions that carry them out; shared by several tests.

A program is a list of operations, each a dictionary. Its outcome depends on nothing but the program: what is
drawn by chance or read from a clock shows in the record, where a replay must meet it again (W2).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any

from orchestrator import (
    ApplicationError,
    Constant,
    Context,
    Durable,
    Info,
    Never,
    Orchestrator,
    PromiseCanceled,
    PromiseRecord,
    PromiseState,
)
from orchestrator.domain.ids import extends, precedes

DEPTH_MAX = 2
WEEK_S = 7 * 86_400
SIMPLE = (
    "run",
    "flaky",
    "broken",
    "begin",
    "forget",
    "rpc",
    "remote failure",
    "sleep",
    "long sleep",
    "detached",
    "awaited detached",
    "random",
    "gather",
    "now",
    "uuid",
    "version",
    "inline",
    "patched",
    "race",
    "remote race",
    "any",
    "in time",
    "too late",
    "as completed",
    "shield",
    "rounds",
    "remote rounds",
    "delayed",
    "committed",
)
NESTED = ("child", "remote child", "branches", "generator child", "remote generator")
APPROVAL = "approval"
"""Awaits a promise that somebody has settled before; its name is `approval-` and the number."""
ASKING = ("promise", "cancelled", "race to the end")
"""Operations that need somebody outside who is told while the program runs, and settles or cancels."""
DRAWN = ("ctx.random", "ctx.now", "ctx.uuid")
Program = list[dict[str, Any]]
Ask = Callable[[str], Awaitable[None]]
"""Tells somebody outside of a promise that is to be resolved with ANSWER; behind END, of a call to cancel."""
ANSWER = 7
END = "end "
ROUNDS = 3


def generate(
    chance: random.Random, depth: int = 0, length_max: int = 4, extra: tuple[str, ...] = ()
) -> Program:
    """Return a workflow as data; `extra` are operations beside those that need nobody."""
    kinds = (*SIMPLE, *extra, *(NESTED if depth < DEPTH_MAX else ()))
    steps = range(chance.randint(1, length_max))
    return [_step(chance, chance.choice(kinds), depth, length_max, extra) for _ in steps]


def _step(
    chance: random.Random, kind: str, depth: int, length_max: int, extra: tuple[str, ...]
) -> dict[str, Any]:
    step: dict[str, Any] = {"kind": kind, "number": chance.randint(0, 99)}
    if kind in NESTED:
        step["programs"] = [
            generate(chance, depth + 1, length_max, extra) for _ in range(chance.randint(1, 2))
        ]
    return step


def deal(number: int, of: int, *, without: tuple[str, ...] = ()) -> Program:
    """Return the `number`-th of so many workflows, to which all operations are dealt out, each once.

    Left out are those that ask somebody while they run, and `without`. What is within nested ones is random.
    """
    kinds = [kind for kind in (*SIMPLE, APPROVAL, *NESTED) if kind not in without]
    chance = random.Random(number)  # noqa: S311 - repeatable
    return _leaving([_step(chance, kind, 1, 2, (APPROVAL,)) for kind in kinds[number::of]], without)


def _leaving(program: Program, without: tuple[str, ...]) -> Program:
    return [
        {**step, "programs": [_leaving(each, without) for each in step.get("programs", ())]}
        for step in program
        if step["kind"] not in without
    ]


def kinds_of(program: Program) -> set[str]:
    """Return the operations of a workflow, nested ones included."""
    below = (kinds_of(each) for step in program for each in step.get("programs", ()))
    return {step["kind"] for step in program}.union(*below)


def approvals_in(program: Program) -> set[int]:
    """Return the numbers of the approvals that a workflow awaits, nested ones included."""
    below = (approvals_in(each) for step in program for each in step.get("programs", ()))
    return {step["number"] for step in program if step["kind"] == APPROVAL}.union(*below)


async def double(number: int) -> int:
    return number * 2


def halve(number: int) -> float:
    return number / 2


def twice_as_much(number: int) -> int:
    return number * 4


def weighed(number: int) -> int:
    return number * 3


def flaky(info: Info, number: int) -> int:
    if info.attempt == 1:
        raise ValueError("once more")
    return number + 1


async def broken(number: int) -> int:
    raise KeyError(number)


async def ask(info: Info, promise_id: str) -> None:
    tell: Ask = info.dependency("ask")
    await tell(promise_id)


async def interpret(ctx: Context, program: Program) -> list[object]:
    results: list[object] = []
    for step in program:
        results.append(await _perform(ctx, step["kind"], step["number"], step.get("programs", [])))
        ctx.dependency("witness")(f"{ctx.id}[{len(results)}]", results[-1])
    return results


async def follow(ctx: Context, earlier: Durable[int], number: int) -> int:
    """End after another call has, whatever the weather: a choice between both does not depend on time."""
    await earlier
    return await ctx.run(double, number)


async def rounds(ctx: Context, left: int, total: int) -> int:
    """Start over again and again; each round leaves local and remote calls behind."""
    total += await ctx.run(double, left)
    nested = ctx.begin_run(interpret, [{"kind": "run", "number": left}, {"kind": "rpc", "number": left}])
    total += await ctx.rpc(flaky, left) + len(await nested)
    return ctx.continue_as(left - 1, total=total) if left else total


async def committing(ctx: Context, number: int) -> list[object]:
    """Commit to a local and a remote step, and close: a tree of its own, whatever runs beside it."""
    await ctx.gather(ctx.run(weighed, number), ctx.rpc(weighed, number + 1))
    closing = await ctx.close_commitments(bytes(32))
    return [closing.count, closing.root.hex()]


async def endless(ctx: Context, program: Program) -> object:
    """Carry out a program again and again."""
    while True:
        await ctx.run(interpret, program)


async def ends_when_told(ctx: Context, number: int) -> int:
    """Ask to be cancelled, and clean up."""
    await ctx.run(ask, END + ctx.id)
    beside = ctx.begin_rpc(interpret, [{"kind": "long sleep", "number": 30}])
    try:
        await ctx.race(ctx.sleep(1_800), beside)
        return number
    finally:
        await ctx.run(double, number)


def interpret_as_generator(ctx: Context, program: Program) -> Generator[Any, Any, list[object]]:
    """The same for programs whose parts are plain calls; what is more is left to a local child."""
    results: list[object] = []
    for step in program:
        match step["kind"]:
            case "run" | "begin":
                results.append((yield ctx.run(double, step["number"])))
            case "rpc" | "forget":
                results.append((yield from ctx.rpc(double, step["number"])))
            case "sleep":
                yield ctx.sleep(0.5)
            case _:
                results.append((yield from ctx.run(interpret, [step])))
    return results


async def _perform(ctx: Context, kind: str, number: int, programs: list[Program]) -> object:  # noqa: PLR0911, PLR0912
    match kind:
        case "run":
            return await ctx.run(double, number)
        case "inline":
            return await ctx.run(halve, number)
        case "flaky":
            return await ctx.run(flaky, number)
        case "broken" | "remote failure":
            call = ctx.run if kind == "broken" else ctx.rpc
            try:
                return await call(broken, number)
            except ApplicationError as error:
                return [error.type_name, error.message]
        case "begin":
            late = ctx.begin_run(double, number)
            await ctx.run(double, 0)
            return await late
        case "forget":
            ctx.begin_run(flaky, number)
            ctx.begin_rpc(double, number)
        case "rpc":
            return await ctx.rpc(double, number)
        case "sleep":
            await ctx.sleep(number / 1000)
        case "long sleep":
            await ctx.sleep(60 * number)
        case "approval":
            return await ctx.promise(f"approval-{number}")
        case "detached":
            ctx.detached(double, number)
        case "awaited detached":
            return await ctx.detached(interpret, [{"kind": "run", "number": number}])
        case "random":
            # Its value differs from run to run; that it is the same on each replay shows in the record.
            drawn = await ctx.random()
            return await ctx.rpc(double, int(drawn) + number)
        case "now":
            return await ctx.now() <= await ctx.now()
        case "uuid":
            return (await ctx.uuid()) == (await ctx.uuid())
        case "version":
            first, second = ctx.run("versioned", number), ctx.options(version=1).run("versioned", number)
            return [await first, await second, await ctx.options(version=2).rpc("versioned", number)]
        case "patched":
            changed = await ctx.patched("change")
            return [changed, await ctx.version(f"rate-{number}", 0, number), await ctx.run(double, number)]
        case "race":
            return await ctx.race(ctx.sleep(WEEK_S), ctx.run(flaky, number))
        case "remote race":
            return await ctx.race(ctx.rpc(double, number), ctx.promise())
        case "any":
            nested = [{"kind": "run", "number": number}]
            return await ctx.any(ctx.run(broken, number), ctx.begin_run(interpret, nested))
        case "as completed":
            first = ctx.run(flaky, number)
            order = {first: 0, ctx.begin_run(follow, first, number): 1}
            return [(order[ended], await ended) async for ended in ctx.as_completed(*order)]
        case "shield":
            first = ctx.run(double, number)
            kept = ctx.begin_run(follow, first, number)
            return [await ctx.race(first, ctx.shield(kept)), await kept]
        case "rounds" | "remote rounds":
            call = ctx.run if kind == "rounds" else ctx.rpc
            return await call(rounds, number % ROUNDS, 0)
        case "cancelled":
            try:
                return await ctx.rpc(ends_when_told, number)
            except PromiseCanceled:
                return "cancelled"
        case "race to the end":
            loser = [{"kind": "rpc", "number": number}, {"kind": "long sleep", "number": 1}]
            return await ctx.race(ctx.begin_run(endless, loser), ctx.begin_rpc(double, number))
        case "in time":
            return await ctx.timeout(ctx.rpc(double, number), WEEK_S)
        case "too late":
            try:
                return await ctx.timeout(ctx.promise(), 0.01)
            except TimeoutError:
                return "too late"
        case "delayed":
            return await ctx.options(delay_s=number / 1000).rpc(double, number)
        case "committed":
            return await ctx.detached(committing, number)
        case "promise":
            promise = ctx.promise()
            await ctx.run(ask, promise.id)
            return await promise
        case "gather":
            return await ctx.gather(ctx.run(double, 1), ctx.rpc(double, 2), ctx.run(flaky, 3))
        case "child":
            return await ctx.run(interpret, programs[0])
        case "remote child":
            return await ctx.rpc(interpret, programs[0])
        case "generator child":
            return await ctx.run(interpret_as_generator, programs[0])
        case "remote generator":
            return await ctx.rpc(interpret_as_generator, programs[0])
        case "branches":
            return await ctx.gather(*[ctx.begin_run(interpret, program) for program in programs])
    return None


def no_witness(_: str, __: object) -> None:
    """Nobody compares what replays have seen."""


def register_programs(
    app: Orchestrator,
    ask_outside: Ask,
    *,
    witness: Callable[[str, object], None] = no_witness,
    delay_s: float = 0.001,
) -> Orchestrator:
    """Register all that a program needs."""
    workflows = (interpret, interpret_as_generator, follow, rounds, committing, ends_when_told, endless)
    for function in (*workflows, double, flaky, halve, ask):
        app.register(function, retry=Constant(delay_s=delay_s), executor="inline")
    app.register(weighed, retry=Constant(delay_s=delay_s), executor="inline", commit=True)
    app.register(broken, retry=Never())
    app.register(double, name="versioned", version=1)
    app.register(twice_as_much, name="versioned", version=2, executor="inline")
    app.set_dependency(ask_outside, name="ask")
    app.set_dependency(witness, name="witness")
    return app


def without_chance(stored: Mapping[str, PromiseRecord]) -> dict[str, object]:
    """Return what W3 speaks of (not times, attempts, task versions), without what was drawn by chance.

    What lies below a call that was cancelled while it went on may have got further or less far, and of what a
    workflow has left behind by starting over some may not be gone.
    """
    starts = [key for key, record in stored.items() if _function(record) == "ctx.continue_as"]
    cancelled = [key for key, record in stored.items() if record.state is PromiseState.REJECTED_CANCELED]
    return {
        promise_id: (record.state, record.param, record.value)
        for promise_id, record in sorted(stored.items())
        if _function(record) not in DRAWN
        and not any(precedes(promise_id, start) for start in starts)
        and not any(promise_id != key and extends(promise_id, key) for key in cancelled)
    }


def _function(record: PromiseRecord) -> str | None:
    return (record.param.headers or {}).get("func")
