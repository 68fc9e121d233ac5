"""The audit: right bundles hold, each tampered one fails with the place named; proofs of steps and voters."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import jsonschema_rs
import msgspec
import pytest

from contracts.bindings.reputation_dao import Support
from contracts.rpc import Node
from orchestrator.commitments import (
    Bundle,
    ProofError,
    bundle_from_json,
    bundle_to_json,
    jcs,
    step_proof,
    step_proof_from_json,
    verify_step_proof,
)
from orchestrator.server import fetch_bundle
from scorers.audit import Audit, audit
from scorers.claim import Claim, EvidenceError, section_in
from scorers.differences import _keyed
from scorers.evidence import _last_submission, verify_place
from scorers.policy import Policy
from scorers.schema import SCHEMA_FILE, evidence_schema
from scorers.serving import PROOFS
from scorers.voter_proof import VoterProof, bundle_of, verify_voter_proof, voter_proof, voter_proof_of
from scorers.workflow import score_proposal
from tests.scorers_chain import ACCOUNTS, World, world

IN_FAVOUR, AGAINST, SMALL = (ACCOUNTS[index][0] for index in (2, 3, 4))
STRANGER = ACCOUNTS[9][0]


@dataclass(frozen=True)
class Scored:
    made: World
    node: Node
    bundle: Bundle

    @property
    def content(self) -> Any:
        return json.loads(bundle_to_json(self.bundle))

    async def audit(self, content: Any) -> Audit:
        return await audit(self.node, bundle_from_json(json.dumps(content)))


@pytest.fixture
async def scored() -> AsyncIterator[Scored]:
    async with world() as made:
        await made.reputations({2: 10, 3: 20, 4: 1, 5: 4})
        request = await made.propose()
        await made.mine()
        for voter, support in ((2, 1), (3, 0), (4, 1), (5, 2)):
            await made.vote(voter, request, Support(support))
        await made.mine(25)
        async with made.scoring(policy=Policy(minimum_weight=2)) as app:
            await made.end(app, request)
            async with asyncio.timeout(30):
                await app.rpc(request.promise_id, score_proposal, request)
            call = app._started().transport.call
            bundle = await fetch_bundle(call, request.promise_id, PROOFS.sections, decode=PROOFS.decode)
        yield Scored(made=made, node=made.node, bundle=bundle)


def fields(content: Any, leaf: int, side: str, change: Callable[[Any], None]) -> None:
    """Change the value of a step, and its hash with it: what a forger would do at least."""
    record = content["leaves"][leaf]
    value = json.loads(record[side])
    change(value)
    record[side] = jcs.encode(value)
    record[f"{side}_hash"] = "0x" + sha256(record[side].encode()).hexdigest()


def ballots(change: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda content: fields(content, 1, "output", lambda votes: change(votes["fields"]["ballots"]))


def heavier(found: Any) -> None:
    found[1]["fields"]["weight"] = "21"


def left_out(found: Any) -> None:
    del found[1]


def added(found: Any) -> None:
    found.append({**found[0], "fields": {**found[0]["fields"], "voter": STRANGER, "log_index": 9}})


def reordered(found: Any) -> None:
    found[0], found[1] = found[1], found[0]


def other_policy(content: Any) -> None:
    def change(given: Any) -> None:
        given["policy"]["fields"]["minimum_weight"] = "1"

    fields(content, 3, "input", change)


def at(*path: Any, value: object) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        place = content
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


def listed(change: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda content: change(content["sections"]["votes"])


def vote_gone(votes: Any) -> None:
    del votes["leaves"][1]
    votes["count"] -= 1
    for index, vote in enumerate(votes["leaves"]):
        vote["index"] = index


def vote_twice(votes: Any) -> None:
    votes["leaves"].append({**votes["leaves"][0], "index": len(votes["leaves"])})
    votes["count"] += 1


def inner_node(content: Any) -> None:
    leaf = content["leaves"][0]
    content["leaves"][0] = {**leaf, "hash": leaf["proof"][0], "proof": leaf["proof"][1:]}


HASH = "0x" + "12" * 32
OTHER = "0x" + "cd" * 20
SECTION = ("sections", "scoring")
BALLOTS = "leaf 1 (fetch_votes), output: ballots"
TAMPERED: dict[str, tuple[Callable[[Any], None], set[str], str | None]] = {
    "value": (at("leaves", 1, "output", value="[]"), {"values"}, "leaf 1 (fetch_votes), output"),
    "weight": (ballots(heavier), {"leaves", "root"}, f"{BALLOTS}[{AGAINST}].weight"),
    "voter left out": (ballots(left_out), {"leaves", "root"}, f"{BALLOTS}[{AGAINST}]"),
    "voter added": (ballots(added), {"leaves", "root"}, f"{BALLOTS}[{STRANGER}]"),
    "order": (ballots(reordered), {"leaves", "root"}, f"{BALLOTS}: place 0 of the order"),
    "policy parameter": (
        other_policy,
        {"leaves", "scoring"},
        "leaf 3 (check_eligibility), input: policy.minimum_weight",
    ),
    "policy of the section": (
        at(*SECTION, "policy", "minimum_weight", value="1"),
        {"scoring", "score"},
        "leaf 3 (check_eligibility), input: policy.minimum_weight",
    ),
    "leaf": (at("leaves", 2, "hash", value=HASH), {"leaves"}, None),
    "inner node for a leaf": (inner_node, {"leaves", "proofs"}, None),
    "leaf's hash of a value": (
        at("leaves", 2, "output_hash", value=HASH),
        {"values"},
        "the hash of leaf 2 (score_reputations), output",
    ),
    "version of a step": (
        at("leaves", 4, "version", value=1),
        {"leaves", "root"},
        "the version of leaf 4 (calculate_score)",
    ),
    "root": (at("root", value=HASH), {"proofs", "root", "registry"}, None),
    "score": (at(*SECTION, "score", value=9), {"scoring", "tally", "registry"}, "the score"),
    "root of the votes": (at(*SECTION, "votes_root", value=HASH), {"scoring"}, "the root of the votes"),
    "listed vote left out": (listed(vote_gone), {"votes", "tally"}, f"votes.leaves[{AGAINST}]"),
    "listed voter twice": (listed(vote_twice), {"votes"}, f"votes.leaves[{IN_FAVOUR} (2)]"),
    "listed weight": (
        at("sections", "votes", "leaves", 0, "counted_weight", value="11"),
        {"votes", "tally"},
        f"votes.leaves[{IN_FAVOUR}].counted_weight",
    ),
    "reason": (
        at("sections", "votes", "leaves", 2, "reason", value="already voted"),
        {"votes"},
        f"votes.leaves[{SMALL}].reason",
    ),
    "other chain": (at(*SECTION, "chain_id", value=1), {"scoring", "chain"}, None),
    "other contract": (at(*SECTION, "registry", value=OTHER), {"scoring", "domain"}, None),
    "other DAO": (at(*SECTION, "dao", value=OTHER), {"scoring", "score"}, None),
    "snapshot": (at(*SECTION, "snapshot", value=1), {"scoring"}, "the snapshot"),
}


async def test_a_right_bundle_passes_the_audit(scored: Scored) -> None:
    found = await scored.audit(scored.content)
    assert found.ok, found
    assert found.differences == []


async def test_each_tampered_bundle_fails_and_names_the_place(scored: Scored) -> None:
    for name, (change, checks, place) in TAMPERED.items():
        content = scored.content
        change(content)
        found = await scored.audit(content)
        failed = {check.name for check in found.checks if not check.ok}
        assert not found.ok, name
        assert checks <= failed, (name, failed)
        if place is not None:
            assert place in [each.place for each in found.differences], (name, found.differences)


async def test_a_bundle_without_values_is_rebuilt_from_the_chain(scored: Scored) -> None:
    content = scored.content
    for leaf in content["leaves"]:
        leaf["input"] = leaf["output"] = None
    found = await scored.audit(content)
    assert [check.name for check in found.checks if not check.ok] == ["values", "scoring", "votes", "policy"]
    assert found.differences == []


async def test_the_published_schema_takes_what_is_served_and_nothing_else(scored: Scored) -> None:
    assert SCHEMA_FILE.read_bytes() == evidence_schema(), (
        "write it anew: dao-scorer proof schema -o scorers/evidence-bundle.schema.json"
    )
    validator = jsonschema_rs.validator_for(json.loads(evidence_schema()))
    assert validator.is_valid(scored.content)
    for path, value in (
        (("version",), 1),
        (("root",), "0x12"),
        (("leaves", 0, "index"), -1),
        (("sections", "scoring", "for_votes"), 10),
        (("sections", "votes", "leaves", 0, "weight"), "1.5"),
        (("extra",), 1),
    ):
        content = scored.content
        at(*path, value=value)(content)
        assert not validator.is_valid(content), path


async def test_a_single_step_is_proven(scored: Scored) -> None:
    proof = step_proof_from_json(bundle_to_json(step_proof(scored.bundle, 4)))
    assert all(check.ok for check in verify_step_proof(proof))
    assert all(check.ok for check in await verify_place(scored.node, bundle_of(voter(scored, IN_FAVOUR))))
    forged = msgspec.structs.replace(proof, leaf=msgspec.structs.replace(proof.leaf, output="{}"))
    assert [check.name for check in verify_step_proof(forged) if not check.ok] == [
        "values",
        "leaves",
        "proofs",
    ]
    with pytest.raises(ProofError, match="5 steps, counted from 0: there is no 5"):
        step_proof(scored.bundle, 5)


def voter(scored: Scored, address: str) -> VoterProof:
    return voter_proof_of(json.loads(bundle_to_json(voter_proof(scored.bundle, address))))


async def test_a_voter_proves_how_the_vote_was_treated(scored: Scored) -> None:
    told = {}
    for address in (IN_FAVOUR, AGAINST.upper().replace("0X", "0x"), SMALL):
        checks = verify_voter_proof(voter(scored, address))
        assert all(check.ok for check in checks), checks
        told[address.lower()] = checks[-1].detail
    shown = voter(scored, IN_FAVOUR)
    assert shown.leaf.input is None
    assert AGAINST not in bundle_to_json(shown).decode(), "other votes make it longer"
    assert told[IN_FAVOUR] == f"{IN_FAVOUR}: counted with 10"
    assert told[SMALL] == f"{SMALL}: left out: below the minimum weight"
    with pytest.raises(ProofError, match="none of the voters of the 4 votes"):
        voter_proof(scored.bundle, STRANGER)
    with pytest.raises(ProofError, match="no address"):
        voter_proof(scored.bundle, "0x12")


@pytest.mark.parametrize(
    ("path", "value", "check"),
    [
        (("votes", 0, "vote", "counted_weight"), "11", "vote"),
        (("votes", 0, "vote", "voter"), OTHER, "vote"),
        (("votes", 0, "vote", "weight"), "1e3", "vote"),
        (("votes", 0, "proof"), [], "vote"),
        (("votes",), [], "vote"),
        (("votes_root",), HASH, "verdict"),
        (("votes_count",), 5, "verdict"),
        (("leaf", "output"), "{}", "values"),
        (("leaf", "proof"), [], "proofs"),
    ],
    ids=str,
)
async def test_a_tampered_proof_of_a_voter_fails(
    scored: Scored, path: tuple[Any, ...], value: object, check: str
) -> None:
    content = json.loads(bundle_to_json(voter_proof(scored.bundle, IN_FAVOUR)))
    at(*path, value=value)(content)
    failed = [each.name for each in verify_voter_proof(voter_proof_of(content)) if not each.ok]
    assert check in failed


async def test_a_forged_bundle_does_not_keep_its_reader_busy(scored: Scored) -> None:
    """Neither the reader's processor, nor the reader's node, nor its stack."""

    def of_one_voter(found: list[Any]) -> None:
        found.extend({**found[0], "fields": {**found[0]["fields"], "log_index": at}} for at in range(2_000))

    def many_steps(content: Any) -> None:
        content["leaves"] += [{**content["leaves"][0], "index": 5 + more} for more in range(100)]

    deep = "[" * 700 + "]" * 700
    changes: dict[str, tuple[Callable[[Any], None], str]] = {
        "one voter": (ballots(of_one_voter), f"{BALLOTS}[{IN_FAVOUR} (2001)]"),
        "steps": (many_steps, "the number of steps"),
        "a deep value": (at("leaves", 1, "output", value=deep), "leaf 1 (fetch_votes), output"),
        "a deep section": (at("sections", "votes", "leaves", value=json.loads(deep)), "votes.leaves[0]"),
    }
    for name, (change, place) in changes.items():
        content = scored.content
        change(content)
        began = time.process_time()
        found = await scored.audit(content)
        assert time.process_time() - began < 20, name
        assert not found.ok
        assert any(each.place.startswith(place) for each in found.differences) or name == "one voter", found
    assert len(_keyed([{"voter": IN_FAVOUR}] * 50_000)) == 50_000


async def test_a_contract_of_endless_rounds_is_no_registry(scored: Scored) -> None:
    class Endless:
        async def call(self, _to: str, _data: bytes, _block: int) -> bytes:
            return (2**32 - 1).to_bytes(32, "big")

    claim = Claim(bundle=scored.bundle, section=section_in(scored.bundle), proposal_id=1, at=1)
    with pytest.raises(EvidenceError, match="says that this is round 4294967295"):
        await _last_submission(cast("Node", Endless()), claim)
