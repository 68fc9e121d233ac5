"""The checker of histories: it accepts what the oracle could have answered, and nothing else."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests import linearizability
from tests.engine_oracle import Json
from tests.linearizability import Call, Undecided, beginning, explain, explain_all

FAR = 2**50
RECORD = {
    "id": "o",
    "state": "pending",
    "param": {},
    "value": {},
    "tags": {},
    "timeoutAt": FAR,
    "createdAt": 5,
}


def ask(kind: str, **data: Any) -> Json:
    return {"kind": kind, "data": data}


CREATE = ask("promise.create", id="o", timeoutAt=FAR)
GET = ask("promise.get", id="o")
SETTLE = ask("promise.settle", id="o", state="resolved", value={"data": "v"})
SETTLED = {**RECORD, "state": "resolved", "value": {"data": "v"}, "settledAt": 7}


def call(request: Json, sent: float, answered: float | None, status: int = 0, data: Any = None) -> Call:
    if answered is None:
        return Call(request=request, sent=sent)
    return Call(request=request, sent=sent, answered=answered, answer=(status, data))


def test_a_call_takes_effect_between_its_sending_and_its_answer() -> None:
    made = call(CREATE, 1, 5, 200, {"promise": RECORD})
    before, after = call(GET, 2, 3, 404), call(GET, 3.5, 4, 200, {"promise": RECORD})
    assert explain([made, before, after]) is None
    assert explain([made, call(GET, 6, 7, 404)]) is not None
    # Seen, and then not seen any more.
    assert explain([made, call(GET, 2, 3, 200, {"promise": RECORD}), call(GET, 3.5, 4, 404)]) is not None


def test_a_call_without_an_answer_may_have_happened_late_or_never() -> None:
    lost = call(CREATE, 1, None)
    seen = {"promise": RECORD}
    assert explain([lost, call(GET, 2, 3, 404)]) is None
    assert explain([lost, call(GET, 2, 3, 404), call(GET, 8, 9, 200, seen)]) is None
    assert explain([lost, call(GET, 2, 3, 200, seen), call(GET, 8, 9, 404)]) is not None
    assert explain([call(CREATE, 4, None), call(GET, 2, 3, 200, seen)]) is not None


def test_one_version_is_acquired_once() -> None:
    tags = {"resonate:target": "poll://any@g"}
    made = {**RECORD, "tags": tags}
    task = {"id": "o", "state": "acquired", "version": 1, "ttl": 9, "pid": "w", "resumes": 0}
    won = {"task": task, "promise": made, "preload": []}
    create = call(ask("promise.create", id="o", timeoutAt=FAR, tags=tags), 1, 2, 200, {"promise": made})
    acquire = ask("task.acquire", id="o", version=0, pid="w", ttl=9)
    assert explain([create, call(acquire, 3, 6, 200, won), call(acquire, 4, 5, 409)]) is None
    assert explain([create, call(acquire, 3, 6, 200, won), call(acquire, 4, 5, 200, won)]) is not None


def test_what_changes_nothing_here_may_change_something_later() -> None:
    tags = {"resonate:target": "poll://any@g"}
    made = {**RECORD, "tags": tags}
    halt, go_on = ask("task.halt", id="o"), ask("task.continue", id="o")
    create = call(ask("promise.create", id="o", timeoutAt=FAR, tags=tags), 1, 2, 200, {"promise": made})
    # The second halt fits twice: before the first `continue`, where it does nothing, and behind it.
    calls = [create, call(halt, 3, 4, 200, {}), call(go_on, 5, 8, 200, {}), call(halt, 6, 7, 200, {})]
    assert explain([*calls, call(go_on, 9, 10, 200, {})]) is None
    assert explain([*calls, call(go_on, 9, 10, 409)]) is None
    assert explain([*calls, call(go_on, 9, 10, 200, {}), call(go_on, 11, 12, 200, {})]) is not None


def test_moments_are_the_same_for_everybody() -> None:
    made = call(CREATE, 1, 2, 200, {"promise": RECORD})
    other = {"promise": {**RECORD, "createdAt": 6}}
    assert explain_all([made, call(GET, 3, 4, 200, {"promise": RECORD})]) is None
    assert "createdAt of o" in str(explain_all([made, call(GET, 3, 4, 200, other)]))


def test_a_search_that_grows_too_large_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linearizability, "STATES_MAX", 3)
    settles = [
        call(ask("promise.settle", id=f"o:{number}", state="resolved"), 3, None) for number in range(5)
    ]
    creates = [call(ask("promise.create", id=f"o:{number}", timeoutAt=FAR), 1, None) for number in range(5)]
    with pytest.raises(Undecided):
        explain([*creates, *settles, call(GET, 8, 9, 200, {"promise": RECORD})])


def _history(chance: random.Random) -> list[Call]:
    """Return calls that the oracle has answered one after the other, with intervals that overlap."""
    oracle, calls = beginning(), []
    for number in range(60):
        key = chance.choice(["o", "o:1"])
        request = chance.choice(
            [
                ask("promise.create", id=key, timeoutAt=FAR, param={"data": str(number)}),
                ask("promise.get", id=key),
                ask("promise.settle", id=key, state="resolved", value={"data": str(number)}),
            ]
        )
        status, data = oracle.one(request)
        sent, answered = number - chance.uniform(0, 3), number + chance.uniform(0, 3)
        calls.append(call(request, sent, None if chance.random() < 0.05 else answered, status, data))
    return calls


def test_true_histories_pass_and_one_false_answer_does_not() -> None:
    seed = random.randrange(2**32)  # noqa: S311
    print("seed", seed)  # noqa: T201
    chance = random.Random(seed)  # noqa: S311
    for _ in range(30):
        calls = _history(chance)
        assert explain(calls) is None
        answered = [each for each in calls if each.answer is not None and each.answer[0] == 200]
        false = chance.choice(answered)
        assert false.answer is not None
        record = {**false.answer[1]["promise"], "param": {"data": "never written"}}
        calls[calls.index(false)] = call(false.request, false.sent, false.answered, 200, {"promise": record})
        assert explain(calls) is not None
