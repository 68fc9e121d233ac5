"""Promises, tasks and schedules by hand: every command against a server, and its refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scorers.cli import app
from tests import cli_stage
from tests.cli_stage import Ended, environment


class Hand:
    """Runs commands against one server."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory, self.url = directory, url

    def __call__(self, *arguments: str) -> Ended:
        # In this process: starting one takes longer than all that it does.
        ended = CliRunner().invoke(app, arguments, env={"DAO_SCORER_SERVER": self.url})
        return Ended(ended.exit_code, ended.stdout, ended.stderr)

    def json(self, *arguments: str) -> Any:
        ended = self(*arguments, "--json")
        assert ended.code == 0, ended
        return json.loads(ended.out)


@pytest.fixture
def hand(tmp_path: Path) -> Any:
    with cli_stage.service(tmp_path, "serve", "--store", "sqlite:///s.db", "--port", "0") as url:
        yield Hand(tmp_path, url)


def test_promises_by_hand(hand: Hand) -> None:
    made = hand.json("promise", "create", "p", "--timeout", "1h30m", "--param", '{"a": 1}', "--tag", "k=v")
    assert made["timeoutAt"] - made["createdAt"] == pytest.approx(5_400_000, abs=2_000)
    assert made["tags"]["k"] == "v"
    assert hand.json("promise", "resolve", "p", "--value", "[1, 2]")["state"] == "resolved"
    assert hand.json("promise", "cancel", "p")["state"] == "resolved", "what has settled stays"
    hand("promise", "create", "q")
    hand("promise", "create", "r")
    assert hand.json("promise", "reject", "q", "--error", "no way")["state"] == "rejected"
    assert hand.json("promise", "cancel", "r")["state"] == "rejected_canceled"
    hand("promise", "create", "w", "--tag", "resonate:target=poll://any@nobody")
    hand("promise", "create", "w:1", "--tag", "resonate:origin=w")
    assert hand.json("promise", "cancel-tree", "w")["state"] == "pending", "it is only asked"
    assert hand.json("task", "get", "w")["cancelled"]
    assert hand.json("promise", "terminate-tree", "w")["state"] == "rejected_canceled"
    assert hand.json("promise", "get", "w:1")["state"] == "rejected_canceled"
    hand("promise", "terminate-tree", "none").told("none", "promise search")
    assert "[1,2]" in hand("promise", "get", "p").out
    assert "no way" in hand("promise", "get", "q").out
    hand("promise", "resolve", "none").told("none", "promise search")
    hand("promise", "create", "s", "--timeout", "soon").told("--timeout", "1h30m")
    hand("promise", "create", "s", "--tag", "k").told("NAME=VALUE")
    hand("promise", "resolve", "p", "--value", "{").told("--value", "JSON")
    hand("promise", "create", "x\x01" + "y" * 2000).told("longer")


def test_tasks_by_hand(hand: Hand) -> None:
    for name in ("t", "u"):
        hand("promise", "create", name, "--tag", "resonate:target=poll://any@nobody")
    assert hand.json("task", "get", "t") == {"id": "t", "state": "pending", "version": 0, "resumes": 0}
    assert hand.json("task", "acquire", "t", "--version", "0", "--pid", "me")["pid"] == "me"
    assert "acquired" in hand("task", "search", "--state", "acquired").out
    hand("task", "release", "t", "--version", "0").told("acquired at version 1")
    assert hand("task", "heartbeat", "--pid", "me").code == 0
    assert hand("task", "release", "t", "--version", "1").code == 0
    assert hand("task", "halt", "t").code == 0
    assert hand.json("task", "get", "t")["state"] == "halted"
    assert hand("task", "continue", "t").code == 0
    hand("task", "continue", "t").told("continue refused")
    hand("task", "acquire", "t", "--version", "1")
    settled = hand.json("task", "fulfill", "t", "--version", "2", "--value", "42")
    assert settled["state"] == "resolved"
    hand("task", "acquire", "u", "--version", "0")
    assert hand.json("task", "fulfill", "u", "--version", "1", "--error", "bad")["state"] == "rejected"
    hand("task", "fulfill", "u", "--version", "1", "--error", "bad", "--value", "1").told("exclude")
    hand("task", "get", "none").told("no task none", "task search")


