"""`dao-scorer rounds` and the terms of `dao-scorer deploy`, against a served local chain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from contracts.bindings import Function, proposal_scores, reputation_dao
from contracts.direct import DirectSender
from contracts.rpc import Node
from contracts.transactions import Signer
from hardhat_free_chain import deterministic_accounts
from scorers.cli import app
from tests import cli_stage
from tests.cli_stage import Ended

KEYS = [str(key) for _, key in deterministic_accounts(4)]
ADDRESSES = [address.lower() for address, _ in deterministic_accounts(4)]
ADMIN, FIRST, SECOND, CHALLENGER = range(4)
ROOT, OTHER = "0x" + "01" * 32, "0x" + "02" * 32
PERIOD_S, WINDOW_S = 60, 3_600


@dataclass
class Stage:
    """A local chain and a registry on it, moved by hand."""

    rpc: str
    registry: str = ""
    dao: str = ""

    def run(self, *arguments: str, key: int = ADMIN) -> Ended:
        environment = {
            "DAO_SCORER_RPC": self.rpc,
            "DAO_SCORER_PRIVATE_KEY": KEYS[key],
            "DAO_SCORER_REGISTRY": self.registry,
        }
        ended = CliRunner().invoke(app, arguments, env=environment)
        return Ended(ended.exit_code, ended.stdout, ended.stderr)

    def shown(self) -> Any:
        ended = self.run("rounds", "show", "1", "--json")
        assert ended.code == 0, ended
        return json.loads(ended.out)

    def moved(self, *arguments: str, key: int = ADMIN) -> None:
        ended = self.run("rounds", *arguments, "--json", key=key)
        assert ended.code == 0, ended
        assert len(json.loads(ended.out)["transactionHash"]) == 66

    def send(self, key: int, to: str, function: Function[None], *arguments: object) -> None:
        async def sent() -> None:
            async with Node(self.rpc) as node:
                sender = DirectSender(node, Signer.from_key(KEYS[key]), await node.chain_id())
                await sender.send(to, function.encode(*arguments))

        asyncio.run(sent())

    def submit(self, key: int, score: int = 5, root: str = ROOT) -> None:
        arguments = (1, 1, score, bytes.fromhex(root[2:]))
        self.send(key, self.registry, proposal_scores.SUBMIT_SCORE, *arguments)

    def pass_time(self, seconds: int) -> None:
        async def passed() -> None:
            async with Node(self.rpc) as node:
                await node.request("evm_increaseTime", [seconds])
                await node.request("evm_mine", [])

        asyncio.run(passed())


@pytest.fixture(scope="module")
def rpc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cli_stage.service(tmp_path_factory.mktemp("chain"), "chain", "--port", "0") as url:
        yield url


@pytest.fixture
def stage(rpc: str) -> Stage:
    return Stage(rpc=rpc)


def deployed(stage: Stage, *terms: str) -> None:
    scorers = [part for key in (FIRST, SECOND) for part in ("--scorer", ADDRESSES[key])]
    ended = stage.run("deploy", "--voting-period", str(PERIOD_S), *scorers, *terms, "--json")
    assert ended.code == 0, ended
    made = json.loads(ended.out)
    stage.dao, stage.registry = made["dao"], made["registry"]
    stage.send(ADMIN, stage.dao, reputation_dao.PROPOSE, b"\x07" * 32)
    stage.pass_time(PERIOD_S + 60)


CHALLENGEABLE = (
    *("--quorum", "2", "--rounds", "1", "--round-window", "1d"),
    *("--challenge-window", "1h", "--bond", "0.1", "--bond-receiver", ADDRESSES[ADMIN]),
)


def test_a_verdict_is_agreed_challenged_and_resolved_by_hand(stage: Stage) -> None:
    deployed(stage, *CHALLENGEABLE)
    assert stage.shown()["stage"] == "open"
    stage.moved("open", "1", key=CHALLENGER)
    stage.submit(FIRST)
    stage.submit(SECOND)
    shown = stage.shown()
    assert (shown["stage"], shown["round"], shown["score"], shown["root"]) == ("agreed", 1, 5, ROOT)
    assert [each["asAgreed"] for each in shown["submissions"]] == [True, True]
    early = stage.run("rounds", "finalize", "1")
    assert early.code == 1
    assert "ChallengeWindowOpen" in early.err
    stage.moved("challenge", "1", key=CHALLENGER)
    assert stage.shown()["stage"] == "disputed"
    table = stage.run("rounds", "show", "1").out
    assert "final unless resolved" in table
    assert ADDRESSES[FIRST] in table.lower()
    stage.moved("resolve", "1", "--score", "-7", "--root", OTHER)
    shown = stage.shown()
    assert (shown["stage"], shown["score"], shown["root"]) == ("final", -7, OTHER)
    assert [each["asAgreed"] for each in shown["submissions"]] == [False, False]
    stage.moved("withdraw", ADDRESSES[CHALLENGER])
    again = stage.run("rounds", "withdraw", ADDRESSES[CHALLENGER])
    assert "NothingToWithdraw" in again.err


def test_a_verdict_is_made_final_by_hand(stage: Stage) -> None:
    deployed(stage, *CHALLENGEABLE)
    stage.submit(FIRST)
    stage.submit(SECOND)
    stage.pass_time(WINDOW_S + 60)
    stage.moved("finalize", "1", key=CHALLENGER)
    assert stage.shown()["stage"] == "final"


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        (("--quorum", "2"), "needs --round-window"),
        (("--challenge-window", "1h"), "belong together"),
        (("--bond", "0.1"), "belong together"),
        (("--bond", "much"), "no amount of ether"),
        (("--challenge-window", "1h", "--bond", "1.0000000000000000001"), "parts of a wei"),
        (("--round-window", "1h500ms"), "whole seconds"),
        (("--round-window", "long"), "no duration"),
        (("--bond-receiver", "0x12"), "no address"),
        (("--rounds", "2"), "UnsupportedRounds"),
        (("--round-window", "1h", "--commit-window", "1h"), "UnsupportedCommitWindow"),
    ],
)
def test_terms_that_cannot_work_are_refused(stage: Stage, terms: tuple[str, ...], told: str) -> None:
    ended = stage.run("deploy", *terms)
    assert ended.code == 1
    assert told in ended.err, ended


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "one"), "no id of a proposal"),
        (("show", str(2**256)), "no id of a proposal"),
        (("resolve", "1", "--score", "0", "--root", "0x12"), "is no root"),
        (("resolve", "1", "--score", "0", "--root", "z" * 64), "is no root"),
        (("resolve", "1", "--score", "0", "--root", "01 " * 20 + "0101"), "is no root"),
        (("withdraw", "0x12"), "no address"),
    ],
)
def test_what_is_mistyped_is_told(arguments: tuple[str, ...], told: str) -> None:
    stage = Stage(rpc="http://127.0.0.1:1", registry=ADDRESSES[ADMIN])
    ended = stage.run("rounds", *arguments)
    assert (ended.code, told in ended.err) == (1, True), ended


def test_a_registry_is_needed() -> None:
    ended = Stage(rpc="http://127.0.0.1:1").run("rounds", "show", "1")
    assert (ended.code, "registry" in ended.err) == (1, True), ended
