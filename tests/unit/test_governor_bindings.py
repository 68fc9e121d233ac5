"""The bindings of Governors, of Bravo and of their tokens say what the compiled ABIs say."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from contracts.bindings import Event, Function, block_clock_governor, governor, governor_bravo, votes_token
from tests.governors import compiled
from tests.unit.test_contracts_bindings import abi_type, members

GOVERNORS = (
    "SimpleGovernor",
    "FractionalGovernor",
    "OverridableGovernor",
    "LateQuorumGovernor",
    "SuperQuorumGovernor",
)
CASES: list[tuple[ModuleType, tuple[str, ...]]] = [
    (governor, GOVERNORS),
    (governor_bravo, ("BravoGovernor",)),
    (votes_token, ("VotesToken",)),
    (block_clock_governor, ("BlockClockGovernor",)),
]


def abi(names: tuple[str, ...], kind: str) -> list[dict[str, Any]]:
    return [dict(entry) for name in names for entry in compiled(name).abi if entry["type"] == kind]


def signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(abi_type(item) for item in entry['inputs'])})"


@pytest.mark.parametrize(("module", "names"), CASES, ids=lambda each: getattr(each, "__name__", ""))
def test_functions_are_those_of_the_abi(module: ModuleType, names: tuple[str, ...]) -> None:
    outputs = {
        signature(each): [abi_type(item) for item in each["outputs"]] for each in abi(names, "function")
    }
    functions = members(module, Function)
    assert functions
    for function in functions:
        assert list(function.outputs) == [part for each in outputs[function.signature] for part in flat(each)]


def flat(kind: str) -> list[str]:
    """A struct without dynamic members is encoded as its members are, one after the other."""
    return kind[1:-1].split(",") if kind.startswith("(") else [kind]


def test_events_are_those_of_the_abi() -> None:
    told = {
        signature(each): [(item["name"], item["indexed"]) for item in each["inputs"]]
        for each in abi(GOVERNORS, "event")
    }
    events = members(governor, Event)
    assert len(events) == 9
    for event in events:
        assert told[event.signature] == [(each.name, each.indexed) for each in event.parameters]


def test_bravo_shares_the_topics() -> None:
    """Only their names differ, and those are no part of a topic."""
    told = {
        signature(each): [item["indexed"] for item in each["inputs"]]
        for each in abi(("BravoGovernor",), "event")
    }
    shared = [each for each in members(governor, Event) if each.signature in told]
    names = {"ProposalCreated", "VoteCast", "ProposalCanceled", "ProposalQueued", "ProposalExecuted"}
    assert {each.name for each in shared} == names
    for event in shared:
        assert told[event.signature] == [each.indexed for each in event.parameters]


def test_errors_are_those_of_the_abi() -> None:
    told = {
        each["name"]: tuple((item["type"], item["name"]) for item in each["inputs"])
        for each in [*abi(GOVERNORS, "error"), *abi(("VotesToken",), "error")]
    }
    for error in governor.ERRORS:
        assert told[error.name] == error.parameters
