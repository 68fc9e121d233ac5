"""`dao-scorer up --shadow`: without a key, beside a scorer that submits something else."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from contracts.bindings import Function, proposal_scores, reputation_dao
from contracts.bindings.reputation_dao import Support
from contracts.direct import DirectSender
from contracts.rpc import Node
from contracts.transactions import Signer
from hardhat_free_chain import deterministic_accounts
from scorers.cli import app
from tests import cli_stage

ACCOUNTS = [(address.lower(), str(key)) for address, key in deterministic_accounts(3)]
ADMIN, OTHER, VOTER = range(3)
PERIOD_S, TIMEOUT_S = 60, 60


def send(rpc: str, key: int, to: str, function: Function[Any], *arguments: object) -> None:
    async def sent() -> None:
        async with Node(rpc) as node:
            sender = DirectSender(node, Signer.from_key(ACCOUNTS[key][1]), await node.chain_id())
            await sender.send(to, function.encode(*arguments))

    asyncio.run(sent())


def pass_time(rpc: str, seconds: int) -> None:
    async def passed() -> None:
        async with Node(rpc) as node:
            await node.request("evm_increaseTime", [seconds])
            await node.request("evm_mine", [])

    asyncio.run(passed())


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
        return str(answer.read().decode())


def waited_for(what: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.1)
    return False


def test_a_shadow_needs_no_key_sends_nothing_and_is_seen_to_differ(tmp_path: Path) -> None:
    with cli_stage.service(tmp_path, "chain", "--port", "0") as rpc:
        deploying = ("deploy", "--voting-period", str(PERIOD_S), "--scorer", ACCOUNTS[OTHER][0], "--json")
        variables = {"DAO_SCORER_RPC": rpc, "DAO_SCORER_PRIVATE_KEY": ACCOUNTS[ADMIN][1]}
        made = json.loads(CliRunner().invoke(app, deploying, env=variables).stdout)
        dao, registry = made["dao"], made["registry"]
        send(rpc, ADMIN, dao, reputation_dao.SET_REPUTATIONS, [ACCOUNTS[VOTER][0]], [7])
        places = ("--rpc", rpc, "--dao", dao, "--registry", registry)
        arguments = ("up", "--shadow", *places, "--port", "0", "--poll-interval", "0.2")
        with cli_stage.service(tmp_path, *arguments) as url:
            send(rpc, ADMIN, dao, reputation_dao.PROPOSE, b"\x07" * 32)
            pass_time(rpc, 2)
            send(rpc, VOTER, dao, reputation_dao.CAST_VOTE, 1, Support.FOR)
            pass_time(rpc, PERIOD_S + 60)
            wrong = (1, 1, -77, b"\x07" * 32)
            send(rpc, OTHER, registry, proposal_scores.SUBMIT_SCORE, *wrong)
            seen = 'scores_final_total{result="differs"} 1.0'
            assert waited_for(lambda: seen in read(f"{url}/metrics")), read(f"{url}/metrics")
            promise = f"scoreProposal-31337-{dao.lower()}-1"
            showing = ("promise", "get", promise, "--server", url, "--json")

            def shown() -> Any:
                return json.loads(CliRunner().invoke(app, showing).stdout)

            assert waited_for(lambda: shown()["state"] == "resolved")
            told = base64.b64decode(shown()["value"]["data"]).decode()
            assert "OUTVOTED" in told.upper(), told
            assert "in the shadow, nothing was submitted" in told
            shown_by_hand = CliRunner().invoke(
                app, ("rounds", "show", "1", "--registry", registry, "--rpc", rpc, "--json")
            )
            submissions = json.loads(shown_by_hand.stdout)["submissions"]
            assert [each["scorer"] for each in submissions] == [ACCOUNTS[OTHER][0]]
