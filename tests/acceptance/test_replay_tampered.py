"""Recorded proposals, replayed: each bundle passes the audit, and each tampered copy fails at its place.

A few proposals by default. With `DAO_SCORER_RECORDS=1` all of them under two policies, and every fifth under
each of the others that are built in, with each rule among them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from contracts.rpc import Node
from contracts.rpc.connection import Connection, Outcome, Request
from orchestrator.commitments import Bundle, bundle_from_json, bundle_to_json, jcs
from scorers.audit import Audit, audit
from scorers.policies import (
    AllowList,
    DenyList,
    FirstVoteBefore,
    MinimumWeight,
    ParticipationAdjusted,
    Quadratic,
    ReputationWeighted,
    TimeDecayed,
    TokenWeighted,
)
from scorers.policies.statement import state
from scorers.policy import AnyPolicy
from scorers.replay import run
from scorers.replay.dataset import load_dataset
from tests.acceptance.boundaries import RECORDS
from tests.data import DXDAO, needs_dxdao

FEW, FIFTH = 2, 5
HASH, LISTED, OTHER = "0x" + "12" * 32, "0x" + "aa" * 20, "0x" + "cd" * 20
POLICIES: dict[str, AnyPolicy | None] = {
    "participation-adjusted": state(ParticipationAdjusted(last=7), [DenyList(voters=(LISTED,))])
}
SAMPLED = {
    "token-weighted": state(TokenWeighted(), [MinimumWeight(weight=2), DenyList(voters=(LISTED,))]),
    "reputation-weighted": state(ReputationWeighted(), [FirstVoteBefore(), DenyList(voters=(LISTED,))]),
    "quadratic": state(Quadratic(), [MinimumWeight(weight=10**18), DenyList(voters=(LISTED,))]),
    "time-decayed": state(TimeDecayed(), [AllowList(voters=(LISTED,))]),
}
if RECORDS:
    POLICIES |= {"without configuration": None, **SAMPLED}
BALLOTS = "leaf 1 (fetch_votes), output: ballots"


class Quiet:
    """Nobody watches."""

    def played(self, done: int) -> None: ...
    def submitted(self, done: int) -> None: ...
    def verified(self, done: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Forgery:
    """How a bundle of so many `votes` is tampered with, which checks must fail, and a place that is told.

    `configured` means one whose policy is stated in it.
    """

    change: Callable[[Any], object]
    checks: set[str]
    place: Callable[[Any], str]
    votes: int = 0
    configured: bool = False

    def fits(self, content: Any, policy: str) -> bool:
        """Tell whether there is in the bundle what is tampered with."""
        votes: int = content["sections"]["votes"]["count"]
        return votes >= self.votes and not (self.configured and POLICIES[policy] is None)


def step(content: Any, function: str) -> Any:
    return next(leaf for leaf in content["leaves"] if leaf["function"] == function)


def rewritten(content: Any, function: str, side: str, change: Callable[[Any], object]) -> None:
    """Change a step's value and its hash, as a forger would at least."""
    leaf = step(content, function)
    value = json.loads(leaf[side])
    change(value)
    leaf[side] = jcs.encode(value)
    leaf[f"{side}_hash"] = "0x" + sha256(leaf[side].encode()).hexdigest()


def ballots(change: Callable[[list[Any]], object]) -> Callable[[Any], None]:
    return lambda content: rewritten(
        content, "fetch_votes", "output", lambda votes: change(votes["fields"]["ballots"])
    )


def heavier(found: list[Any]) -> None:
    found[0]["fields"]["weight"] = str(int(found[0]["fields"]["weight"]) + 1)


def added(found: list[Any]) -> None:
    found.append({**found[0], "fields": {**found[0]["fields"], "voter": OTHER}})


def of_policy(change: Callable[[Any], object]) -> Callable[[Any], None]:
    return lambda content: rewritten(
        content, "check_eligibility", "input", lambda given: change(given["policy"]["fields"])
    )


def of_statement(change: Callable[[Any], object]) -> Callable[[Any], None]:
    return of_policy(lambda fields: change(fields["statement"]["fields"]))


def other_parameter(fields: Any) -> None:
    if "minimum_weight" in fields:
        fields["minimum_weight"] = "2"
        return
    stated = fields["statement"]["fields"]
    parts = (stated, *(rule["fields"] for rule in stated["rules"]))
    parameters = next(part["parameters"] for part in parts if part["parameters"])
    name, value = next(iter(parameters.items()))
    parameters[name] = f"1{value}" if value.isdecimal() else OTHER


def other_list(stated: Any) -> None:
    stated["rules"][-1]["fields"]["lists"]["voters"].append(OTHER)


def value_alone(content: Any) -> None:
    leaf = step(content, "fetch_votes")
    leaf["output"] = leaf["output"].replace('"ballots":[', '"ballots":[{},', 1).replace("{},]", "{}]")


def set_in(*path: Any, value: object) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for name in path[:-1]:
            content = content[name]
        content[path[-1]] = value

    return change


def left_out_of_the_list(content: Any) -> None:
    votes = content["sections"]["votes"]
    del votes["leaves"][0]
    votes["count"] -= 1
    for index, vote in enumerate(votes["leaves"]):
        vote["index"] = index


