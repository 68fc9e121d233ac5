"""Scoring under every policy, end to end: scored, audited from the chain alone, and tampered with.

What each policy should give is computed here from what the test itself did, in exact fractions.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from math import floor, trunc
from pathlib import Path
from typing import Any

import pytest

from contracts.bindings import proposal_scores, reputation_dao
from contracts.bindings.reputation_dao import ClockUnit, Support
from listener.invocation import ProposalRequest
from orchestrator.commitments import Bundle, bundle_from_json, bundle_to_json, jcs, verify_bundle
from orchestrator.server import fetch_bundle
from scorers.arithmetic import verify_scoring
from scorers.audit import audit
from scorers.policies import (
    AllowList,
    DenyList,
    FirstVoteBefore,
    MinimumWeight,
    ParticipationAdjusted,
    Quadratic,
    ReputationWeighted,
    Rule,
    TimeDecayed,
    TokenWeighted,
    Weighting,
)
from scorers.policies.statement import state
from scorers.policies.template import CappedWeight, NoAbstention
from scorers.policy import AnyPolicy, Policy, policy_hash
from scorers.serving import PROOFS
from scorers.values import ScoreOutcome, ScoreStatus
from scorers.workflow import score_proposal
from tests.scorers_chain import ACCOUNTS, World, world

PERIOD = {ClockUnit.BLOCK_NUMBER: 8, ClockUnit.TIMESTAMP: 600}
WEIGHTS = {2: 1_000, 3: 37, 4: 250, 5: 9}
REPUTATIONS = {2: 3, 3: 500, 4: 41}
VOTED_BEFORE = {1: (2, 4), 2: (2, 3), 3: (2,)}
"""Who votes on the three proposals that are closed before the one that is scored."""
SIDES = {2: Support.FOR, 3: Support.AGAINST, 4: Support.FOR, 5: Support.AGAINST}
NAMES = {index: ACCOUNTS[index][0] for index in WEIGHTS}


@dataclass
class Stage:
    """A DAO with a past, a contract of reputations, and a proposal whose vote has ended."""

    made: World
    request: ProposalRequest
    reputation: str
    ages: dict[int, int]

    async def scored(
        self, policy: AnyPolicy, *, others: Sequence[AnyPolicy] = ()
    ) -> tuple[ScoreOutcome, Bundle]:
        async with self.made.scoring(policy=policy, other_policies=others) as app:
            await self.made.end(app, self.request)
            async with asyncio.timeout(30):
                outcome = await app.rpc(self.request.promise_id, score_proposal, self.request)
            call = app._started().transport.call
            bundle = await fetch_bundle(call, self.request.promise_id, PROOFS.sections, decode=PROOFS.decode)
        return outcome, bundle


async def time_of(made: World) -> int:
    return (await made.node.header("latest")).timestamp


async def wait_out(made: World, clock: ClockUnit) -> None:
    if clock is ClockUnit.TIMESTAMP:
        await made.pass_time(PERIOD[clock] + 1)
    else:
        await made.mine(PERIOD[clock] + 1)


@asynccontextmanager
async def stage(clock: ClockUnit = ClockUnit.BLOCK_NUMBER) -> AsyncIterator[Stage]:
    async with world(clock, PERIOD[clock]) as made:
        await made.reputations(WEIGHTS)
        dao = made.dao
        made.dao = reputation = await made._deployed("ReputationDao", ACCOUNTS[0][0], 5, int(clock))
        await made.reputations(REPUTATIONS)
        made.dao = dao
        for voters in VOTED_BEFORE.values():
            earlier = await made.propose()
            await made.mine()
            for voter in voters:
                await made.vote(voter, earlier, Support.ABSTAIN)
            await wait_out(made, clock)
        open_yet = await made.propose()  # its deadline does not lie before the snapshot: it is not closed
        await made.mine()
        await made.vote(5, open_yet, Support.FOR)
        request, ages = await made.propose(), {}
        created = await time_of(made)
        await made.mine()
        for voter, side in SIDES.items():
            await made.node.request("evm_increaseTime", [11 * voter])
            await made.vote(voter, request, side)
            ages[voter] = await time_of(made) - created
        # What comes afterwards changes nothing.
        made.dao = reputation
        await made.reputations(dict.fromkeys(REPUTATIONS, 7))
        made.dao = dao
        await made.reputations(dict.fromkeys(WEIGHTS, 7))
        await wait_out(made, clock)
        await made.mine(2)
        yield Stage(made=made, request=request, reputation=reputation, ages=ages)


def root_of(number: int) -> int:
    """The integer square root, by counting."""
    root = 0
    while (root + 1) * (root + 1) <= number:
        root += 1
    return root


def decayed(weight: int, age: int, half_life: int) -> int:
    """On the straight line between two halvings, in fractions."""
    halvings = age // half_life
    before, after = Fraction(weight, 2**halvings), Fraction(weight, 2 ** (halvings + 1))
    return floor(before + (after - before) * Fraction(age % half_life, half_life))


def expected(weights: dict[int, int]) -> tuple[int, int, int]:
    """The score, and the sums for and against."""
    sums = {side: sum(weights.get(voter, 0) for voter in SIDES if SIDES[voter] is side) for side in Support}
    in_favour, against = sums[Support.FOR], sums[Support.AGAINST]
    score = trunc(Fraction(10_000 * (in_favour - against), in_favour + against)) if weights else 0
    return score, in_favour, against


def share(voter: int, last: int) -> Fraction:
    numbers = sorted(VOTED_BEFORE)[-last:]
    return Fraction(sum(voter in VOTED_BEFORE[number] for number in numbers), len(numbers))


Expected = Callable[[Stage], dict[int, int]]
POLICIES: dict[str, tuple[Callable[[Stage], Weighting], tuple[Rule, ...], Expected]] = {
    "token-weighted": (lambda _: TokenWeighted(), (), lambda _: WEIGHTS),
    "reputation-weighted": (
        lambda on: ReputationWeighted(contract=on.reputation),
        (MinimumWeight(weight=4),),
        lambda _: {3: 500, 4: 41},
    ),
    "reputation-weighted, balanceOf-like reads refused nowhere": (
        lambda _: ReputationWeighted(),
        (MinimumWeight(weight=10),),
        lambda _: {voter: weight for voter, weight in WEIGHTS.items() if weight >= 10},
    ),
    "quadratic": (
        lambda _: Quadratic(),
        (),
        lambda _: {voter: root_of(weight) for voter, weight in WEIGHTS.items()},
    ),
    "participation-adjusted": (
        lambda _: ParticipationAdjusted(last=2, base_bps=2_500),
        (),
        lambda _: {
            voter: floor(weight * (Fraction(1, 4) + Fraction(3, 4) * share(voter, 2)))
            for voter, weight in WEIGHTS.items()
        },
    ),
    "time-decayed": (
        lambda _: TimeDecayed(half_life_s=40),
        (),
        lambda on: {voter: decayed(weight, on.ages[voter], 40) for voter, weight in WEIGHTS.items()},
    ),
    "rules": (
        lambda _: Quadratic(),
        (
            MinimumWeight(weight=10),
            FirstVoteBefore(),
            AllowList(voters=(NAMES[2], NAMES[3], NAMES[5])),
            DenyList(voters=(NAMES[3],)),
        ),
        lambda _: {2: root_of(1_000)},
    ),
}
REASONS = {
    NAMES[3]: "on the deny list",
    NAMES[4]: "not on the allow list",
    NAMES[5]: "below the minimum weight",
}


@pytest.mark.parametrize("clock", ClockUnit)
async def test_every_policy_scores_exactly_and_passes_the_audit(clock: ClockUnit) -> None:
    async with stage(clock) as on:
        snapshot = await on.made.node.request("evm_snapshot", [])
        for name, (weighting, rules, weights) in POLICIES.items():
            policy = state(weighting(on), rules)
            outcome, bundle = await on.scored(policy)
            score, in_favour, against = expected(weights(on))
            assert (outcome.status, outcome.score) == (ScoreStatus.SCORED, score), name
            assert (outcome.for_votes, outcome.against_votes) == (in_favour, against), name
            assert (outcome.counted, outcome.excluded) == (len(weights(on)), 4 - len(weights(on))), name
            assert outcome.policy == policy
            found = await audit(on.made.node, bundle)
            assert found.ok, (name, found)
            assert [check.name for check in found.checks][-8] == "policy", name
            if name == "rules":
                votes: Any = bundle.sections["votes"]
                assert {v["voter"]: v["reason"] for v in votes["leaves"] if not v["counted"]} == REASONS
            await on.made.node.request("evm_revert", [snapshot])
            snapshot = await on.made.node.request("evm_snapshot", [])


def stated(content: Any) -> Any:
    return content["sections"]["scoring"]["policy"]


def step(content: Any, function: str) -> Any:
    return next(leaf for leaf in content["leaves"] if leaf["function"] == function)


def forged(content: Any, function: str, side: str, change: Callable[[Any], None]) -> None:
    leaf = step(content, function)
    value = json.loads(leaf[side])
    change(value)
    leaf[side] = jcs.encode(value)
    leaf[f"{side}_hash"] = "0x" + sha256(leaf[side].encode()).hexdigest()


def last_in_steps(content: Any) -> None:
    def change(given: Any) -> None:
        statement = given["policy"]["fields"].get("statement", given["policy"])
        statement["fields"]["parameters"]["last"] = "5"

    forged(content, "read_policy_inputs", "input", change)
    forged(content, "check_eligibility", "input", change)


def last_in_section(content: Any) -> None:
    stated(content)["parameters"]["last"] = "5"


def last_everywhere(content: Any) -> None:
    last_in_steps(content)
    last_in_section(content)


def listed_more(content: Any) -> None:
    stated(content)["rules"][1]["lists"]["voters"].append("0x" + "ff" * 20)


def other_code(content: Any) -> None:
    stated(content)["code"] = "0x" + "00" * 32


def taken_part_less(content: Any) -> None:
    def less(given: Any) -> None:
        given["fields"]["participations"][0]["fields"]["proposals"] = [0]

    def into(given: Any) -> None:
        less(given["policy"]["fields"]["inputs"])

    forged(content, "read_policy_inputs", "output", less)
    forged(content, "check_eligibility", "input", into)


def read_otherwise(content: Any) -> None:
    def change(given: Any) -> None:
        given["fields"]["participations"][0]["fields"]["proposals"] = [0]

    forged(content, "read_policy_inputs", "output", change)


def read_for_another(content: Any) -> None:
    def change(given: Any) -> None:
        given["policy"]["fields"]["parameters"]["last"] = "5"

    forged(content, "read_policy_inputs", "input", change)


def never_read(content: Any) -> None:
    content["leaves"].remove(step(content, "read_policy_inputs"))


def heavier(content: Any) -> None:
    content["sections"]["votes"]["leaves"][0]["counted_weight"] = "1000000"

    def change(given: Any) -> None:
        given["fields"]["counted"][0]["fields"]["weight"] = "1000000"

    forged(content, "check_eligibility", "output", change)


TAMPERED = {
    "a parameter of the steps": (
        last_in_steps,
        {"leaves", "root", "scoring"},
        "leaf 3 (read_policy_inputs), input: policy.parameters.last",
    ),
    "a parameter of the section": (
        last_in_section,
        {"scoring", "score"},
        "leaf 4 (check_eligibility), input: policy.statement.parameters.last",
    ),
    "a parameter, everywhere": (
        last_everywhere,
        {"leaves", "root", "score"},
        "leaf 3 (read_policy_inputs), output: closed_proposals",
    ),
    "a list": (
        listed_more,
        {"scoring"},
        "leaf 4 (check_eligibility), input: policy.statement.rules[1].lists",
    ),
    "the code": (other_code, {"scoring", "score"}, None),
    "an input": (
        taken_part_less,
        {"leaves", "policy"},
        "leaf 3 (read_policy_inputs), output: participations",
    ),
    "an input, where it was read": (
        read_otherwise,
        {"leaves", "scoring"},
        "leaf 3 (read_policy_inputs), output: participations",
    ),
    "a parameter, where it was read for": (
        read_for_another,
        {"leaves", "scoring"},
        "leaf 3 (read_policy_inputs), input: policy.parameters.last",
    ),
    "the whole reading": (never_read, {"completeness", "scoring"}, "the number of steps"),
    "a weight": (heavier, {"leaves", "votes", "policy"}, "leaf 4 (check_eligibility), output: counted"),
}


async def test_each_tampered_part_of_a_policy_is_named() -> None:
    async with stage() as on:
        policy = state(ParticipationAdjusted(last=2), [MinimumWeight(), DenyList(voters=(NAMES[3],))])
        _, bundle = await on.scored(policy)
        assert all(check.ok for check in (*verify_bundle(bundle), *verify_scoring(bundle)))
        for name, (change, checks, place) in TAMPERED.items():
            content = json.loads(bundle_to_json(bundle))
            change(content)
            found = await audit(on.made.node, bundle_from_json(json.dumps(content)))
            failed = {check.name for check in found.checks if not check.ok}
            assert checks <= failed, (name, found)
            places = [each.place for each in found.differences]
            assert place is None or any(each.startswith(place) for each in places), (name, places)


def spoilt(value: Any, chance: random.Random, worse: object) -> Any:
    """Put something else in one place of a value, by chance."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        return {**value, key: spoilt(value[key], chance, worse)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        return [*value[:place], spoilt(value[place], chance, worse), *value[place + 1 :]]
    return worse


