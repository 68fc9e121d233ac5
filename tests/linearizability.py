"""Decides whether a history of concurrent calls could have been answered by the oracle, one call at a time.

The search is that of Wing and Gong with Lowe's memory: a call may stand next in the order only if no other
call that is not in the order yet was answered before it began; which calls are in the order, and the state
that they lead to, is visited once. `tests/engine_oracle.py` is the sequential specification.

Two rules keep it small, and lose nothing. A call that can have changed nothing, because it only reads or was
refused, is put into the order as soon as it may stand next and fits: moving it forward harms no other. (One
that happens to change nothing there, like a second halt, is not: later it might.) A call without an answer
(its server was killed, its connection was lost, 503) may have happened at any moment after it began or never;
it is tried only where it would change something.

Time is left out: histories use deadlines and leases that are far away or long gone, the moments in records
are not compared here, and `moments_differ` says if two readers saw different ones.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from tests.engine_oracle import Json, Oracle

STATES_MAX = 2_000_000
MOMENTS = ("createdAt", "settledAt")
UNSEEN = frozenset({"now", "timers", "touched", "listeners", "executes", "unblocks"})
"""What of the oracle no answer shows while no time passes: announcements, moments, who is told of an end."""
READING = frozenset({"promise.get", "promise.search", "task.get", "task.heartbeat"})
"""A heartbeat moves a lease, which is not part of the state here."""
Answer = tuple[int, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request; when it was sent and answered (seconds of one clock); no answer: nobody knows."""

    request: Json
    sent: float
    answered: float = math.inf
    answer: Answer | None = None
    where: str = ""

    @property
    def changes_nothing(self) -> bool:
        """Tell whether it can have changed nothing, wherever it stands."""
        return self.answer is not None and (self.request["kind"] in READING or self.answer[0] >= 400)


class Undecided(Exception):
    """The history needs a larger search than STATES_MAX."""


