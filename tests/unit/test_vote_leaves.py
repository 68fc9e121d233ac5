"""The tree of votes: one leaf a voter, by another way of computing it; and typed rows against eth_abi."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.commitments import MerkleTree, ProofError, RowType, verify_multi
from orchestrator.commitments.tree import verify
from scorers.policy import Policy
from scorers.steps.eligibility import check_eligibility
from scorers.steps.score import calculate_score, tally_of
from scorers.values import Ballot, Reputation
from scorers.vote_leaves import (
    NO_VOTES_ROOT,
    VOTE_TYPES,
    VoteLeaf,
    domain_of,
    vote_hash,
    vote_leaves,
    vote_tree,
    votes_root,
)
from tests.contracts_merkle import tree_of
from tests.unit.test_scorers_score import address, ballot, proposal

FACTS = proposal(30, 10, 5)
DOMAIN = domain_of(FACTS)
WORDS = {
    "bytes32": st.binary(min_size=32, max_size=32),
    "uint8": st.integers(0, 2**8 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "uint256": st.integers(0, 2**256 - 1),
    "address": st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
    "bool": st.booleans(),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=70),
}


@given(st.data())
def test_rows_are_encoded_as_eth_abi_does(data: st.DataObject) -> None:
    types = data.draw(st.lists(st.sampled_from(sorted(WORDS)), min_size=1, max_size=9))
    values = [data.draw(WORDS[each]) for each in types]
    row = RowType(types)
    assert row.encode(values) == encode(types, values)
    assert row.leaf_hash(values) == keccak(keccak(encode(types, values)))


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("uint8", True),
        ("uint256", 2**256),
        ("bool", 1),
        ("bytes32", b"\1" * 31),
        ("address", "0x12"),
        ("address", "0x" + "zz" * 20),
        ("string", b"text"),
        ("string", "\ud800"),
    ],
)
def test_a_wrong_field_of_a_row_is_named(declared: str, value: object) -> None:
    with pytest.raises(ProofError, match=f"field 1 is no {declared}"):
        RowType(["bool", declared]).encode([True, value])


@pytest.mark.parametrize("declared", ["uint7", "uint264", "int256", "bytes", "uint", "tuple"])
def test_an_unknown_type_of_a_row_is_refused(declared: str) -> None:
    with pytest.raises(ProofError, match="cannot have a field"):
        RowType([declared])


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ProofError, match="1 fields, got 2"):
        RowType(["bool"]).encode([True, True])


def judged(*ballots: Ballot, policy: Policy | None = None) -> list[VoteLeaf]:
    """The leaves of ballots whose weights all are the voters' reputations."""
    first = {each.voter: each.weight for each in reversed(ballots)}
    known = [Reputation(voter=voter, weight=weight) for voter, weight in first.items()]
    return vote_leaves(check_eligibility(policy or Policy(), list(ballots), known))


def test_each_vote_has_one_leaf_that_tells_how_the_vote_was_treated() -> None:
    leaves = judged(
        ballot(1, 1, 30, block=12),
        ballot(2, 0, 3, block=12, index=1),
        ballot(3, 7, 20, block=13),
        ballot(1, 0, 30, block=14),
        policy=Policy(minimum_weight=5),
    )
    told = [(each.index, each.voter, each.counted, each.counted_weight, each.reason) for each in leaves]
    assert told == [
        (0, address(1), True, 30, ""),
        (1, address(2), False, 0, "below the minimum weight"),
        (2, address(3), False, 0, "neither for, against nor abstain"),
        (3, address(1), False, 0, "already voted"),
    ]
    assert (leaves[0].support, leaves[0].block_number, leaves[0].weight) == (1, 12, 30)


votes_cast = st.lists(
    st.tuples(st.integers(1, 8), st.integers(0, 3), st.integers(0, 2**256 - 1)), min_size=1, max_size=12
)


