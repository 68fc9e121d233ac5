"""A proof judged by the chain alone: right ones hold, and each tampered one fails at the right place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import msgspec
import pytest

from contracts.bindings.reputation_dao import Support
from orchestrator.commitments import Bundle, bundle_from_json, bundle_to_json, verify_bundle
from orchestrator.server import fetch_bundle
from scorers.evidence import verify_on_chain
from scorers.sections import SECTION, section_of
from scorers.serving import PROOFS
from scorers.values import ScoreOutcome
from scorers.workflow import score_proposal
from tests.scorers_chain import World, world

CHECKS = ["chain", "domain", "registry", "transaction", "steps", "standing", "score"]


@dataclass(frozen=True)
class Scored:
    made: World
    outcome: ScoreOutcome
    bundle: Bundle


@pytest.fixture
async def scored() -> AsyncIterator[Scored]:
    async with world() as made:
        await made.reputations({2: 10, 3: 20, 4: 2**200})
        request = await made.propose()
        await made.mine()
        for voter, support in ((2, Support.FOR), (3, Support.AGAINST), (4, Support.ABSTAIN)):
            await made.vote(voter, request, support)
        await made.mine(25)
        async with made.scoring() as app:
            await made.end(app, request)
            async with asyncio.timeout(30):
                outcome = await app.rpc(request.promise_id, score_proposal, request)
                call = app._started().transport.call
                bundle = await fetch_bundle(call, request.promise_id, PROOFS.sections, decode=PROOFS.decode)
        yield Scored(made=made, outcome=outcome, bundle=bundle)


async def failed(scored: Scored, bundle: Bundle) -> list[str]:
    """The names of the checks that fail, the bundle's own arithmetic first."""
    checks = [*verify_bundle(bundle), *await verify_on_chain(scored.made.node, bundle)]
    return [check.name for check in checks if not check.ok]


async def test_a_right_bundle_holds_offline_and_on_chain(scored: Scored) -> None:
    bundle = bundle_from_json(bundle_to_json(scored.bundle))
    assert await failed(scored, bundle) == []
    assert [check.name for check in await verify_on_chain(scored.made.node, bundle)] == CHECKS
    assert bundle.root == scored.outcome.root
    assert [leaf.function for leaf in bundle.leaves] == [
        "read_proposal",
        "fetch_votes",
        "score_reputations",
        "check_eligibility",
        "calculate_score",
    ]
    assert json.loads(json.dumps(bundle.sections[SECTION]))["abstain_votes"] == str(2**200)


async def test_it_holds_without_the_values_too(scored: Scored) -> None:
    """Where values are encrypted, a stranger recomputes them from the chain."""
    bare = msgspec.structs.replace(
        scored.bundle,
        leaves=[msgspec.structs.replace(leaf, input=None, output=None) for leaf in scored.bundle.leaves],
    )
    assert await failed(scored, bare) == ["values"]


def section(**changes: object) -> Callable[[Bundle], Bundle]:
    def change(bundle: Bundle) -> Bundle:
        content = bundle.sections[SECTION]
        assert isinstance(content, dict)
        return msgspec.structs.replace(bundle, sections={SECTION: {**content, **changes}})

    return change


def without_section(bundle: Bundle) -> Bundle:
    return msgspec.structs.replace(bundle, sections={})


def leaf_missing(bundle: Bundle) -> Bundle:
    return msgspec.structs.replace(bundle, leaves=bundle.leaves[:-1])


def other_value(bundle: Bundle) -> Bundle:
    last = bundle.leaves[-1]
    changed = msgspec.structs.replace(last, output_hash="0x" + "11" * 32, output=None)
    return msgspec.structs.replace(bundle, leaves=[*bundle.leaves[:-1], changed])


def other_root(bundle: Bundle) -> Bundle:
    return msgspec.structs.replace(bundle, root="0x" + "22" * 32)


def other_domain(bundle: Bundle) -> Bundle:
    return msgspec.structs.replace(bundle, domain="0x" + "33" * 32)


POLICY = {"name": "reputation-weighted", "version": 1, "minimum_weight": "15"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (section(chain_id=1), {"chain"}),
        (section(score=3_333), {"registry", "transaction", "score"}),
        (section(status="NoVotes"), {"registry"}),
        (section(for_votes="11"), {"score"}),
        (section(policy=POLICY), {"score"}),
        (section(transaction_hash="0x" + "44" * 32), {"transaction"}),
        (section(block_hash="0x" + "44" * 32), {"transaction"}),
        (section(transaction_hash="no hash"), {"transaction"}),
        (section(proposal_id="2"), {"domain", "registry", "transaction", "steps", "score"}),
        (section(score="much"), {"section"}),
        (section(dao="<img src=x onerror=alert(1)>"), {"section"}),
        (section(registry="0x"), {"section"}),
        (section(policy={**POLICY, "minimum_weight": "0"}), {"score"}),
        (section(policy={**POLICY, "name": "quadratic"}), {"score"}),
        (without_section, {"section"}),
        (leaf_missing, {"completeness", "root", "score"}),
        (other_value, {"values", "leaves", "proofs", "root", "steps", "score"}),
        (other_root, {"proofs", "root", "registry", "transaction"}),
        (other_domain, {"leaves", "proofs", "root", "domain", "steps"}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "-".join(sorted(value)),
)
async def test_what_was_tampered_with_is_named(
    scored: Scored, change: Callable[[Bundle], Bundle], named: set[str]
) -> None:
    assert named <= set(await failed(scored, change(scored.bundle)))


async def test_a_chain_that_tells_other_votes_is_noticed(scored: Scored) -> None:
    """A proposal of the same number in another world, with another vote, is not what the bundle proves."""
    async with world() as other:
        await other.reputations({2: 10})
        request = await other.propose()
        await other.mine(25)
        assert other.dao == scored.made.dao
        assert request.proposal_id == str(scored.outcome.proposal_id)
        names = [check.name for check in await verify_on_chain(other.node, scored.bundle) if not check.ok]
    assert {"registry", "transaction", "score"} <= set(names)


def test_nothing_on_the_chain_gives_no_section(scored: Scored) -> None:
    assert section_of(replace(scored.outcome, transaction_hash=None)) is None
    assert section_of(scored.outcome) is not None