def test_a_worker_by_hand(hand: Hand) -> None:
    """Whoever types all that a worker sends comes to the same end."""
    target = ("--target", "poll://any@nobody")
    held = hand.json("task", "create", "w", "--pid", "me", "--ttl", "5m", "--param", '{"func": "f"}', *target)
    assert (held["state"], held["version"], held["pid"], held["ttl"]) == ("acquired", 1, "me", 300_000)
    hand("task", "create", "w", *target).told("Already exists")
    hand("task", "create", "v", "--target", "ftp://x").told("--target", "delivery address")
    child = hand.json("task", "fence", "w", "--version", "1", "--create", "w:1", "--timeout", "1h")
    assert (child["state"], child["tags"]["resonate:origin"]) == ("pending", "w")
    hand("task", "fence", "w", "--version", "7", "--create", "w:2").told("acquired at version 1")
    hand("task", "fence", "w", "--version", "1", "--resolve", "w:9").told("no promise w:9")
    hand("task", "fence", "w", "--version", "1").told("--create, --resolve or --reject")
    awaited = ("--awaited", "w:1")
    assert hand.json("task", "suspend", "w", "--version", "1", *awaited) == {"id": "w", "suspended": True}
    assert hand.json("promise", "register-listener", "w", "--address", "poll://any@nobody")["id"] == "w"
    hand("promise", "register-listener", "w", "--address", "nowhere").told("--address", "delivery address")
    assert hand.json("promise", "resolve", "w:1", "--value", "5")["state"] == "resolved"
    assert hand.json("task", "get", "w")["state"] == "pending", "what it awaited has settled"
    hand("task", "acquire", "w", "--version", "1")
    assert "stays held" in hand("task", "suspend", "w", "--version", "2", *awaited).out
    hand("task", "fence", "w", "--version", "2", "--create", "w:2")
    assert hand.json("promise", "register-callback", "w:2", "--awaiter", "w")["state"] == "pending"
    hand("promise", "register-callback", "w:2", "--awaiter", "x").told("'x' not found")
    alone = hand.json("task", "fence", "w", "--version", "2", "--create", "approval", "--param", '"x"')
    assert alone["tags"]["resonate:origin"] == "approval"
    failed = hand.json("task", "fence", "w", "--version", "2", "--reject", "w:2", "--error", "no")
    assert failed["state"] == "rejected"
    done = hand.json("task", "fence", "w", "--version", "2", "--resolve", "w:1", "--value", "6")
    assert done["value"] == hand.json("promise", "get", "w:1")["value"], "what has settled stays"
    assert hand.json("task", "fulfill", "w", "--version", "2", "--value", "7")["state"] == "resolved"


def test_schedules_by_hand_and_a_tree_that_is_watched(hand: Hand) -> None:
    made = hand.json(
        "schedule", "create", "s", "--cron", "* * * * * *", "--func", "f", "--arg", "1", "--tag", "k=v",
        "--timeout", "1d", "--target", "poll://any@g", "--time-zone", "Europe/Vienna", "--catch-up", "last",
    )  # fmt: skip
    assert (made["promiseTimeout"], made["timeZone"], made["catchUp"]) == (
        86_400_000,
        "Europe/Vienna",
        "last",
    )
    assert hand.json("schedule", "pause", "s")["paused"]
    assert "paused" in hand("schedule", "search", "--tag", "k=v").out
    assert "paused" not in hand.json("schedule", "resume", "s")
    assert "Europe/Vienna" in hand("schedule", "get", "s").out
    assert hand("schedule", "delete", "s").code == 0
    hand("schedule", "get", "s").told("no schedule s", "schedule search")
    hand("schedule", "create", "s", "--cron", "* *", "--func", "f").told("2 fields")
    hand("schedule", "create", "s", "--cron", "* * * * *", "--func", "f", "--time-zone", "Mars").told("IANA")
    hand("schedule", "create", "s", "--cron", "* * * * *", "--func", "f", "--target", "ftp://x").told(
        "poll://"
    )

    hand("promise", "create", "root")
    watching = subprocess.Popen(
        [sys.executable, "-m", "scorers", "tree", "root", "--watch", "--json"],
        cwd=hand.directory,
        env=environment({"DAO_SCORER_SERVER": hand.url}),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["state"] == "pending"
    hand("promise", "resolve", "root")
    out, _ = watching.communicate(timeout=30)
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["resolved"]
    assert watching.returncode == 0


def test_encrypted_values_by_hand(hand: Hand, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    assert hand.json("encryption-key", str(file), "--id", "k1") == {
        "file": str(file),
        "id": "k1",
        "writes": "k1",
    }
    assert file.stat().st_mode & 0o777 == 0o600
    keys = ("--encryption-key-file", str(file))
    hand("promise", "create", "p", "--param", '"in secret"', *keys)
    assert hand("promise", "resolve", "p", "--value", '"well kept"', *keys).code == 0
    blind = hand("promise", "get", "p").out
    assert "in secret" not in blind
    assert "encrypted with key k1" in blind
    assert "in secret" in hand("promise", "get", "p", *keys).out
    assert hand.json("encryption-key", str(file), "--id", "k2", "--last")["writes"] == "k1"
    assert hand.json("encryption-key", str(file), "--id", "k3")["writes"] == "k3"
    assert "well kept" in hand("promise", "get", "p", *keys).out
    hand("encryption-key", str(file), "--id", "k3").told("k3", "comes twice")
    file.chmod(0o644)
    hand("promise", "get", "p", *keys).told("chmod 600")
