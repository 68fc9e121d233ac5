"""The environment: what is misspelt there is told, and durations are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from scorers.cli.flags import configured
from scorers.errors import SettingsError
from scorers.serving import push_settings
from scorers.settings import ENV_PREFIX, OTHER_VARIABLES, TEST_VARIABLES, Settings, load_settings

ROOT = Path(__file__).parents[2]


def test_a_misspelt_variable_is_told_with_what_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAO_SCORER_START_BLOK", "7")
    monkeypatch.setenv("DAO_SCORER_COLOUR", "red")
    monkeypatch.setenv("DAO_SCORER_PORT", "many")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert message.startswith("3 faults in the configuration: ")
    assert "DAO_SCORER_COLOUR is not a known setting: unset it" in message
    assert "DAO_SCORER_START_BLOK is not a known setting: did you mean DAO_SCORER_START_BLOCK?" in message
    assert "many" not in message
    assert "red" not in message


def test_an_empty_or_a_foreign_variable_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAO_SCORER_COLOUR", "")
    monkeypatch.setenv("DAO_SCORERS", "7")
    load_settings()


def test_every_variable_that_the_sources_name_is_known() -> None:
    known = {name.upper() for name in Settings.model_fields} | OTHER_VARIABLES | TEST_VARIABLES
    for folder in ("scorers", "listener", "contracts", "orchestrator", "hardhat-free-chain"):
        for source in (ROOT / folder).rglob("*.py"):
            named = set(re.findall(rf"(?<!_){ENV_PREFIX}([A-Z][A-Z_]*)", source.read_text(encoding="utf-8")))
            assert named <= known, source


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("90m", 5400), ("12h", 43_200), ("30d", 2_592_000), ("1d12h", 129_600)]
)
def test_durations(text: str, seconds: int) -> None:
    assert load_settings(retain_children=text).retain_children == seconds


@pytest.mark.parametrize("text", ["30", "d", "-1d", "1.5d", "0d", "30 days", "9999999999d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(SettingsError, match="retain_children"):
        load_settings(retain_children=text)


def test_tokens_of_functions_are_told_by_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAO_SCORER_PUSH_TOKENS", "https://a.example=one=1, http://127.0.0.1:9=two")
    tokens = push_settings(load_settings()).tokens
    assert tokens == {"https://a.example": "one=1", "http://127.0.0.1:9": "two"}


@pytest.mark.parametrize(
    "text", ["https://a.example", "https://a.example=", "a.example=x", "https://a.example/b=x"]
)
def test_a_token_without_its_origin_is_refused_and_not_shown(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAO_SCORER_PUSH_TOKENS", f"https://b.example=secret,{text}")
    with pytest.raises(SettingsError, match="https://HOST=TOKEN") as caught:
        load_settings()
    assert "secret" not in str(caught.value)


def test_several_nodes_have_commas_or_the_flag_again(monkeypatch: pytest.MonkeyPatch) -> None:
    both = ("http://a.example/KEY", "https://b.example")
    monkeypatch.setenv("DAO_SCORER_RPC", "http://a.example/KEY, https://b.example/")
    assert load_settings(rpc_quorum=2).rpc_urls == both
    monkeypatch.delenv("DAO_SCORER_RPC")
    seen: list[tuple[str, ...]] = []

    @configured("rpc")
    async def shown(settings: Settings) -> None:
        """Show the nodes."""
        seen.append(settings.rpc_urls)

    app = typer.Typer()
    app.command()(shown)
    for given in (["--rpc", both[0], "--rpc", both[1]], ["--rpc", ",".join(both)], []):
        assert CliRunner().invoke(app, given).exit_code == 0
    monkeypatch.setenv("DAO_SCORER_RPC", ",".join(both))
    assert CliRunner().invoke(app, []).exit_code == 0
    assert seen == [both, both, ("http://127.0.0.1:8545",), both]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"rpc": "http://a,ws://b"}, "must start with http"),
        ({"rpc": ","}, "must start with http"),
        ({"rpc": "http://a,http://a/"}, "names one endpoint twice"),
        ({"rpc": "http://a", "rpc_quorum": 2}, "rpc_quorum is 2 and rpc names 1"),
        ({"rpc_rate": 0}, "rpc_rate"),
        ({"rpc_broadcast": "some"}, "rpc_broadcast"),
    ],
)
def test_nodes_that_cannot_be_are_told(given: dict[str, object], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        load_settings(**given)
