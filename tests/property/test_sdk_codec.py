"""What is stored comes back as what it was, declared or not, and different values have different texts."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.client import codec, shapes
from orchestrator.client.codec import DecodingError, EncodingError
from orchestrator.commitments.canonical import canonical
from orchestrator.commitments.errors import CanonicalError
from orchestrator.commitments.integers import Uint256


class Side(StrEnum):
    FOR = "for"
    AGAINST = "against"


class Rank(IntEnum):
    LOW = 1
    HIGH = 2


class Odd(Enum):
    PAIR = (1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    voter: str
    weight: Uint256
    side: Side
    share: Decimal | None = None


class Ballot(msgspec.Struct, frozen=True):
    votes: tuple[Vote, ...]
    ranks: frozenset[Rank] = frozenset()


class Point(NamedTuple):
    x: int
    label: str


votes = st.builds(
    Vote,
    voter=st.text(max_size=8),
    weight=st.integers(0, 2**256 - 1),
    side=st.sampled_from(Side),
    share=st.none() | st.decimals(allow_nan=False, allow_infinity=False),
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.binary(max_size=12)
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.timedeltas()
    | st.sampled_from([*Side, *Rank, *Odd])
)
hashables = st.integers() | st.text(max_size=5) | st.sampled_from(Side)
values = st.recursive(
    scalars | votes,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.just("$class"), inner, max_size=4)
        | st.dictionaries(hashables, inner, max_size=4)
        | st.sets(hashables, max_size=4)
        | st.frozensets(hashables, max_size=4)
        | st.builds(Ballot, votes=st.lists(votes, max_size=2).map(tuple))
        | st.builds(Point, x=st.integers(), label=st.text(max_size=3))
    ),
    max_leaves=12,
)


def alike(one: Any, other: Any) -> bool:
    """Equal and of the same classes all the way down: True is not 1, 1 is not 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    return bool(one == other)


@given(values)
def test_any_value_comes_back_undeclared(value: Any) -> None:
    assert alike(codec.decode_value(codec.encode_value(value, "value"), None, "value"), value)


@given(votes)
def test_a_declared_record_comes_back_from_its_canonical_text(vote: Vote) -> None:
    text = base64.b64encode(canonical(vote, Vote)).decode()
    assert codec.decode(codec.from_data(text, "vote"), Vote, "vote") == vote


def bare_integers(tree: object) -> list[int]:
    if isinstance(tree, dict):
        return [each for value in tree.values() for each in bare_integers(value)]
    if isinstance(tree, list):
        return [each for value in tree for each in bare_integers(value)]
    return [tree] if type(tree) is int else []


@given(st.lists(st.integers() | st.integers(2**53 - 3, 2**53 + 3) | st.integers(-(2**53) - 3, 3 - 2**53)))
def test_no_number_is_written_that_a_browser_cannot_read(value: list[int]) -> None:
    tree = codec.encode({"numbers": value, "points": [Point(each, "a") for each in value]}, "value")
    assert all(abs(each) <= 2**53 - 1 for each in bare_integers(tree))
    # What is small enough stays a plain number.
    assert len(bare_integers(tree)) == 2 * sum(abs(each) <= 2**53 - 1 for each in value)


def test_both_forms_of_a_large_number_are_read() -> None:
    assert codec.encode(2**60, "value") == {"$integer": str(2**60)}
    for declared in (None, int, Uint256):
        for tree in (2**60, {"$integer": str(2**60)}):
            assert codec.decode(tree, declared, "value") == 2**60
    assert codec.decode({"x": str(2**60), "label": "a"}, Point, "value") == Point(2**60, "a")


@given(st.sets(hashables, max_size=6))
def test_the_text_of_a_set_does_not_depend_on_its_order(value: set[Any]) -> None:
    again: set[Any] = set()
    for element in sorted(value, key=repr, reverse=True):
        again.add(element)
    assert codec.encode_value(value, "set") == codec.encode_value(again, "set")