@given(votes_cast)
def test_the_root_is_that_of_a_tree_written_down_anew(cast: list[tuple[int, int, int]]) -> None:
    ballots = [ballot(*each, block=20, index=place) for place, each in enumerate(cast)]
    leaves = judged(*ballots)
    assert [each.voter for each in leaves] == [each.voter for each in ballots]
    hashes = []
    for index, each in enumerate(leaves):
        row: list[Any] = [DOMAIN, index, len(cast), each.voter, each.support, each.weight]
        row += [each.counted_weight, each.counted, each.reason, 20, each.log_index]
        hashes.append(keccak(keccak(encode(VOTE_TYPES, row))))
    assert votes_root(DOMAIN, leaves) == "0x" + tree_of(hashes)[0].hex()
    tree = vote_tree(DOMAIN, leaves)
    for each in leaves:
        assert verify(tree.root, vote_hash(DOMAIN, len(leaves), each), tree.proof(each.index))


def test_what_is_counted_adds_up_to_the_verdict() -> None:
    ballots = [
        ballot(1, 1, 30),
        ballot(2, 0, 10, index=1),
        ballot(3, 2, 5, index=2),
        ballot(4, 0, 0, index=3),
    ]
    known = [Reputation(voter=each.voter, weight=each.weight) for each in ballots]
    eligibility = check_eligibility(Policy(), ballots, known)
    verdict = calculate_score(FACTS, tally_of(ballots), eligibility)
    leaves = vote_leaves(eligibility)
    sums = [sum(each.counted_weight for each in leaves if each.support == side) for side in (1, 0, 2)]
    assert sums == [verdict.for_votes, verdict.against_votes, verdict.abstain_votes]
    assert (verdict.votes, verdict.votes_root) == (4, votes_root(DOMAIN, leaves))


def test_without_votes_there_is_no_tree() -> None:
    assert votes_root(DOMAIN, []) == NO_VOTES_ROOT


CHANGES: list[dict[str, object]] = [
    {"index": 1},
    {"voter": address(9)},
    {"support": 0},
    {"weight": 31},
    {"counted_weight": 0},
    {"counted": False},
    {"reason": "already voted"},
    {"block_number": 13},
    {"log_index": 4},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_every_field_of_a_leaf_is_hashed(change: dict[str, Any]) -> None:
    leaf = judged(ballot(1, 1, 30))[0]
    assert vote_hash(DOMAIN, 2, replace(leaf, **change)) != vote_hash(DOMAIN, 2, leaf)
    assert vote_hash(DOMAIN, 3, leaf) != vote_hash(DOMAIN, 2, leaf)
    assert vote_hash(b"\7" * 32, 2, leaf) != vote_hash(DOMAIN, 2, leaf)


@given(st.integers(1, 40), st.data())
def test_several_leaves_are_proven_together(count: int, data: st.DataObject) -> None:
    hashes = [keccak(bytes([number])) for number in range(count)]
    tree = MerkleTree(hashes)
    chosen = data.draw(st.lists(st.integers(0, count - 1), unique=True))
    proven = tree.multi_proof(chosen)
    assert sorted(proven.leaves) == sorted(hashes[index] for index in chosen)
    assert verify_multi(tree.root, proven)
    assert not verify_multi(keccak(b"other"), proven)
    if chosen:
        forged = replace(proven, leaves=[keccak(b"forged"), *proven.leaves[1:]])
        assert not verify_multi(tree.root, forged)
    assert not verify_multi(tree.root, replace(proven, proof=[*proven.proof, bytes(32)]))
    if proven.flags:
        assert not verify_multi(tree.root, replace(proven, flags=proven.flags[:-1]))


def test_a_multi_proof_of_leaves_that_are_not_there_is_refused() -> None:
    tree = MerkleTree([bytes([number]) * 32 for number in (1, 2, 3)])
    with pytest.raises(ProofError, match="leaf 3 does not exist"):
        tree.multi_proof([0, 3])
    with pytest.raises(ProofError, match="named twice"):
        tree.multi_proof([1, 1])
