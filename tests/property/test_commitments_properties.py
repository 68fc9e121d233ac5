"""Properties: no two values alike, M1 equal inputs give equal roots, M2 any change gives another."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, get_type_hints
from uuid import UUID

import msgspec
import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orchestrator.commitments import (
    CanonicalError,
    Commitment,
    MerkleTree,
    Uint8,
    Uint256,
    canonical,
    canonical_arguments,
    jcs,
    leaf_hash,
    leaves_of,
    tree_of,
    verify_leaf,
)
from orchestrator.commitments.leaf import LEAF_TYPES
from orchestrator.commitments.tree import hash_pair

FEW = settings(max_examples=60, deadline=None)
MANY = settings(max_examples=250, deadline=None)


class Support(Enum):
    AGAINST = "0"
    FOR = "1"


class Other(Enum):
    FOR = "1"


@dataclass(frozen=True)
class Vote:
    voter: str
    weight: Uint256


@dataclass(frozen=True)
class Ballot:
    voter: str
    weight: Uint256


class Block(msgspec.Struct, frozen=True):
    number: Uint256
    digest: bytes


@dataclass(frozen=True)
class Report:
    votes: list[Vote]
    by_name: dict[str, Uint256]
    either: (
        Uint256
        | str
        | Vote
        | Ballot
        | Block
        | Support
        | tuple[int, ...]
        | list[str]
        | dict[str, str]
        | bytes
        | None
    )
    anything: object
    when: datetime
    amount: Decimal
    flags: frozenset[Uint8] = field(default_factory=frozenset)


# Text that looks like our own tags is where an encoding that only seems injective fails.
TRAPS = [
    "",
    "$",
    "$decimal",
    "$bytes",
    "$map",
    "$class",
    "fields",
    "$enum",
    "name",
    "$tuple",
    "$set",
    "$integer",
]
texts = st.one_of(
    st.sampled_from(TRAPS), st.text(st.characters(exclude_categories=["Cs"]), max_size=4), st.just("5")
)
safe_integers = st.integers(-(2**53) + 1, 2**53 - 1) | st.integers(-3, 3)
uints = st.integers(0, 2**256 - 1) | st.integers(0, 5)
moments = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))
decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-100, max_value=100, places=2)
votes = st.builds(Vote, voter=texts, weight=uints)
ballots = st.builds(Ballot, voter=texts, weight=uints)
blocks = st.builds(Block, number=uints, digest=st.binary(max_size=2))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    safe_integers,
    texts,
    st.binary(max_size=2),
    decimals,
    moments,
    st.dates(max_value=date(2000, 1, 3)),
    st.builds(UUID, int=st.integers(0, 3)),
    st.sampled_from([*Support, *Other]),
    votes,
    ballots,
    blocks,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(texts, inner, max_size=3),
        st.frozensets(texts, max_size=3),
    ),
    max_leaves=6,
)
eithers = st.one_of(
    uints,
    texts,
    votes,
    ballots,
    blocks,
    st.sampled_from(Support),
    st.lists(safe_integers, max_size=2).map(tuple),
    st.lists(texts, max_size=2),
    st.dictionaries(texts, texts, max_size=2),
    st.binary(max_size=2),
    st.none(),
)
reports = st.builds(
    Report,
    votes=st.lists(votes, max_size=2),
    by_name=st.dictionaries(texts, uints, max_size=2),
    either=eithers,
    anything=values,
    when=moments,
    amount=decimals,
    flags=st.frozensets(st.integers(0, 255), max_size=2),
)


def same(first: Any, second: Any) -> bool:
    """Tell whether two values are the same, where Python's `==` takes 1 for True and for Decimal(1)."""
    if type(first) is not type(second):
        return False
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if dataclasses.is_dataclass(first):
        return all(
            same(getattr(first, one.name), getattr(second, one.name)) for one in dataclasses.fields(first)
        )
    return bool(first == second)


