"""Canonical JSON by declared types: the RFC's vectors, each rule, each refusal with its path."""

from __future__ import annotations

import json
import typing
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest

from orchestrator.commitments import (
    CanonicalError,
    Int32,
    Int64,
    Int256,
    IntegerType,
    Uint8,
    Uint64,
    Uint256,
    canonical,
    canonical_arguments,
    canonical_result,
    check_function,
    jcs,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "jcs.json").read_text())


NO_FLOAT = "float 0.5 has no canonical form; use Decimal or an integer"
NAIVE = datetime(2024, 1, 1)
BUFFER = bytearray(b"a")


class Support(Enum):
    AGAINST = 0
    FOR = 1


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Mode(Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Vote:
    voter: str
    weight: Uint256
    support: Support = Support.FOR


@dataclass(frozen=True)
class SpecialVote(Vote):
    note: str = ""


@dataclass
class Node:
    name: str
    children: list[Node] = field(default_factory=list)


class Block(msgspec.Struct):
    number: Uint64
    digest: bytes


class Model(pydantic.BaseModel):
    weight: Uint256
    names: list[str] = []


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    weight: int


class Pair(NamedTuple):
    left: Uint256
    right: str


class Options(TypedDict):
    limit: Uint256
    note: NotRequired[str]


class Context:
    """Stands for the SDK's: the encoding knows it by its name."""


ProposalId = NewType("ProposalId", Annotated[int, IntegerType(bits=256, signed=False)])


def text(value: object, declared: object = None) -> str:
    return canonical(value, declared).decode()


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=lambda vector: vector["name"])
def test_rfc_8785_text(vector: dict[str, str]) -> None:
    encoded = jcs.encode(jcs.parse(vector["json"]))
    assert encoded == vector["canonical"]
    assert encoded.encode().hex() == vector["utf8"]
    # The dynamic rules write plain JSON exactly so, too.
    assert text(json.loads(vector["json"])) == vector["canonical"]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_rfc_8785_refusals(vector: dict[str, str]) -> None:
    with pytest.raises(CanonicalError):
        jcs.encode(jcs.parse(vector["json"]))


