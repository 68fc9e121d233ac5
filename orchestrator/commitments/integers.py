"""Declared integer types: how many bits an integer has decides how it is written.

An integer of at most 53 bits is a JSON number, a wider one always a decimal string, whatever its value:
the declaration decides, so that 5 declared as `Uint256` is `"5"`. The aliases are `int` for a type checker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

SAFE_INTEGER_BITS = 53
SAFE_INTEGER_MAX = 2**SAFE_INTEGER_BITS - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerType:
    """The range of a declared integer; use it as `Annotated[int, IntegerType(bits=256, signed=False)]`."""

    bits: int
    signed: bool

    @property
    def minimum(self) -> int:
        """The smallest value of the type."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def maximum(self) -> int:
        """The largest value of the type."""
        return (1 << (self.bits - self.signed)) - 1

    @property
    def text(self) -> bool:
        """Tell whether values are written as decimal strings: the type is wider than a JSON number."""
        return self.bits > SAFE_INTEGER_BITS

    @property
    def name(self) -> str:
        """The name of the type, as Solidity spells it."""
        return f"{'int' if self.signed else 'uint'}{self.bits}"


Uint8: TypeAlias = Annotated[int, IntegerType(bits=8, signed=False)]
Uint16: TypeAlias = Annotated[int, IntegerType(bits=16, signed=False)]
Uint32: TypeAlias = Annotated[int, IntegerType(bits=32, signed=False)]
Uint64: TypeAlias = Annotated[int, IntegerType(bits=64, signed=False)]
Uint128: TypeAlias = Annotated[int, IntegerType(bits=128, signed=False)]
Uint256: TypeAlias = Annotated[int, IntegerType(bits=256, signed=False)]
Int32: TypeAlias = Annotated[int, IntegerType(bits=32, signed=True)]
Int64: TypeAlias = Annotated[int, IntegerType(bits=64, signed=True)]
Int256: TypeAlias = Annotated[int, IntegerType(bits=256, signed=True)]
