"""Policies as values: their formulas against fractions, their statements, what is refused, the test kit."""

from __future__ import annotations

import inspect
import re
import sys
from fractions import Fraction
from hashlib import sha256
from math import floor, isqrt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import scorers.policies
import scorers.policies.template
from orchestrator.client import codec
from scorers.policies import (
    AllowList,
    DenyList,
    FirstVoteBefore,
    MinimumWeight,
    ParticipationAdjusted,
    PolicyError,
    Quadratic,
    ReputationWeighted,
    Rule,
    TimeDecayed,
    TokenWeighted,
    UnnamedInput,
    VoteFacts,
    Weighting,
)
from scorers.policies.catalogue import RULES, WEIGHTINGS, digest_of, known, load
from scorers.policies.configuration import PolicySettings, policy_from
from scorers.policies.facts import NamedInputs
from scorers.policies.statement import parts_of, state
from scorers.policies.template import CappedWeight, NoAbstention
from scorers.policy import Policy, PolicyStatement, policy_hash
from scorers.sections import policy_of, section_of_policy
from scorers.settings import load_settings
from scorers.steps.weighing import objection_of, weight_of
from scorers.testing import assert_policy, faults_of
from tests.page_programs import ROOT, run_program, shown

LISTED, OTHER = "0x" + "aa" * 20, "0x" + "bb" * 20
amounts = st.integers(0, 2**208 - 1)
EVERY: list[tuple[Weighting, list[Rule]]] = [
    (TokenWeighted(), []),
    (ReputationWeighted(contract=OTHER, function="balanceOfAt"), [MinimumWeight(weight=2**200)]),
    (Quadratic(), [AllowList(voters=(LISTED, OTHER))]),
    (ParticipationAdjusted(last=3, since_block=7), [FirstVoteBefore(since_block=9), DenyList(voters=())]),
    (TimeDecayed(half_life_s=60), [MinimumWeight(), DenyList(voters=(LISTED,))]),
    (CappedWeight(cap=10), [NoAbstention()]),
]


def vote(weight: int, *, entitled: int | None = None, voter: str = LISTED, **named: Any) -> VoteFacts:
    return VoteFacts(
        voter=voter,
        support=1,
        weight=weight,
        entitled=weight if entitled is None else entitled,
        named=NamedInputs(**named),
    )


@given(amounts, st.integers(0, 100), st.data())
def test_weights_are_the_floors_of_exact_fractions(entitled: int, percent: int, data: st.DataObject) -> None:
    weight = entitled * percent // 100
    part = Fraction(weight, entitled) if entitled else Fraction(1)
    split = vote(weight, entitled=entitled)
    assert TokenWeighted().weigh(split) == ReputationWeighted().weigh(split) == weight
    assert Quadratic().weigh(split) == floor(isqrt(entitled) * part)
    reputation = data.draw(amounts)
    told = vote(weight, entitled=entitled, reputation=reputation)
    assert ReputationWeighted(contract=OTHER).weigh(told) == floor(reputation * part)
    closed, base = data.draw(st.integers(1, 50)), data.draw(st.integers(0, 10_000))
    taken = data.draw(st.integers(0, closed))
    kept = Fraction(base, 10_000)
    adjusted = ParticipationAdjusted(last=50, base_bps=base).weigh(
        vote(weight, entitled=entitled, closed=closed, taken_part=taken)
    )
    assert adjusted == floor(weight * (kept + (1 - kept) * Fraction(taken, closed)))
    half_life = data.draw(st.integers(1, 10**6))
    age = data.draw(st.integers(0, 300 * half_life))
    whole, rest = divmod(Fraction(age, half_life), 1)
    left = TimeDecayed(half_life_s=half_life).weigh(vote(weight, entitled=entitled, age_s=age))
    assert left == floor(Fraction(weight, 2**whole) * (1 - rest / 2))