async def test_spoilt_values_are_told_and_never_a_fault_of_the_verifier() -> None:
    seed = int(os.environ.get("DAO_SCORER_SEED", secrets.randbelow(10**6)))
    sys.stdout.write(f"DAO_SCORER_SEED={seed}\n")
    chance = random.Random(seed)  # noqa: S311 - no secret
    async with stage() as on:
        policy = state(ParticipationAdjusted(last=2), [MinimumWeight(), FirstVoteBefore()])
        _, bundle = await on.scored(policy)
        for turn in range(120):
            content = json.loads(bundle_to_json(bundle))
            worse = chance.choice([None, "", "x", -1, 2**52, [], {}, True, "1" * 5_000])
            leaf, side = chance.choice(content["leaves"]), chance.choice(["input", "output"])
            place, kind = content["sections"]["scoring"], chance.random()
            if kind < 0.2:
                place["policy"] = spoilt(place["policy"], chance, worse)
            elif kind < 0.4:
                # Which release computed is told, and nobody can check it.
                place[chance.choice(sorted(place.keys() - {"code"}))] = worse
            else:
                value = json.loads(leaf[side])
                leaf[side] = jcs.encode(spoilt(value, chance, worse))
            read = bundle_from_json(json.dumps(content))
            told = [*verify_bundle(read), *verify_scoring(read)]
            if turn % 10 == 0 or 0.2 <= kind < 0.4:
                told += (await audit(on.made.node, read)).checks
            assert content == json.loads(bundle_to_json(bundle)) or not all(check.ok for check in told)