def assert_injective(drawn: list[Any], declared: object) -> None:
    """Compare all pairs: the more values at once, the likelier two of them are nearly alike."""
    encoded = [canonical(value, declared) for value in drawn]
    for position, first in enumerate(drawn):
        for other in range(position):
            assert (encoded[position] == encoded[other]) is same(first, drawn[other]), (first, drawn[other])


@MANY
@given(st.lists(values, min_size=2, max_size=30))
def test_undeclared_values_are_alike_only_if_they_are_the_same(drawn: list[object]) -> None:
    assert_injective(drawn, None)


@MANY
@given(values)
def test_the_json_of_a_value_does_not_pass_for_the_value(value: object) -> None:
    """The forger's way: hand over, as plain dicts and lists, the JSON of another value."""
    forged = jcs.parse(canonical(value).decode())
    assert (canonical(forged) == canonical(value)) is same(forged, value)


@MANY
@given(st.lists(reports, min_size=2, max_size=6))
def test_declared_values_are_alike_only_if_they_are_the_same(drawn: list[Report]) -> None:
    assert_injective(drawn, Report)


@MANY
@given(reports, st.data())
def test_one_changed_field_is_another_text(report: Report, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["either", "anything", "by_name", "votes"]))
    other = {
        "either": eithers,
        "anything": values,
        "by_name": st.dictionaries(texts, uints),
        "votes": st.lists(votes),
    }
    changed = dataclasses.replace(report, **{name: data.draw(other[name])})
    assert (canonical(report, Report) == canonical(changed, Report)) is same(report, changed)


@MANY
@given(st.lists(eithers, min_size=2, max_size=30))
def test_members_of_a_union_never_meet(drawn: list[object]) -> None:
    assert_injective(drawn, get_type_hints(Report, include_extras=True)["either"])


@MANY
@given(eithers)
def test_the_json_of_a_member_does_not_pass_for_the_member(value: object) -> None:
    declared = get_type_hints(Report, include_extras=True)["either"]
    encoded = canonical(value, declared)
    forged = jcs.parse(encoded.decode())
    try:
        again = canonical(forged, declared)
    except CanonicalError:
        return
    assert (again == encoded) is same(forged, value)


@MANY
@given(values)
def test_canonical_text_is_canonical_json_of_safe_integers(value: object) -> None:
    text = canonical(value).decode()
    assert jcs.encode(jcs.parse(text)) == text
    assert json.loads(text) == jcs.parse(text)


@FEW
@given(st.dictionaries(texts, values, max_size=4), st.randoms(use_true_random=False))
def test_order_of_insertion_does_not_matter(value: dict[str, object], chance: Any) -> None:
    items = list(value.items())
    chance.shuffle(items)
    assert canonical(dict(items)) == canonical(value)


@FEW
@given(st.floats(), values)
def test_a_float_is_refused_wherever_it_stands(number: float, other: object) -> None:
    for value in (number, [other, number], {"a": (number,)}):
        with pytest.raises(CanonicalError, match="float"):
            canonical(value)


@FEW
@given(st.integers())
def test_declaration_decides_and_never_the_value(number: int) -> None:
    if 0 <= number < 2**256:
        assert canonical(number, Uint256) == f'"{number}"'.encode()
    if abs(number) < 2**53:
        assert canonical(number, int) == str(number).encode()
    else:
        with pytest.raises(CanonicalError, match="declare it as Uint256"):
            canonical(number, int)


def scored(first: Uint256, second: str = "x", *, third: list[Vote]) -> Uint256:
    return first


@FEW
@given(uints, texts, st.lists(votes, max_size=2))
def test_the_way_of_passing_arguments_does_not_matter(first: int, second: str, third: list[Vote]) -> None:
    one = canonical_arguments(scored, (first, second), {"third": third})
    assert one == canonical_arguments(scored, (), {"third": third, "second": second, "first": first})


# ---- M1 and M2 -----------------------------------------------------------------------------------