def test_key_order_differs_from_code_points() -> None:
    keys = ["\U0001f600", "\ufb33"]
    assert sorted(keys) != sorted(keys, key=jcs.utf16_order)
    assert text({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'


@pytest.mark.parametrize(
    ("value", "declared", "expected"),
    [
        (5, Uint256, '"5"'),
        (2**256 - 1, Uint256, f'"{2**256 - 1}"'),
        (-5, Int256, '"-5"'),
        (5, Uint64, '"5"'),
        (5, Int64, '"5"'),
        (5, Uint8, "5"),
        (-5, Int32, "-5"),
        (5, ProposalId, '"5"'),
        (5, int, "5"),
        (2**53 - 1, int, str(2**53 - 1)),
        (5, Annotated[int, msgspec.Meta(ge=0)], "5"),
        (5, Uint256 | None, '"5"'),
        (None, Uint256 | None, "null"),
        (5, Uint256 | str, '{"$integer":"5"}'),
        ("5", Uint256 | str, '"5"'),
        ([1, 2], list[Uint256], '["1","2"]'),
        ([1], Sequence[int], "[1]"),
        ((1,), Sequence[int], "[1]"),
        ((1, "a"), tuple[Uint256, str], '["1","a"]'),
        ((), tuple[()], "[]"),
        ((1, 2), tuple[int, ...], "[1,2]"),
        ((1,), tuple, "[1]"),
        ((1, 2), None, '{"$tuple":[1,2]}'),
        ({3, 1, 2}, set[int], '{"$set":[1,2,3]}'),
        (frozenset("hgfedcba"), None, '{"$set":["a","b","c","d","e","f","g","h"]}'),
        ({"b": 1, "a": 2}, dict[str, Uint256], '{"a":"2","b":"1"}'),
        ({"a": 2}, Mapping[str, Uint256], '{"a":"2"}'),
        ({"$decimal": "1"}, None, '{"$map":{"$decimal":"1"}}'),
        ({}, dict, "{}"),
        ({"limit": 5}, Options, '{"limit":"5"}'),
        (Decimal("1.50"), Decimal, '{"$decimal":"1.5"}'),
        (Decimal("10.00"), Decimal, '{"$decimal":"10"}'),
        (Decimal("100"), Decimal, '{"$decimal":"100"}'),
        (Decimal("-0.0"), Decimal, '{"$decimal":"0"}'),
        (Decimal("1E+3"), Decimal, '{"$decimal":"1000"}'),
        (Decimal("1E-3"), None, '{"$decimal":"0.001"}'),
        (b"\x00\xff", bytes, '{"$bytes":"0x00ff"}'),
        (UUID(int=1), UUID, '{"$uuid":"00000000-0000-0000-0000-000000000001"}'),
        (date(2024, 2, 29), date, '{"$date":"2024-02-29"}'),
        (datetime(2024, 1, 1, tzinfo=UTC), datetime, '{"$datetime":"2024-01-01T00:00:00.000000Z"}'),
        (Support.FOR, Support, '{"$enum":"Support","name":"FOR"}'),
        (Colour.RED, Colour, '{"$enum":"Colour","name":"RED"}'),
        (Support.FOR, None, f'{{"$enum":"{__name__}.Support","name":"FOR"}}'),
        ("for", Literal["for", "against"], '"for"'),
        (None, type(None), "null"),
        (True, bool, "true"),
        (
            Vote("0xa", 7),
            Vote,
            '{"$class":"Vote","fields":{"support":{"$enum":"Support","name":"FOR"},"voter":"0xa","weight":"7"}}',
        ),
        (
            Node("a", [Node("b")]),
            Node,
            '{"$class":"Node","fields":{"children":[{"$class":"Node","fields":{"children":[],"name":"b"}}],"name":"a"}}',
        ),
        (
            Block(number=1, digest=b"\x01"),
            Block,
            '{"$class":"Block","fields":{"digest":{"$bytes":"0x01"},"number":"1"}}',
        ),
        (Model(weight=1), Model, '{"$class":"Model","fields":{"names":[],"weight":"1"}}'),
        (Pair(1, "a"), Pair, '{"$class":"Pair","fields":{"left":"1","right":"a"}}'),
        (Pair(1, "a"), None, f'{{"$class":"{__name__}.Pair","fields":{{"left":"1","right":"a"}}}}'),
    ],
)
def test_declared_form(value: object, declared: object, expected: str) -> None:
    assert text(value, declared) == expected
    json.loads(expected)


def test_equal_instants_and_decimals_are_written_alike() -> None:
    east = timezone(timedelta(hours=5))
    assert text(datetime(2024, 1, 1, 5, tzinfo=east)) == text(datetime(2024, 1, 1, tzinfo=UTC))
    assert text(Decimal("2.50")) == text(Decimal("2.5"))


@pytest.mark.parametrize(
    ("value", "declared", "message"),
    [
        (0.5, None, f"value: {NO_FLOAT}"),
        (0.5, Uint256, f"value: {NO_FLOAT}"),
        (float("nan"), None, "value: float nan has no canonical form; use Decimal or an integer"),
        (2**53, int, "value: undeclared large integer: declare it as Uint256"),
        (-(2**53), None, "value: undeclared large integer: declare it as Uint256"),
        (2**256, Uint256, "value: the integer is outside uint256"),
        (-1, Uint256, "value: the integer is outside uint256"),
        (2**31, Int32, "value: the integer is outside int32"),
        (True, int, "value: declared int, got bool; convert it or declare it"),
        (True, Uint256, "value: declared uint256, got bool; convert it or declare it"),
        ("5", Uint256, "value: declared uint256, got str; convert it or declare it"),
        (Level.LOW, int, "value: declared int, got Level; convert it or declare it"),
        (Colour.RED, str, "value: declared str, got Colour; convert it or declare it"),
        (SpecialVote("a", 1), Vote, "value: declared Vote, got SpecialVote; convert it or declare it"),
        ((1,), list[int], "value: declared list, got tuple; convert it or declare it"),
        ((1,), tuple[int, int], "value: declared a tuple of 2, got 1 elements"),
        ({1: 2}, None, "value[1]: keys must be strings; use a list of pairs or convert the keys"),
        ({"a": [{"b": 0.5}]}, None, f"value['a'][0]['b']: {NO_FLOAT}"),
        ("\ud800", str, "value: the string has a lone surrogate at character 0"),
        (Decimal("NaN"), Decimal, "value: Decimal NaN has no canonical form; only finite numbers do"),
        (Decimal("1E+9999"), Decimal, "value: a Decimal must stay within 1000 digits of the point"),
        (Mode.READ | Mode.WRITE, Mode, None),
        (NAIVE, datetime, "value: a datetime without time zone names no instant; attach one, such as UTC"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), datetime, None),
        (Open(weight=1, more=2), Open, "value: undeclared fields ['more'] have no declared type"),
        ({"limit": 1, "other": 2}, Options, "value: keys ['limit', 'other'] are not those of Options"),
        ({}, Options, "value: keys [] are not those of Options"),
        ("maybe", Literal["for"], None),
        (BUFFER, None, "value: bytearray has no canonical form; convert it to a dataclass, dict or list"),
        (Vote("a", typing.cast("int", 0.5)), Vote, f"value.weight: {NO_FLOAT}"),
        (Vote("a", 1), Block | str, None),
    ],
)  # fmt: skip
def test_refused_values(value: object, declared: object, message: str | None) -> None:
    with pytest.raises(CanonicalError) as caught:
        canonical(value, declared)
    if message is not None:
        assert str(caught.value) == message
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "declared",
    [
        float,
        complex,
        list[float],
        int | float,
        dict[int, str],
        dict[Uint256, str],
        int | Uint256,
        list[int] | list[str],
        Sequence[int] | list[int],
        str | Literal["a"],
        Context,
        "a string",
    ],
)
def test_refused_types(declared: object) -> None:
    with pytest.raises(CanonicalError):
        canonical(None, declared)


