"""What a server refuses to be started as, and whom it believes."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from orchestrator.domain.errors import Refused
from orchestrator.server import ServerMisconfigured, ServerSettings
from orchestrator.server.auth import authenticator
from orchestrator.server.settings import is_loopback

TOKEN = "0123456789abcdef-secret"


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.1.7", "scores.example", "127.example.org"])  # noqa: S104
def test_without_a_token_only_loopback_is_listened_on(host: str) -> None:
    with pytest.raises(ServerMisconfigured, match="set a token"):
        ServerSettings(host=host)
    assert ServerSettings(host=host, token=TOKEN).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    assert ServerSettings(host=host).token is None


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ServerMisconfigured) as caught:
        ServerSettings(host="0.0.0.0", port=70_000, keep_alive_s=0, buffer_messages=-1)  # noqa: S104
    assert len(caught.value.faults) == 4
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("token", ["short", "with a space in the token", "ümlaut-in-the-middle-of-it"])
def test_a_weak_or_unsendable_token_is_refused(token: str) -> None:
    with pytest.raises(ServerMisconfigured, match="token"):
        ServerSettings(token=token)


def test_the_token_is_not_shown() -> None:
    assert TOKEN not in repr(ServerSettings(token=TOKEN))


@pytest.mark.parametrize("given", [None, "", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\udce9", "日本"])
def test_a_wrong_token_is_refused(given: str | None) -> None:
    with pytest.raises(Refused) as caught:
        authenticator(TOKEN).check_call(make_mocked_request("POST", "/"), given)
    assert caught.value.status == 401


def test_the_right_token_is_accepted_in_head_and_header() -> None:
    checker = authenticator(TOKEN)
    checker.check_call(make_mocked_request("POST", "/"), TOKEN)
    for scheme in ("Bearer", "bearer"):
        checker.check_read(make_mocked_request("GET", "/", headers={"Authorization": f"{scheme} {TOKEN}"}))


@pytest.mark.parametrize("value", [TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer "])
def test_an_authorization_of_another_kind_is_refused(value: str) -> None:
    with pytest.raises(Refused):
        authenticator(TOKEN).check_read(make_mocked_request("GET", "/", headers={"Authorization": value}))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:8001"},
        {"Host": "127.0.0.1"},
        {"Host": "[::1]:8001"},
        {"Host": "localhost:8001", "Origin": "http://localhost:8001"},
    ],
)
def test_without_a_token_this_machine_is_believed(headers: dict[str, str]) -> None:
    authenticator(None).check_call(make_mocked_request("POST", "/", headers=headers), None)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example:8001"},
        {"Host": "localhost:8001", "Origin": "https://evil.example"},
        {"Host": "localhost:8001", "Origin": "null"},
        {"Host": "localhost:8001", "Origin": "http://localhost:3000"},
    ],
)
def test_without_a_token_a_web_page_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        authenticator(None).check_call(make_mocked_request("POST", "/", headers=headers), None)
    assert caught.value.status == 403
