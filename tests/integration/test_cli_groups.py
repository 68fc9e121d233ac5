"""Groups and dead letters by hand, against a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import cli_stage
from tests.integration.test_cli_by_hand import Hand


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hand]:
    # One server for all: starting it takes longer than all that they do.
    directory = tmp_path_factory.mktemp("groups")
    with cli_stage.service(directory, "serve", "--store", "sqlite:///s.db", "--port", "0") as url:
        yield Hand(directory, url)


def test_groups_by_hand(hand: Hand) -> None:
    shown = hand.json("group", "set", "g", "--concurrency", "1", "--rate", "10/1m", "--attempts", "1")
    assert shown == {
        "id": "g",
        "concurrency": 1,
        "rate": 10,
        "period": 60_000,
        "attempts": 1,
        "acquired": 0,
        "waiting": 0,
    }
    assert hand.json("group", "set", "g", "--rate", "none").keys().isdisjoint({"rate", "period"})
    assert hand.json("group", "pause", "g")["paused"] is True
    assert "paused" in hand("group", "list").out
    assert "paused" not in hand.json("group", "resume", "g")
    assert hand.json("group", "show", "unheard of") == {"id": "unheard of"}
    for number in range(2):
        hand("promise", "create", f"p{number}", "--tag", "resonate:target=poll://any@g")
    hand.json("task", "acquire", "p0", "--version", "0")
    full = hand("task", "acquire", "p1", "--version", "0")
    assert full.code != 0
    assert "has 1 tasks acquired of at most 1" in full.err
    hand.json("task", "release", "p0", "--version", "1")
    assert [letter["id"] for letter in [hand.json("task", "dead", "--of", "g")]] == ["p0"]
    assert "p0" in hand("task", "dead").out
    assert hand.json("task", "revive", "--all", "--of", "g") == {"id": "p0"}
    assert hand.json("task", "get", "p0")["state"] == "pending"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("group", "set", "g", "--concurrency", "many"), "write a whole number from 1 on, or none"),
        (("group", "set", "g", "--concurrency", "0"), "concurrency must be between 1"),
        (("group", "set", "g", "--rate", "10"), "write 10/1s, 500/1h or none"),
        (("group", "set", "g", "--rate", "10/soon"), "is no duration"),
        (("task", "revive"), "or --all"),
        (("task", "revive", "p", "--all"), "or --all"),
    ],
)
def test_what_is_no_limit_is_refused(hand: Hand, arguments: tuple[str, ...], message: str) -> None:
    ended = hand(*arguments)
    assert ended.code != 0
    assert message in " ".join(ended.err.split())
