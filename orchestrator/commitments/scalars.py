"""The canonical text of single values: numbers, text, bytes, moments.

An `Encoder` takes a value and the depth at which it stands. What JSON has no type for is an object with one
key that begins with `$`, so that nothing else can look like it: `{"$decimal":"0.5"}`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from types import NoneType
from uuid import UUID

from orchestrator.commitments import jcs
from orchestrator.commitments.errors import CanonicalError
from orchestrator.commitments.integers import SAFE_INTEGER_MAX, IntegerType

Encoder = Callable[[object, int], str]

DECIMAL_EXPONENT_MAX = 1_000


def refuse(expected: str, value: object) -> CanonicalError:
    """Return the error for a value that is not what was expected."""
    if type(value) is float:
        return CanonicalError("", f"float {value!r} has no canonical form; use Decimal or an integer")
    return CanonicalError(
        "", f"declared {expected}, got {type(value).__qualname__}; convert it or declare it"
    )


def tagged(tag: str, encoded: str) -> str:
    """Return an object whose only key is `$tag`."""
    return f'{{"${tag}":{encoded}}}'


def encode_none(value: object, _depth: int) -> str:
    """Return `null`."""
    if value is not None:
        raise refuse("None", value)
    return "null"


def encode_bool(value: object, _depth: int) -> str:
    """Return `true` or `false`."""
    if type(value) is not bool:
        raise refuse("bool", value)
    return "true" if value else "false"


def encode_str(value: object, _depth: int) -> str:
    """Return a JSON string; no Unicode normalisation is applied."""
    if type(value) is not str:
        raise refuse("str", value)
    return jcs.quoted(value) if value.isascii() else jcs.string(value)


def encode_int(value: object, _depth: int) -> str:
    """Return a JSON number; an integer that JSON numbers cannot carry must be declared."""
    if type(value) is not int:
        raise refuse("int", value)
    if not -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX:
        raise CanonicalError("", "undeclared large integer: declare it as Uint256")
    return str(value)


def encode_decimal(value: object, _depth: int) -> str:
    """Return the value without trailing zeros or exponent: equal decimals are written alike."""
    if type(value) is not Decimal:
        raise refuse("Decimal", value)
    if not value.is_finite():
        raise CanonicalError("", f"Decimal {value} has no canonical form; only finite numbers do")
    if not value:
        return tagged("decimal", '"0"')
    if abs(value.adjusted()) > DECIMAL_EXPONENT_MAX:
        raise CanonicalError("", f"a Decimal must stay within {DECIMAL_EXPONENT_MAX} digits of the point")
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return tagged("decimal", f'"{text}"')


def encode_bytes(value: object, _depth: int) -> str:
    """Return the bytes as 0x and lower-case hexadecimal digits."""
    if type(value) is not bytes:
        raise refuse("bytes", value)
    return tagged("bytes", f'"0x{value.hex()}"')


def encode_datetime(value: object, _depth: int) -> str:
    """Return the instant in UTC with microseconds. A time without a zone names no instant and is refused."""
    if type(value) is not datetime:
        raise refuse("datetime", value)
    if value.utcoffset() is None:
        raise CanonicalError("", "a datetime without time zone names no instant; attach one, such as UTC")
    try:
        instant = value.astimezone(UTC)
    except OverflowError as error:
        raise CanonicalError("", "the datetime leaves the years 1 to 9999 in UTC") from error
    return tagged("datetime", f'"{instant.replace(tzinfo=None).isoformat(timespec="microseconds")}Z"')


def encode_date(value: object, _depth: int) -> str:
    """Return the day as YYYY-MM-DD."""
    if type(value) is not date:
        raise refuse("date", value)
    return tagged("date", f'"{value.isoformat()}"')


def encode_uuid(value: object, _depth: int) -> str:
    """Return the UUID in its usual text form."""
    if type(value) is not UUID:
        raise refuse("UUID", value)
    return tagged("uuid", f'"{value}"')


def integer_encoder(kind: IntegerType, *, open_position: bool) -> Encoder:
    """Return the encoder of a declared integer: wide ones as decimal strings, whatever their value.

    In an open position (a union) the string is tagged `$integer`, for a `str` could stand there, too.
    """
    minimum, maximum = kind.minimum, kind.maximum
    before, after = ('"', '"') if kind.text else ("", "")
    if kind.text and open_position:
        before, after = '{"$integer":"', '"}'

    def encode(value: object, _depth: int) -> str:
        if type(value) is not int:
            raise refuse(kind.name, value)
        if not minimum <= value <= maximum:
            raise CanonicalError("", f"the integer is outside {kind.name}")
        return f"{before}{value}{after}"

    return encode


SCALARS: dict[type, Encoder] = {
    NoneType: encode_none,
    bool: encode_bool,
    int: encode_int,
    str: encode_str,
    Decimal: encode_decimal,
    bytes: encode_bytes,
    datetime: encode_datetime,
    date: encode_date,
    UUID: encode_uuid,
}