hashes = st.binary(min_size=32, max_size=32)
commitments = st.builds(
    Commitment,
    function=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    version=st.integers(0, 2**53 - 1),
    input_hash=hashes,
    output_hash=hashes,
)
sequences = st.lists(commitments, min_size=1, max_size=12)


@FEW
@given(hashes, sequences)
def test_m1_equal_commitments_give_equal_roots_and_all_proofs_hold(
    domain: bytes, steps: list[Commitment]
) -> None:
    tree = tree_of(domain, steps)
    copies = [Commitment.from_headers(dict(step.to_headers())) for step in steps]
    assert tree_of(bytes(domain), [copy for copy in copies if copy is not None]).root == tree.root
    for leaf in leaves_of(domain, steps):
        proof = tree.proof(leaf.index)
        assert verify_leaf(tree.root, leaf, proof)
        assert len(proof) <= math.ceil(math.log2(len(steps))) + 1


@FEW
@given(hashes, sequences, st.data())
def test_m2_any_changed_field_gives_another_root(
    domain: bytes, steps: list[Commitment], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(steps) - 1))
    name = data.draw(st.sampled_from(["function", "version", "input_hash", "output_hash"]))
    value = getattr(data.draw(commitments), name)
    assume(value != getattr(steps[at], name))
    changed = [*steps[:at], dataclasses.replace(steps[at], **{name: value}), *steps[at + 1 :]]
    assert tree_of(domain, changed).root != tree_of(domain, steps).root


@FEW
@given(hashes, hashes, sequences)
def test_m2_another_domain_gives_another_root(domain: bytes, other: bytes, steps: list[Commitment]) -> None:
    assert (tree_of(domain, steps).root == tree_of(other, steps).root) is (domain == other)


@FEW
@given(hashes, sequences, commitments, st.data())
def test_m2_order_and_count_are_committed(
    domain: bytes, steps: list[Commitment], extra: Commitment, data: st.DataObject
) -> None:
    root = tree_of(domain, steps).root
    order = data.draw(st.permutations(steps))
    assert (tree_of(domain, order).root == root) is (order == steps)
    at = data.draw(st.integers(0, len(steps)))
    assert tree_of(domain, [*steps[:at], extra, *steps[at:]]).root != root
    if len(steps) > 1:
        assert tree_of(domain, steps[:at] + steps[at + 1 :]).root != root or at == len(steps)


@FEW
@given(hashes, sequences, st.data())
def test_a_proof_fits_its_own_leaf_only(domain: bytes, steps: list[Commitment], data: st.DataObject) -> None:
    tree = tree_of(domain, steps)
    leaves = leaves_of(domain, steps)
    one, other = (data.draw(st.integers(0, len(steps) - 1)) for _ in range(2))
    assert verify_leaf(tree.root, leaves[one], tree.proof(other)) is (one == other)


def naive_root(leaf_hashes: list[bytes]) -> bytes:
    """OpenZeppelin's layout said differently: level by level over the array that the sorted leaves fill."""
    nodes = dict(enumerate(sorted(leaf_hashes, reverse=True), start=len(leaf_hashes)))
    for number in range(len(leaf_hashes) - 1, 0, -1):
        nodes[number] = hash_pair(nodes[2 * number], nodes[2 * number + 1])
    return nodes[1]


@FEW
@given(st.lists(hashes, min_size=1, max_size=40, unique=True))
def test_the_tree_agrees_with_a_naive_one(leaf_hashes: list[bytes]) -> None:
    assert MerkleTree(leaf_hashes).root == naive_root(leaf_hashes)


@FEW
@given(hashes, sequences)
def test_leaf_is_the_double_keccak_of_the_abi_encoded_tuple(domain: bytes, steps: list[Commitment]) -> None:
    for index, (leaf, step) in enumerate(zip(leaves_of(domain, steps), steps, strict=True)):
        values = (domain, index, len(steps), step.function, step.version, step.input_hash, step.output_hash)
        assert leaf_hash(leaf) == keccak(keccak(encode(LEAF_TYPES, values)))