async def test_a_registered_policy_is_the_only_one_that_scores() -> None:
    policy, other = state(Quadratic(), [MinimumWeight()]), state(Quadratic(), [MinimumWeight(weight=2)])
    async with world(ClockUnit.BLOCK_NUMBER, 8) as made:
        await made.reputations(WEIGHTS)
        bound = bytes.fromhex(policy_hash(policy)[2:])
        await made.execute(0, made.registry, proposal_scores.REGISTER_POLICY, bound)
        await made.mine()
        request = await made.propose()
        await made.mine()
        await made.vote(2, request, Support.FOR)
        await made.mine(12)
        async with made.scoring(policy=other) as app:
            await made.end(app, request)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await app.rpc(request.promise_id, score_proposal, request)
        on = Stage(made=made, request=request, reputation="", ages={})
        outcome, bundle = await on.scored(Policy(), others=[other, policy])
        assert (outcome.policy_hash, outcome.for_votes) == (policy_hash(policy), 31)
        assert (await audit(made.node, bundle)).ok
        content = json.loads(bundle_to_json(bundle))
        stated(content)["parameters"]["none"] = "1"
        found = await audit(made.node, bundle_from_json(json.dumps(content)))
        assert {"scoring", "score"} <= {check.name for check in found.checks if not check.ok}