def voter(content: Any) -> str:
    first: str = content["sections"]["votes"]["leaves"][0]["voter"]
    return first


SCORING = ("sections", "scoring")
RULE = "(check_eligibility), input: policy."
FORGERIES = {
    "value": Forgery(change=value_alone, checks={"values"}, place=lambda _: "leaf 1 (fetch_votes), output"),
    "weight": Forgery(
        change=ballots(heavier),
        checks={"leaves", "proofs", "root", "policy"},
        place=lambda content: f"{BALLOTS}[{voter(content)}].weight",
        votes=1,
    ),
    "order": Forgery(
        change=ballots(lambda found: found.reverse()),
        checks={"leaves", "proofs", "root"},
        place=lambda _: f"{BALLOTS}: place 0 of the order",
        votes=2,
    ),
    "voter left out": Forgery(
        change=ballots(lambda found: found.pop(0)),
        checks={"leaves", "proofs", "root", "policy"},
        place=lambda content: f"{BALLOTS}[{voter(content)}]",
        votes=1,
    ),
    "voter added": Forgery(
        change=ballots(added),
        checks={"leaves", "proofs", "root", "policy"},
        place=lambda _: f"{BALLOTS}[{OTHER}]",
        votes=1,
    ),
    "voter left out of the list": Forgery(
        change=left_out_of_the_list,
        checks={"votes"},
        place=lambda content: f"votes.leaves[{voter(content)}]",
        votes=1,
    ),
    "leaf": Forgery(change=set_in("leaves", 2, "hash", value=HASH), checks={"leaves"}, place=lambda _: ""),
    "root": Forgery(
        change=set_in("root", value=HASH), checks={"proofs", "root", "registry"}, place=lambda _: ""
    ),
    "policy parameter": Forgery(
        change=of_policy(other_parameter), checks={"leaves", "scoring"}, place=lambda _: RULE
    ),
    "policy list": Forgery(
        change=of_statement(other_list), checks={"leaves", "scoring"}, place=lambda _: RULE, configured=True
    ),
    "policy rule": Forgery(
        change=of_statement(lambda stated: stated["rules"].pop()),
        checks={"leaves", "scoring"},
        place=lambda _: RULE,
        configured=True,
    ),
    "policy code": Forgery(
        change=of_statement(lambda stated: stated.update(code=HASH)),
        checks={"leaves", "scoring"},
        place=lambda _: RULE,
        configured=True,
    ),
    "other chain": Forgery(
        change=set_in(*SCORING, "chain_id", value=1), checks={"scoring", "chain"}, place=lambda _: ""
    ),
    "other contract": Forgery(
        change=set_in(*SCORING, "registry", value=OTHER),
        checks={"scoring", "domain", "registry", "transaction"},
        place=lambda _: "",
    ),
    "other DAO": Forgery(
        change=set_in(*SCORING, "dao", value=OTHER),
        checks={"scoring", "standing", "score"},
        place=lambda _: "",
    ),
}


def remember(monkeypatch: pytest.MonkeyPatch, known: dict[str, Outcome]) -> None:
    """Ask the chain, on which nothing happens any more, the same thing once: copies differ in little."""
    batch = Connection.batch

    async def batched(connection: Connection, requests: Sequence[Request]) -> list[Outcome]:
        asked = {repr(each): each for each in requests}
        new = {key: each for key, each in asked.items() if key not in known}
        known.update(zip(new, await batch(connection, list(new.values())), strict=True))
        return [known[repr(each)] for each in requests]

    async def request(connection: Connection, method: str, params: Sequence[object]) -> Outcome:
        return (await batched(connection, [(method, params)]))[0]

    monkeypatch.setattr(Connection, "batch", batched)
    monkeypatch.setattr(Connection, "request", request)


@needs_dxdao
@pytest.mark.timeout(7_200 if RECORDS else 170)
@pytest.mark.parametrize("policy", POLICIES)
async def test_each_tampered_copy_of_a_recorded_bundle_fails_at_its_place(
    policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = Counter[str]()
    told_by_the_chain: dict[str, Outcome] = {}

    async def audited(node: Node, bundle: Bundle) -> Audit:
        if not told_by_the_chain:
            remember(monkeypatch, told_by_the_chain)
        for name, forgery in FORGERIES.items():
            content = json.loads(bundle_to_json(bundle))
            if not forgery.fits(content, policy):
                continue
            place = forgery.place(content)
            forgery.change(content)
            found = await audit(node, bundle_from_json(json.dumps(content)))
            failed = {check.name for check in found.checks if not check.ok}
            assert forgery.checks <= failed, (name, bundle.promise_id, found)
            told = [each.place for each in found.differences]
            assert not place or any(place in each for each in told), (name, bundle.promise_id, told)
            tried[name] += 1
        return await audit(node, bundle)

    monkeypatch.setattr(run, "audit", audited)
    proposals = load_dataset(DXDAO, None if RECORDS else FEW)[:: FIFTH if policy in SAMPLED else 1]
    results = await run.replay(proposals, tmp_path, Quiet(), POLICIES[policy])
    assert [each.proof_faults for each in results] == [()] * len(proposals)
    assert tried.keys() == {
        name for name, each in FORGERIES.items() if not (each.configured and POLICIES[policy] is None)
    }
    print(dict(tried))  # noqa: T201 - how many copies of each kind
