"""Delivery addresses: where a message goes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote, urlsplit

_READABLE = ":@!$&'()*+,;="
"""What a name keeps of itself in an address; the rest is percent-encoded: it would end or change the name."""


class Cast(StrEnum):
    """How a poll address picks its connection: exactly one named, or any of a group."""

    UNI = "uni"
    ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class PollAddress:
    """A connection that a worker holds open. `member` is preferred for `any` and required for `uni`."""

    cast: Cast
    group: str
    member: str | None

    def __str__(self) -> str:
        """Write the address as it stands in a tag."""
        place = f"poll://{self.cast}@{quote(self.group, safe=_READABLE)}"
        return place + (f"/{quote(self.member, safe=_READABLE)}" if self.member else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PushAddress:
    """A URL to which messages are posted."""

    url: str

    def __str__(self) -> str:
        """Write the address as it stands in a tag."""
        return self.url


Address = PollAddress | PushAddress


def parse_address(text: str) -> Address:
    """Parse a delivery address.

    Names keep their case and may be percent-encoded; a '/' in a group must be. Raises ValueError, with a
    message for the caller, for anything that is neither `poll://any@group[/id]`, `poll://uni@group/id`,
    `http://…` nor `https://…`.
    """
    scheme, _, place = text.partition("://")
    if scheme.lower() in ("http", "https") and urlsplit(text).netloc:
        return PushAddress(url=text)
    # Split by hand: urlsplit would cut a name at '?' or '#' and leave tabs out, without a word.
    group, _, member = place.partition("/")
    cast, at, group = group.partition("@")
    if scheme.lower() != "poll" or not at or not group or cast not in (Cast.UNI, Cast.ANY):
        raise ValueError(
            f"invalid address {text!r}: expected poll://any@GROUP[/ID], poll://uni@GROUP/ID or http(s)://URL"
        )
    return PollAddress(cast=Cast(cast), group=unquote(group), member=unquote(member) or None)


def any_of(group: str, member: str | None = None) -> str:
    """Return the address of any connection of a group, preferring `member`."""
    return str(PollAddress(cast=Cast.ANY, group=group, member=member))


def only(group: str, member: str) -> str:
    """Return the address of exactly one connection."""
    return str(PollAddress(cast=Cast.UNI, group=group, member=member))