async def test_a_cancelled_proposal_is_closed_like_any_other_and_late_reputation_counts_for_nothing() -> None:
    async with world(ClockUnit.BLOCK_NUMBER, 8) as made:
        await made.reputations(WEIGHTS)
        withdrawn = await made.propose()
        await made.mine()
        await made.vote(3, withdrawn, Support.FOR)
        await made.execute(0, made.dao, reputation_dao.CANCEL, int(withdrawn.proposal_id))
        await made.mine(12)
        request = await made.propose()
        await made.mine()
        for voter in (2, 3):
            await made.vote(voter, request, SIDES[voter])
        await made.mine(12)
        on = Stage(made=made, request=request, reputation="", ages={})
        outcome, bundle = await on.scored(state(ParticipationAdjusted(base_bps=0), [MinimumWeight()]))
        assert (outcome.for_votes, outcome.against_votes, outcome.counted) == (0, 37, 2)
        assert (await audit(made.node, bundle)).ok


async def test_a_class_of_ones_own_runs_only_where_the_reader_lets_it(tmp_path: Path) -> None:
    """What a bundle names is not imported: the command line is told which class may run."""
    file = tmp_path / "bundle.json"
    async with stage() as on:
        _, bundle = await on.scored(state(CappedWeight(cap=100), [NoAbstention()]))
        file.write_bytes(bundle_to_json(bundle))

    async def verified(*flags: str) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "scorers", "proof", "verify", str(file), "--json", *flags),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
        )
        out, _ = await process.communicate()
        return {check["name"]: check for check in json.loads(out)["checks"]}

    refused = (await verified())["policy"]
    assert not refused["ok"]
    assert "its module is not loaded here" in refused["detail"]
    module = "scorers.policies.template"
    allowed = await verified(
        *("--policy-class", f"{module}:CappedWeight", "--policy-class", f"{module}:NoAbstention")
    )
    assert all(check["ok"] for check in allowed.values()), allowed
