"""Delivery addresses: every name of a group or member comes back as it was written."""

import pytest

from orchestrator.domain.address import Cast, PollAddress, PushAddress, any_of, only, parse_address

NAMES = ["plain", "Mixed-Case", "a/b", "50%", "a%20b", "%2F", "ü x", "İ", "a?b", "a#b", "q@r", "[x]", "a:b"]
ODDER_NAMES = ["..", "/lead", "a\\b", "a\tb\n", " lead", "trail ", "a;b+c", "℀", "\U0001f600"]


@pytest.mark.parametrize("name", [*NAMES, *ODDER_NAMES])
def test_a_name_survives_its_address(name: str) -> None:
    assert parse_address(any_of(name)) == PollAddress(cast=Cast.ANY, group=name, member=None)
    assert parse_address(only(name, name)) == PollAddress(cast=Cast.UNI, group=name, member=name)


@pytest.mark.parametrize(
    "text",
    ["", "poll://", "poll://any", "poll://any@", "poll://all@g", "poll://any@/m", "ftp://x", "http://", "g"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid address"):
        parse_address(text)


@pytest.mark.parametrize("name", ["a?b", "a#b", "a b", "[x]", "a\tb", "q@r", "50%", "İ", "℀"])
def test_a_name_that_was_not_encoded_is_not_cut_off(name: str) -> None:
    assert parse_address(f"poll://any@{name}/{name}") == PollAddress(cast=Cast.ANY, group=name, member=name)


def test_a_url_is_kept_as_it_stands() -> None:
    url = "https://Example.com:1/a?b=c#d"
    assert parse_address(url) == PushAddress(url=url)
