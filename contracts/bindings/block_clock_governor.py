"""Typed calls of `BlockClockGovernor`, by which a registry reads a Governor that has no clock()."""

from contracts.bindings.codec import Function
from contracts.bindings.errors import ErrorType

NAME = "BlockClockGovernor"
"""The artifact's name; its constructor takes (Governor address, whether it is a Bravo)."""

GOVERNOR = Function(name="governor", outputs=("address",), result=str)
IS_BRAVO = Function(name="isBravo", outputs=("bool",), result=bool)

ERRORS = (ErrorType("InvalidGovernor(address governor)"),)