@pytest.mark.parametrize("kind", [OrderedDict, lambda items: defaultdict(int, items), MappingProxyType])
def test_unusual_mappings_are_refused_and_never_written_as_empty(kind: Any) -> None:
    for declared in (None, dict[str, int], Mapping[str, int]):
        with pytest.raises(CanonicalError):
            canonical(kind({"a": 1}), declared)


def test_classes_of_one_name_in_one_union_are_refused() -> None:
    twin = dataclass(type("Vote", (), {"__annotations__": {"voter": str}, "__qualname__": "Vote"}))
    with pytest.raises(CanonicalError, match="two members for Vote"):
        canonical(Vote("a", 1), Vote | twin)


def test_undeclared_class_of_main_is_refused() -> None:
    Local = dataclass(type("Local", (), {"__module__": "__main__", "__annotations__": {}}))  # noqa: N806
    with pytest.raises(CanonicalError, match="__main__"):
        canonical([Local()])
    assert text(Local(), Local) == '{"$class":"Local","fields":{}}'


def test_cycles_and_depth_are_bounded() -> None:
    cyclic: list[object] = []
    cyclic.append(cyclic)
    with pytest.raises(CanonicalError, match="nested deeper than 64"):
        canonical(cyclic)
    knot = Node("a")
    knot.children.append(knot)
    with pytest.raises(CanonicalError, match="contains itself"):
        canonical(knot, Node)


async def sample(
    ctx: Context, votes: list[Vote], scale: Uint256 = 10, *rest: Int32, **named: Uint256
) -> Uint256:
    return scale


def test_arguments_by_signature() -> None:
    encoded = canonical_arguments(sample, ([],), {}).decode()
    assert encoded == '{"named":{},"rest":[],"scale":"10","votes":[]}'
    assert canonical_arguments(sample, ([], 10), {}).decode() == encoded
    assert canonical_arguments(sample, (), {"scale": 10, "votes": []}).decode() == encoded
    full = canonical_arguments(sample, ([], 1, 2, 3), {"extra": 4}).decode()
    assert full == '{"named":{"extra":"4"},"rest":[2,3],"scale":"1","votes":[]}'
    assert canonical_result(sample, 7) == b'"7"'


def test_argument_errors_name_the_path() -> None:
    votes = [Vote("a", 1), Vote("b", 1), Vote("c", 1), Vote("d", typing.cast("int", 0.5))]
    with pytest.raises(CanonicalError) as caught:
        canonical_arguments(sample, (votes,), {})
    assert str(caught.value) == "votes[3].weight: float 0.5 has no canonical form; use Decimal or an integer"
    assert (caught.value.path, caught.value.reason[:9]) == ("votes[3].weight", "float 0.5")
    with pytest.raises(CanonicalError, match="do not fit the signature"):
        canonical_arguments(sample, (), {})


def test_context_may_be_told_or_found() -> None:
    def untyped(ctx, value):  # type: ignore[no-untyped-def]
        return value

    assert canonical_arguments(untyped, (1,), {}, takes_context=True) == b'{"value":1}'
    assert canonical_arguments(untyped, (1, 2), {}) == b'{"ctx":1,"value":2}'
    assert canonical_result(untyped, (1,)) == b'{"$tuple":[1]}'


def workflow(ctx: Context, value: Uint256) -> typing.Generator[Any, Any, Uint256]:
    yield
    return value


def test_generators_and_bound_callables() -> None:
    class Scorer:
        def __call__(self, value: Uint256) -> Uint256:
            return value

        def method(self, value: Uint256) -> Uint256:
            return value

    assert canonical_result(workflow, 1) == b'"1"'
    assert canonical_arguments(Scorer().method, (1,), {}) == b'{"value":"1"}'
    assert canonical_arguments(Scorer(), (1,), {}) == b'{"value":"1"}'
    assert canonical_result(Scorer(), 1) == b'"1"'


def test_check_function_finds_faults_before_any_value() -> None:
    @dataclass
    class Inner:
        ratio: float

    def takes(value: Uint256) -> dict[str, list[tuple[Uint256, Support]]]:
        raise AssertionError

    def deep(value):  # type: ignore[no-untyped-def]
        raise AssertionError

    deep.__annotations__ = {"value": list[Inner | None], "return": Uint256}
    check_function(takes)
    check_function(sample)
    with pytest.raises(CanonicalError, match=r"value\.ratio: the declared type float has no canonical form"):
        check_function(deep)
    deep.__annotations__ = {"return": float}
    with pytest.raises(CanonicalError, match="result: the declared type float"):
        check_function(deep)
    deep.__annotations__ = {"value": "Missing"}
    with pytest.raises(CanonicalError, match="cannot be resolved"):
        check_function(deep)
    deep.__annotations__ = {"value": Node}
    check_function(deep)