class State:
    """The oracle at one point of an order, and where each call leads from there."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.key = _key(oracle)
        self.moves: dict[int, tuple[Answer, State]] = {}

    def move(self, number: int, call: Call, known: dict[Any, State]) -> tuple[Answer, State]:
        """Return how the oracle answers a call here, and the state behind it; this one if nothing changes."""
        found = self.moves.get(number)
        if found is None:
            oracle = _copy(self.oracle)
            answer = oracle.one(call.request)
            after = State(oracle)
            found = self.moves[number] = (answer, known.setdefault(after.key, after))
        return found


def _copy(oracle: Oracle) -> Oracle:
    """Return another that may be changed: what an oracle holds is no deeper than collections of records."""
    other = Oracle()
    for name, value in vars(oracle).items():
        if isinstance(value, dict):
            value = {key: copy(each) for key, each in value.items()}  # noqa: PLW2901
        setattr(other, name, copy(value))
    return other


def _key(oracle: Oracle) -> Any:
    """Return all that a later answer may depend on."""
    return tuple(_frozen(value) for name, value in vars(oracle).items() if name not in UNSEEN)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(sorted((key, _frozen(each)) for key, each in value.items()))
    if isinstance(value, (set, frozenset)):
        return tuple(sorted(value))
    return repr(value)


def beginning() -> Oracle:
    """Return an oracle whose present is after 0: a deadline of 0 has passed, all others are far."""
    oracle = Oracle()
    oracle.now = 1
    return oracle


@dataclass(slots=True)
class _Search:
    """The order so far, as a set of calls, and what was tried before."""

    calls: list[Call]
    wanted: int
    known: dict[Any, State] = field(default_factory=dict)
    seen: set[tuple[int, Any]] = field(default_factory=set)
    best: int = 0
    best_at: tuple[int, State] | None = None

    def run(self) -> bool:
        """Tell whether there is an order."""
        start = State(beginning())
        self.known[start.key] = start
        waiting = [(0, start)]
        while waiting:
            done, state = self._settle(*waiting.pop())
            if done & self.wanted == self.wanted:
                return True
            if (done, state.key) in self.seen:
                continue
            if len(self.seen) >= STATES_MAX:
                raise Undecided(f"{len(self.calls)} calls need more than {STATES_MAX} states")
            self.seen.add((done, state.key))
            waiting.extend(self._successors(done, state))
        return False

    def _candidates(self, done: int) -> list[int]:
        """Return the calls that may stand next, the one that was answered first at the end."""
        found, earliest = [], math.inf
        for number, call in enumerate(self.calls):
            if call.sent > earliest:
                break
            if not done >> number & 1:
                found.append(number)
                earliest = min(earliest, call.answered)
        return sorted(found, key=lambda number: -self.calls[number].answered)

    def _settle(self, done: int, state: State) -> tuple[int, State]:
        """Take in every call that fits here and cannot have changed anything."""
        progress = True
        while progress:
            progress = False
            for number in self._candidates(done):
                call = self.calls[number]
                if not call.changes_nothing:
                    continue
                answer, _ = state.move(number, call, self.known)
                if agree(call.answer, answer):
                    done |= 1 << number
                    progress = True
        count = (done & self.wanted).bit_count()
        if self.best_at is None or count > self.best:
            self.best, self.best_at = count, (done, state)
        return done, state

    def _successors(self, done: int, state: State) -> Iterator[tuple[int, State]]:
        for number in self._candidates(done):
            call = self.calls[number]
            if call.changes_nothing:
                continue
            answer, after = state.move(number, call, self.known)
            if after.key != state.key if call.answer is None else agree(call.answer, answer):
                yield done | 1 << number, after

    def report(self) -> str:
        """Say where the longest order ended, and what the oracle would have answered there."""
        assert self.best_at is not None
        done, state = self.best_at
        lines = [f"no order explains these answers; the longest one ends after {self.best} of them, with"]
        lines += [f"  {key}: {task}" for key, task in sorted(state.oracle.tasks.items())]
        lines.append("and none of these could be next:")
        for number in self._candidates(done):
            call, (answer, _) = self.calls[number], state.move(number, self.calls[number], self.known)
            lines.append(f"  {call.where} {call.sent:.6f} to {call.answered:.6f} {call.request}")
            lines.append(f"    observed {call.answer}\n    oracle   {untimed(answer)}")
        return "\n".join(lines)


def explain(calls: Iterable[Call]) -> str | None:
    """Return None if some order of these calls is the oracle's, else what contradicts every one.

    Raises Undecided.
    """
    ordered = sorted(calls, key=lambda call: call.sent)
    wanted = sum(1 << number for number, call in enumerate(ordered) if call.answer is not None)
    search = _Search(ordered, wanted)
    return None if search.run() else search.report()


def explain_all(calls: Iterable[Call]) -> str | None:
    """Do the same for each origin by itself: no call of such a history touches two of them."""
    by_origin: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_origin[origin_of(call.request)].append(call)
    for origin, own in by_origin.items():
        fault = explain(own)
        if fault is not None:
            return f"{origin}, {len(own)} calls: {fault}"
    return moments_differ(call for own in by_origin.values() for call in own)


def origin_of(request: Json) -> str:
    """Return the origin of what a request names."""
    data = request["data"]
    if "tasks" in data:
        data = data["tasks"][0]
    if request["kind"] == "task.create":
        data = data["action"]["data"]
    named: str = data["tags"]["resonate:origin"] if request["kind"] == "promise.search" else ""
    return named or str(data.get("id", data.get("awaited"))).partition(":")[0]


# -- comparing


def agree(observed: Answer | None, right: Answer) -> bool:
    """Tell whether two answers are the same but for moments; a preload may have fewer promises."""
    if observed is None or observed[0] != right[0]:
        return False
    mine, his = untimed(observed[1]), untimed(right[1])
    if isinstance(his, dict) and "preload" in his:
        if any(promise not in his["preload"] for promise in mine["preload"]):
            return False
        mine, his = {**mine, "preload": []}, {**his, "preload": []}
    return bool(mine == his)


def untimed(value: Any) -> Any:
    """Return an answer without the moments in it."""
    if isinstance(value, dict):
        return {key: untimed(each) for key, each in value.items() if key not in MOMENTS}
    if isinstance(value, (list, tuple)):
        return [untimed(each) for each in value]
    return value


def moments_differ(calls: Iterable[Call]) -> str | None:
    """Return which promise was shown with two different moments of its creation or settlement, if any."""
    seen: dict[tuple[str, str], Any] = {}
    for call in calls:
        for record in _records(call.answer):
            for name in MOMENTS:
                if name in record and seen.setdefault((record["id"], name), record[name]) != record[name]:
                    return f"{name} of {record['id']} was {seen[record['id'], name]}, then {record[name]}"
    return None


def _records(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        if "createdAt" in value:
            yield value
        else:
            for each in value.values():
                yield from _records(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _records(each)