@given(st.integers(1, 10**30), st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_splitting_a_vote_never_adds_to_it(entitled: int, parts: list[int]) -> None:
    shares = [entitled * part // sum(parts) for part in parts]
    for weighting in (Quadratic(), CappedWeight(cap=10**9), ReputationWeighted(contract=OTHER)):
        whole = weighting.weigh(vote(entitled, reputation=10**12 + 1))
        split = sum(weighting.weigh(vote(each, entitled=entitled, reputation=10**12 + 1)) for each in shares)
        assert split <= whole


def test_a_vote_weighs_less_with_time_and_nothing_in_the_end() -> None:
    policy = TimeDecayed(half_life_s=100)
    assert [policy.weigh(vote(1_000, age_s=age)) for age in (0, 50, 100, 150, 200)] == [
        1000,
        750,
        500,
        375,
        250,
    ]
    assert policy.weigh(vote(2**256 - 1, age_s=10**12)) == 0


def test_nobody_has_taken_part_while_nothing_has_closed() -> None:
    assert ParticipationAdjusted(base_bps=0).weigh(vote(9, closed=0, taken_part=0)) == 9
    assert ParticipationAdjusted(base_bps=0).weigh(vote(9, closed=4, taken_part=0)) == 0


@pytest.mark.parametrize(
    ("rule", "facts", "reason"),
    [
        (MinimumWeight(weight=5), vote(1, entitled=5), None),
        (MinimumWeight(weight=5), vote(4), "below the minimum weight"),
        (MinimumWeight(weight=5), vote(9, reputation=4), "below the minimum weight"),
        (MinimumWeight(weight=5), vote(1, reputation=5), None),
        (FirstVoteBefore(), vote(1, voted_before=True), None),
        (FirstVoteBefore(), vote(1, voted_before=False), "no vote in this DAO before the proposal"),
        (AllowList(voters=(OTHER, LISTED)), vote(1), None),
        (AllowList(voters=(OTHER,)), vote(1), "not on the allow list"),
        (AllowList(voters=()), vote(1), "not on the allow list"),
        (DenyList(voters=(LISTED, OTHER)), vote(1), "on the deny list"),
        (DenyList(voters=(OTHER,)), vote(1), None),
    ],
)
def test_rules_object_with_a_reason(rule: Rule, facts: VoteFacts, reason: str | None) -> None:
    assert rule.objection(facts) == reason


@pytest.mark.parametrize("name", ["reputation", "closed", "taken_part", "voted_before", "age_s"])
def test_an_input_that_is_not_named_cannot_be_looked_at(name: str) -> None:
    with pytest.raises(UnnamedInput, match="return it from inputs"):
        getattr(vote(1), name)


@pytest.mark.parametrize(("weighting", "rules"), EVERY, ids=lambda part: type(part).__name__)
def test_a_statement_is_read_back_as_the_same_policy(weighting: Weighting, rules: list[Rule]) -> None:
    statement = state(weighting, rules)
    parts = parts_of(statement)
    assert (parts.weighting, list(parts.rules)) == (weighting, rules)
    assert codec.decode(codec.encode(statement, "policy"), PolicyStatement, "policy") == statement
    assert policy_of(section_of_policy(statement)) == statement


def test_everything_in_a_policy_is_in_its_hash() -> None:
    statements = [state(weighting, rules) for weighting, rules in EVERY]
    statements += [
        state(TimeDecayed(half_life_s=61), [MinimumWeight(), DenyList(voters=(LISTED,))]),
        state(TimeDecayed(half_life_s=60), [DenyList(voters=(LISTED,)), MinimumWeight()]),
        state(TimeDecayed(half_life_s=60), [MinimumWeight(), DenyList(voters=(OTHER,))]),
        state(TimeDecayed(half_life_s=60), [MinimumWeight()]),
        PolicyStatement(name="quadratic", version=1, parameters={}, lists={}, code="0x", rules=[]),
        PolicyStatement(name="quadratic", version=2, parameters={}, lists={}, code="0x", rules=[]),
    ]
    hashes = {policy_hash(each) for each in [*statements, Policy()]}
    assert len(hashes) == len(statements) + 1


def test_the_order_and_the_spelling_of_listed_voters_change_no_hash() -> None:
    one = state(TokenWeighted(), [DenyList(voters=(OTHER, LISTED.upper().replace("0X", "0x"), OTHER))])
    assert policy_hash(one) == policy_hash(state(TokenWeighted(), [DenyList(voters=(LISTED, OTHER))]))


CODE = {
    "token-weighted": "5a926120191d1216",
    "reputation-weighted": "49078506dfcfd433",
    "quadratic": "a48b39e444642686",
    "participation-adjusted": "af0e6d40a8e56783",
    "time-decayed": "e42c6d436bcc9675",
    "minimum-weight": "21f0123f2718a291",
    "first-vote-before": "21f0123f2718a291",
    "allow-list": "21f0123f2718a291",
    "deny-list": "21f0123f2718a291",
}


SHARED = {"base.py": "e13df0b190ffa4db", "facts.py": "d3749690e3d08eab", "parameters.py": "13ee566d3a247d43"}
"""What all of them lean on."""


def test_the_code_of_released_policies_does_not_change() -> None:
    """DAOs have registered these digests: a better formula is a new version in a new file."""
    assert {cls.NAME: digest_of(cls)[2:18] for cls in (*WEIGHTINGS, *RULES)} == CODE
    folder = Path(str(scorers.policies.__file__)).parent
    shared = {name: sha256((folder / name).read_bytes()).hexdigest()[:16] for name in SHARED}
    assert shared == SHARED


def altered(**changes: Any) -> PolicyStatement:
    statement = state(ParticipationAdjusted(), [DenyList(voters=(LISTED,))])
    return PolicyStatement(**{name: getattr(statement, name) for name in statement.__slots__} | changes)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "os:system"}, "its module is not loaded here"),
        ({"name": "nothing"}, "there is no such policy or rule"),
        ({"name": "deny-list"}, "it is no weighting"),
        ({"version": 2}, "version 2 is stated, here is 1"),
        ({"code": "0x" + "00" * 32}, "code 0x0000"),
        ({"parameters": {"last": "10"}}, "not written as this policy writes them"),
        ({"parameters": {"last": "010", "base_bps": "5000", "since_block": "0"}}, "not written as"),
        ({"parameters": {"last": "0", "base_bps": "5000", "since_block": "0"}}, "last is a number from 1"),
        ({"parameters": {"last": "1e3", "base_bps": "5000", "since_block": "0"}}, "no whole number"),
        ({"parameters": {"evil": "1"}}, "no parameter evil"),
        ({"lists": {"last": ["1"]}}, "no whole number"),
        (
            {"rules": [altered().rules[0], state(Quadratic(), [FirstVoteBefore(since_block=3)])]},
            "it is no rule",
        ),
    ],
)
def test_a_forged_statement_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(PolicyError, match=fault):
        parts_of(altered(**changes))