@pytest.mark.parametrize(
    ("tree", "declared", "value"),
    [
        (
            {"voter": "a", "weight": "5", "side": "for", "share": "1.5"},
            Vote,
            Vote(voter="a", weight=5, side=Side.FOR, share=Decimal("1.5")),
        ),
        ([{"x": 1, "label": "a"}], list[Point], [Point(1, "a")]),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([1, 1], set[int], {1}),
        ("0x0102", bytes, b"\x01\x02"),
        ("2026-01-02", date, date(2026, 1, 2)),
        ("2026-01-02T03:04:05Z", datetime, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("03:04:05", time, time(3, 4, 5)),
        ("00000000-0000-0000-0000-000000000001", UUID, UUID(int=1)),
        (3, float, 3.0),
        ({"$timedelta": -1}, timedelta, timedelta(microseconds=-1)),
        ("115792089237316195423570985008687907853269984665640564039457584007913129639935", int, 2**256 - 1),
    ],
)
def test_plain_json_becomes_what_is_declared(tree: object, declared: object, value: object) -> None:
    assert alike(codec.decode(tree, declared, "argument"), value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (object(), "argument 'votes' of tally"),
        ({"a": [1, object()]}, "argument 'votes' of tally['a'][1]"),
        ((lambda: 1,), "argument 'votes' of tally[0]"),
    ],
)
def test_what_has_no_stored_form_is_named(value: object, path: str) -> None:
    with pytest.raises(EncodingError) as caught:
        codec.encode_value(value, "argument 'votes' of tally")
    assert caught.value.path == path


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(EncodingError, match="contains itself"):
        codec.encode_value(loop, "value")


@pytest.mark.parametrize(
    ("tree", "declared"),
    [
        ({"voter": "a"}, Vote),
        ({"voter": "a", "weight": 1, "side": "for", "more": 1}, Vote),
        ({"voter": "a", "weight": 1, "side": "neither"}, Vote),
        ("abc", int),
        ({"$decimal": "abc"}, None),
        ({"$class": "os.system", "fields": {}}, None),
        ({"$class": "subprocess.Popen", "fields": {"args": "true"}}, None),
        ({"$enum": "nowhere.Side", "name": "FOR"}, None),
    ],
)
def test_what_is_stored_otherwise_is_named(tree: object, declared: object) -> None:
    with pytest.raises(DecodingError, match=r"^the place"):
        codec.decode(tree, declared, "the place")


def test_a_text_that_is_no_json_is_named() -> None:
    with pytest.raises(DecodingError, match="the param"):
        codec.from_data("!!", "the param")


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        (dict[str, str], st.dictionaries(st.text(max_size=4), st.text(max_size=4))),
        (list[int | None], st.lists(st.integers(-(2**53) + 1, 2**53 - 1) | st.none())),
        (
            dict[str, list[bool]],
            st.dictionaries(st.sampled_from(["a", "$map", "$"]), st.lists(st.booleans())),
        ),
        (Any, values),
        (list, st.lists(values, max_size=3)),
        (None, values),
    ],
)
@given(data=st.data())
def test_a_plain_type_without_a_tag_is_its_own_tree(
    declared: object, values: st.SearchStrategy[object], data: st.DataObject
) -> None:
    assert shapes.is_plain(declared)
    try:
        text = canonical(data.draw(values), declared)
    except CanonicalError:
        return
    tree = msgspec.json.decode(text)
    if b'"$' not in text:
        read = codec.decode(tree, declared, "it")
        assert (read, repr(read)) == (tree, repr(tree))


@pytest.mark.parametrize(
    "declared", [Vote, tuple[int, ...], set[str], Uint256, list[Uint256], Decimal, Side, bytes, int | Vote]
)
def test_a_type_that_is_written_in_another_form_is_not_plain(declared: object) -> None:
    assert not shapes.is_plain(declared)
