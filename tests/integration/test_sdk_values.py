"""Values through promises, everywhere alike: what comes back, and what cannot be stored says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any, Generic, Literal, NewType, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest

from orchestrator import (
    ApplicationError,
    Context,
    EncodingError,
    Keyring,
    Never,
    NotRegistered,
    Orchestrator,
)
from orchestrator.client import type_codecs
from orchestrator.client.type_codecs import TypeConflict
from tests.integration.sdk_places import PATIENCE_S, Place, place

__all__ = ["place"]
T = TypeVar("T")
VoterId = NewType("VoterId", str)


class Side(Enum):
    FOR = 1


class Reading(TypedDict):
    at: datetime
    level: Decimal


class Model(pydantic.BaseModel):
    when: datetime
    ratio: Decimal


class Packed(msgspec.Struct, frozen=True):
    key: UUID
    body: bytes


@dataclass(frozen=True)
class Box(Generic[T]):
    content: T


@dataclass(frozen=True)
class Everything:
    voter: VoterId
    mode: Literal["fast", "slow"]
    side: Side | None
    model: Model
    packed: list[Packed]
    readings: dict[str, Reading]
    either: int | Box[Decimal]
    box: Box[tuple[Side, ...]]


MOMENT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
EVERYTHING = Everything(
    voter=VoterId("ada"),
    mode="fast",
    side=Side.FOR,
    model=Model(when=MOMENT, ratio=Decimal("0.10")),
    packed=[Packed(key=UUID(int=7), body=b"\x00\xff")],
    readings={"a": {"at": MOMENT, "level": Decimal("1.0")}},
    either=Box(Decimal("2.50")),
    box=Box((Side.FOR,)),
)


async def same(value: Everything) -> Everything:
    assert value == EVERYTHING
    return value


async def flow(ctx: Context, value: Everything) -> list[Everything]:
    return [await ctx.run(same, value), await ctx.rpc(same, value)]


@pytest.mark.parametrize("keys", [None, Keyring({"k": bytes(32)})], ids=["plain", "encrypted"])
async def test_everything_comes_back_as_what_it_was(place: Place, keys: Keyring | None) -> None:
    app = place.make(encryptor=keys)
    app.register(same)
    app.register(flow)
    async with app, asyncio.timeout(PATIENCE_S):
        assert await app.run("w", flow, EVERYTHING) == [EVERYTHING, EVERYTHING]


@pytest.fixture
def _types_as_they_were() -> Iterator[None]:
    by_class, by_name = dict(type_codecs.by_class), dict(type_codecs._by_name)
    yield
    for known, before in ((type_codecs.by_class, by_class), (type_codecs._by_name, by_name)):
        known.clear()
        known.update(before)  # type: ignore[arg-type]


def with_fractions(app: Orchestrator) -> Orchestrator:
    app.register_type(
        Fraction,
        name="fraction",
        to_stored=lambda one: (one.numerator, one.denominator),
        from_stored=lambda pair: Fraction(*pair),
    )
    return app


async def halved(share: Fraction, more: Any) -> list[Any]:
    return [share / 2, more]


@pytest.mark.usefixtures("_types_as_they_were")
async def test_a_type_with_a_codec_of_its_own(place: Place) -> None:
    app = with_fractions(place.make())
    app.register(halved)
    async with app, asyncio.timeout(PATIENCE_S):
        result = await app.rpc("w", halved, Fraction(1, 3), {"deep": [Fraction(2, 5)]})
        assert result == [Fraction(1, 6), {"deep": [Fraction(2, 5)]}]
        # As another language writes it, for a declared type.
        assert await app.rpc("v", "halved", [1, 2], None) == [Fraction(1, 4), None]


@pytest.mark.usefixtures("_types_as_they_were")
def test_one_type_has_one_stored_form() -> None:
    app = with_fractions(Orchestrator.local(":memory:"))
    with pytest.raises(TypeConflict, match="register each type once"):
        app.register_type(Fraction, name="other", to_stored=str, from_stored=Fraction)
    with pytest.raises(TypeConflict, match="Fraction is stored as 'fraction' already"):
        app.register_type(complex, name="fraction", to_stored=str, from_stored=complex)


async def test_an_argument_without_a_stored_form_is_named(place: Place) -> None:
    async def calls(ctx: Context) -> None:
        await ctx.rpc("leaf", [1, object()])

    app = place.make()
    app.register(calls)
    async with app, asyncio.timeout(PATIENCE_S):
        with pytest.raises(EncodingError, match=r"argument 1 of leaf\[1\]: builtins\.object has no stored"):
            await app.rpc("v", "leaf", [1, object()])
        with pytest.raises(ApplicationError, match=r"argument 1 of leaf\[1\]") as caught:
            await app.run("w", calls)
        assert caught.value.type_name == "EncodingError"


async def test_functions_and_versions_that_do_not_exist(place: Place) -> None:
    async def calls(ctx: Context) -> None:
        await ctx.options(version=9).run("same")

    app = place.make()
    app.register(calls)
    app.register(same)
    async with app, asyncio.timeout(PATIENCE_S):
        with pytest.raises(
            NotRegistered, match="'nothing' is not registered in this process; registered are: "
        ):
            await app.run("a", "nothing")
        with pytest.raises(
            NotRegistered, match="'same' version 9 is not registered in this process; of this name"
        ):
            await app.options(version=9).run("b", same, EVERYTHING)
        with pytest.raises(
            ApplicationError, match="'same' version 9 is not registered in this process; of this name"
        ) as caught:
            await app.run("c", calls)
        assert caught.value.type_name == "NotRegistered"


async def test_a_result_that_is_too_large_fails_its_step(place: Place) -> None:
    async def large() -> bytes:
        return bytes(6 * 1024 * 1024)

    async def calls(ctx: Context) -> str:
        try:
            await ctx.run(large)
        except ApplicationError as error:
            return error.type_name + ": " + error.message
        return "stored"

    app = place.make()
    app.register(large, retry=Never())
    app.register(calls)
    async with app, asyncio.timeout(PATIENCE_S):
        told = await app.run("w", calls)
    assert told.startswith("NotStored: the result of step large version 1 is not stored: ")
    assert "store the value elsewhere" in told


async def test_a_missing_dependency_says_how_to_offer_it(place: Place) -> None:
    async def wants(ctx: Context) -> str:
        return str(ctx.dependency("database"))

    app = place.make()
    app.register(wants)
    async with app, asyncio.timeout(PATIENCE_S):
        with pytest.raises(ApplicationError, match=r"no dependency 'database': offer it by app\.set_depend"):
            await app.run("w", wants)