def test_parts_that_want_different_inputs_of_a_kind_are_told() -> None:
    with pytest.raises(PolicyError, match="another part wants"):
        state(TokenWeighted(), [FirstVoteBefore(since_block=1), FirstVoteBefore(since_block=2)])


def test_nothing_is_imported_for_a_name_in_a_bundle() -> None:
    assert "antigravity" not in sys.modules
    with pytest.raises(PolicyError, match="not loaded here"):
        known("antigravity:fly")
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("json:JSONDecoder", "no class JSONDecoder"),
        ("scorers.policies:Weighting", "no class"),
        ("nomod:X", "cannot import"),
    ],
)
def test_a_configured_class_has_to_be_one(name: str, fault: str) -> None:
    with pytest.raises(PolicyError, match=fault):
        load(name)


def test_reputation_weighted_without_parameters_is_the_policy_without_configuration() -> None:
    for given_name in (None, PolicySettings(name="reputation-weighted")):
        assert policy_from(given_name) == Policy()
    assert policy_from(PolicySettings(name="reputation-weighted", minimum_weight=7)) == Policy(
        minimum_weight=7
    )
    with_rules = PolicySettings.model_validate(
        {"name": "reputation-weighted", "rules": [{"name": "first-vote-before"}]}
    )
    assert isinstance(policy_from(with_rules), PolicyStatement)


def test_what_a_class_of_ones_own_raises_is_told_as_a_fault_of_the_policy() -> None:
    """A verifier that was told to run it reports a check that fails, and no traceback."""

    class Faulty(Weighting, Rule):
        def weigh(self, vote: VoteFacts) -> int:
            return vote.weight // 0

        def objection(self, vote: VoteFacts) -> str | None:
            return str(vote.reputation)

    facts = VoteFacts(voter=LISTED, support=1, weight=1, entitled=1)
    with pytest.raises(PolicyError, match=f"Faulty: it raises ZeroDivisionError for the vote of {LISTED}"):
        weight_of(Faulty(), facts)
    with pytest.raises(PolicyError, match=r"Faulty: it raises UnnamedInput .* does not name it"):
        objection_of(Faulty(), facts)


@pytest.mark.parametrize("given_weight", [9007199254740993.0, True, "1e18", "0x10", None])
def test_a_minimum_weight_is_a_whole_number_and_never_a_rounded_one(given_weight: object) -> None:
    with pytest.raises(ValidationError, match="no whole number"):
        PolicySettings.model_validate({"name": "quadratic", "minimum_weight": given_weight})
    for exact in (2**200, str(2**200)):
        found = PolicySettings.model_validate({"name": "quadratic", "minimum_weight": exact})
        assert found.minimum_weight == 2**200


@pytest.mark.parametrize(("weighting", "rules"), EVERY[-2:], ids=lambda part: type(part).__name__)
def test_good_policies_pass_the_kit(weighting: Weighting, rules: list[Rule]) -> None:
    assert_policy(weighting, rules=rules, cases=50)


BAD = """
import math as m
import random
from dataclasses import dataclass
from math import sqrt
from operator import truediv
from scorers.policies import ReputationAt, Rule, Weighting

seen = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooted(Weighting):
    def weigh(self, vote):
        return sqrt(vote.weight) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashed(Weighting):
    def weigh(self, vote):
        return hash(vote.voter) % 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembering(Weighting):
    def weigh(self, vote):
        seen.append(vote)
        return len(seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peeking(Weighting):
    def weigh(self, vote):
        return vote.reputation


@dataclass(frozen=True, slots=True, kw_only=True)
class Dividing(Weighting):
    def weigh(self, vote):
        return int(m.sqrt(vote.weight) * truediv(1, 2)) // vote.support


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent(Rule):
    def objection(self, vote):
        return ""
"""


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("Rooted", "return an int of 256 bits"),
        ("Hashed", "another process"),
        ("Remembering", "treated differently the next time"),
        ("Peeking", "does not name it"),
        ("Dividing", "it raises ZeroDivisionError"),
        ("Silent", "return a text, or None"),
    ],
)
def test_the_kit_finds_what_is_wrong(
    name: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad_policies.py").write_text(BAD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bad_policies", raising=False)
    cls: Any = load(f"bad_policies:{name}")
    weighting, rules = (TokenWeighted(), [cls()]) if issubclass(cls, Rule) else (cls(), [])
    faults = faults_of(weighting, rules=rules, cases=20)
    assert any(fault in each for each in faults), faults
    source = "\n".join(faults)
    assert "it imports random" in source
    assert "math.sqrt is not exact" in source
    assert "it imports math as m" in source
    assert "/ makes a float" in source
    assert "truediv makes a float" in source
    assert "hash is inexact" in source
    if name == "Rooted":
        with pytest.raises(AssertionError, match="votes of seed 1"):
            assert_policy(cls(), cases=20)


def test_the_page_about_scoring_shows_what_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_policy.py").write_text(inspect.getsource(scorers.policies.template))
    monkeypatch.delitem(sys.modules, "my_policy", raising=False)
    page = (ROOT / "docs/scoring.md").read_text(encoding="utf-8")
    stated = []
    for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL):
        (tmp_path / "dao-scorer.toml").write_text(block)
        policy = policy_from(load_settings().policy)
        assert isinstance(policy, PolicyStatement)
        stated.append((policy.name, [rule.name for rule in policy.rules]))
    assert stated == [
        ("participation-adjusted", ["minimum-weight", "first-vote-before", "deny-list"]),
        ("my_policy:CappedWeight", ["minimum-weight", "my_policy:NoAbstention"]),
        ("quadratic", ["minimum-weight"]),
    ]
    assert [policy_from(each) for each in load_settings().policies] == [Policy()]
    for program in shown("docs/scoring.md"):
        done = run_program(program, tmp_path)
        assert (done.stderr, done.returncode) == ("", 0)
    rows = re.findall(
        r"^\| `([a-z-]+)` \|", page.partition("## Policies")[2].partition("### ")[0], re.MULTILINE
    )
    assert rows == [cls.NAME for cls in (*WEIGHTINGS, *RULES)]
