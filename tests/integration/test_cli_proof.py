"""`proof get` and `proof verify` as a user has them: fetched once, checked without a server, or refused."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from contracts.bindings.reputation_dao import Support
from orchestrator import Orchestrator
from orchestrator.engine import Engine
from orchestrator.server import ServerSettings, create_app, listening
from orchestrator.store import open_store
from orchestrator.transport.local import LocalTransport
from scorers.cli import main
from scorers.registration import register_scoring
from scorers.schema import SCHEMA_FILE
from scorers.serving import PROOFS
from scorers.verifier import PAGE
from scorers.workflow import score_proposal
from tests.cli_stage import Ended
from tests.integration.server_support import get
from tests.scorers_chain import ACCOUNTS, FAST, RETRY, World, world

AWAY = "http://127.0.0.1:9"
OFFLINE = ["shape", "completeness", "order", "values", "leaves", "proofs", "root"]
MEANING = ["scoring", "votes", "tally", "policy"]
ON_CHAIN = ["chain", "domain", "registry", "transaction", "steps", "standing", "score"]


@dataclass(frozen=True)
class Scored:
    made: World
    url: str
    promise_id: str
    file: Path


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Ended]:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["dao-scorer", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return Ended(int(str(end.value.code or 0)), printed.out, printed.err)

    return call


@pytest.fixture
async def scored(tmp_path: Path) -> AsyncIterator[Scored]:
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(world())
        await made.reputations({2: 10, 3: 30})
        request = await made.propose()
        await made.mine()
        await made.vote(2, request, Support.AGAINST)
        await made.vote(3, request, Support.FOR)
        await made.mine(25)
        engine = await stack.enter_async_context(Engine(open_store(f"sqlite:///{tmp_path}/s.db")))
        app = Orchestrator(transport=LocalTransport(engine), group="proposal-scorers")
        register_scoring(app, node=made.node, signer=made.signer, sending=FAST, retry=RETRY)
        serving = create_app(engine, ServerSettings(port=0), PROOFS)
        url = await stack.enter_async_context(listening(serving))
        await stack.enter_async_context(app)
        await made.end(app, request)
        async with asyncio.timeout(30):
            await app.rpc(request.promise_id, score_proposal, request)
        yield Scored(made=made, url=url, promise_id=request.promise_id, file=tmp_path / "proof.json")


async def fetched(cli: Callable[..., Ended], scored: Scored) -> None:
    got = await asyncio.to_thread(
        cli, "proof", "get", scored.promise_id, "-o", str(scored.file), "--server", scored.url
    )
    assert got.code == 0, got
    assert str(scored.file) in got.out


def checks_of(ended: Ended) -> dict[str, bool]:
    return {check["name"]: check["ok"] for check in json.loads(ended.out)["checks"]}


async def test_a_written_proof_needs_no_server(cli: Callable[..., Ended], scored: Scored) -> None:
    await fetched(cli, scored)
    offline = await asyncio.to_thread(cli, "proof", "verify", str(scored.file), "--json", "--server", AWAY)
    assert offline.code == 0, offline
    assert checks_of(offline) == dict.fromkeys(OFFLINE + MEANING, True)
    assert json.loads(offline.out)["on_chain"] is False
    rpc = ("--rpc", scored.made.node.endpoint)
    whole = await asyncio.to_thread(cli, "proof", "verify", str(scored.file), *rpc, "--json")
    assert checks_of(whole) == dict.fromkeys(OFFLINE + MEANING + ON_CHAIN, True)
    table = await asyncio.to_thread(cli, "proof", "verify", str(scored.file), "--server", AWAY)
    assert "add --rpc URL" in table.out
    assert "\x1b" not in table.out


async def test_a_promise_of_the_server(cli: Callable[..., Ended], scored: Scored) -> None:
    at = ("--server", scored.url)
    shown = await asyncio.to_thread(cli, "proof", "get", scored.promise_id, *at)
    assert "calculate_score" in shown.out
    bundle = await asyncio.to_thread(cli, "proof", "get", scored.promise_id, *at, "--json")
    scored.file.write_text(bundle.out)
    for source in (scored.promise_id, str(scored.file)):
        rpc = ("--rpc", scored.made.node.endpoint, "--dao", scored.made.dao)
        verified = await asyncio.to_thread(cli, "proof", "verify", source, *rpc, *at, "--json")
        assert verified.code == 0, verified
        assert checks_of(verified)["expected dao"]


async def test_a_folder_that_cannot_be_written(cli: Callable[..., Ended], scored: Scored) -> None:
    at = ("--server", scored.url)
    ended = await asyncio.to_thread(cli, "proof", "get", scored.promise_id, "-o", "none/p.json", *at)
    ended.told("none/p.json", "choose a folder")


def _leaf(name: str, value: object) -> Callable[[Any], None]:
    def change(bundle: Any) -> None:
        bundle["leaves"][1][name] = value

    return change


def _set(name: str, value: object) -> Callable[[Any], None]:
    return lambda bundle: bundle.__setitem__(name, value)


def _section(name: str, value: object) -> Callable[[Any], None]:
    return lambda bundle: bundle["sections"]["scoring"].__setitem__(name, value)


ELSEWHERE = "0x" + "cd" * 20
HASH = "0x" + "12" * 32


@pytest.mark.parametrize(
    ("change", "on_chain", "words"),
    [
        (_leaf("output", "[]"), False, ("'values'", "leaf 1 (fetch_votes), output")),
        (_leaf("input_hash", HASH), False, ("'values'", "leaf 1 (fetch_votes), input")),
        (_leaf("version", 3), False, ("'leaves'", "leaf 1 (fetch_votes)")),
        (_leaf("proof", []), False, ("'proofs'", "leaf 1 (fetch_votes)")),
        (_leaf("index", 9), False, ("'completeness'", "leaf 1")),
        (_set("root", HASH), False, ("'proofs'", "leaf 0")),
        (_set("domain", HASH), False, ("'leaves'", "leaf 0")),
        (lambda bundle: bundle["leaves"].pop(), False, ("'completeness'", "5", "4")),
        (_leaf("hash", "0x12"), False, ("leaves[1].hash",)),
        (_set("extra", 1), False, ("extra",)),
        (_section("score", 9), False, ("'scoring'", "score", "5000", "9")),
        (_section("for_votes", "9"), True, ("'scoring'", "for_votes", "30", "9")),
        (_section("transaction_hash", HASH), True, ("'transaction'", HASH)),
        (_section("registry", ELSEWHERE), True, ("'scoring'", ELSEWHERE)),
        (_section("chain_id", 1), True, ("'scoring'", "chain_id", "31337")),
        (lambda bundle: bundle["sections"].clear(), True, ("'section'", "scoring")),
    ],
)
async def test_a_tampered_file_is_told_by_its_first_fault(
    cli: Callable[..., Ended],
    scored: Scored,
    change: Callable[[Any], None],
    on_chain: bool,
    words: tuple[str, ...],
) -> None:
    await fetched(cli, scored)
    bundle = json.loads(scored.file.read_text())
    change(bundle)
    scored.file.write_text(json.dumps(bundle))
    rpc = ("--rpc", scored.made.node.endpoint) if on_chain else ()
    ended = await asyncio.to_thread(cli, "proof", "verify", str(scored.file), *rpc)
    ended.told(str(scored.file), *words)


async def test_a_proof_of_another_dao(cli: Callable[..., Ended], scored: Scored) -> None:
    await fetched(cli, scored)
    ended = await asyncio.to_thread(cli, "proof", "verify", str(scored.file), "--registry", ELSEWHERE)
    ended.told("'expected registry'", ELSEWHERE, scored.made.registry)


VOTER = ACCOUNTS[3][0]


def _twice(votes: Any) -> None:
    votes.append({**votes[1], "index": 2})


REFUSED: dict[str, tuple[Callable[[str], str], str]] = {
    "cut short": (lambda text: text[:-20], "not JSON"),
    "another version": (lambda text: text.replace('"version":2', '"version":1'), "version 1 is unknown"),
    "a float": (lambda text: text.replace('"count":5', '"count":5.0', 1), "5.0 is not an integer"),
    "a key twice": (lambda text: text.replace('"count":5', '"count":5,"count":5', 1), "stands twice"),
    "a leaf twice": (lambda text: text.replace('"index":1', '"index":0', 1), "index 0 stands twice"),
    "a voter twice": (
        lambda text: _changed(text, lambda bundle: _twice(bundle["sections"]["votes"]["leaves"])),
        f"voter {VOTER} stands twice for one vote",
    ),
    "a voter in other letters": (
        lambda text: _changed(
            text, lambda bundle: bundle["sections"]["votes"]["leaves"][1].update(voter=VOTER.upper())
        ),
        "is no address",
    ),
    "votes that are none": (
        lambda text: _changed(text, lambda bundle: bundle["sections"].__setitem__("votes", {})),
        "section 'votes' is malformed",
    ),
}


def _changed(text: str, change: Callable[[Any], None]) -> str:
    content = json.loads(text)
    change(content)
    return json.dumps(content)


async def test_what_is_no_proof_is_refused_with_the_reason(cli: Callable[..., Ended], scored: Scored) -> None:
    await fetched(cli, scored)
    whole = scored.file.read_text()
    for name, (change, reason) in REFUSED.items():
        assert change(whole) != whole, name
        scored.file.write_text(change(whole))
        for command in (("proof", "verify"), ("audit", "--rpc", scored.made.node.endpoint)):
            ended = await asyncio.to_thread(cli, *command, str(scored.file))
            ended.told(f"{scored.file} is no proof", reason)
            assert ended.out == "", name


@pytest.mark.parametrize("choice", [("--step", "4"), ("--voter", VOTER)], ids=lambda choice: choice[0][2:])
async def test_a_voter_stands_once_in_parts_too(
    cli: Callable[..., Ended], scored: Scored, choice: tuple[str, str]
) -> None:
    got = ("proof", "get", scored.promise_id, *choice, "-o", str(scored.file), "--server", scored.url)
    assert (await asyncio.to_thread(cli, *got)).code == 0
    content = json.loads(scored.file.read_text())
    if "votes" not in content:
        # Written before proofs of steps went without the list of votes.
        await fetched(cli, scored)
        content["sections"]["votes"] = json.loads(scored.file.read_text())["sections"]["votes"]
        scored.file.write_text(json.dumps(content))
        assert (await asyncio.to_thread(cli, "proof", "verify", str(scored.file))).code == 0
    votes = content["votes"] if "votes" in content else content["sections"]["votes"]["leaves"]
    votes.append(votes[-1])
    scored.file.write_text(json.dumps(content))
    ended = await asyncio.to_thread(cli, "proof", "verify", str(scored.file))
    ended.told("is no proof", f"voter {VOTER} stands twice for one vote")


async def test_nothing_that_a_bundle_says_moves_the_cursor(cli: Callable[..., Ended], scored: Scored) -> None:
    hostile = "\x1b[2J\x9b1m\u202e[red]\nroot  ✔"
    await fetched(cli, scored)
    whole, shown = scored.file.read_text(), False
    for change in (
        lambda bundle: bundle["leaves"][1].__setitem__("function", hostile),
        lambda bundle: bundle["sections"]["votes"]["leaves"][0].update(reason=hostile, counted=False),
        lambda bundle: bundle["sections"]["scoring"]["policy"].__setitem__("name", hostile),
    ):
        scored.file.write_text(_changed(whole, change))
        for command in (("proof", "verify"), ("audit", "--rpc", scored.made.node.endpoint)):
            ended = await asyncio.to_thread(cli, *command, str(scored.file))
            told = ended.out + ended.err
            shown = shown or "[red]" in told
            assert ended.code == 1
            assert not {"\x1b", "\x9b", "\u202e"} & set(told)
            assert not any(line.startswith("root  ✔") for line in told.splitlines())
    assert shown


async def test_nothing_is_verified_where_the_node_is_away(cli: Callable[..., Ended], scored: Scored) -> None:
    await fetched(cli, scored)
    ended = await asyncio.to_thread(cli, "proof", "verify", str(scored.file), "--rpc", AWAY, "--json")
    ended.told("127.0.0.1:9")
    assert ended.out == ""


async def test_one_step_and_one_voter(cli: Callable[..., Ended], scored: Scored) -> None:
    at, rpc = ("--server", scored.url), ("--rpc", scored.made.node.endpoint)
    for choice in (("--step", "4"), ("--voter", VOTER)):
        got = await asyncio.to_thread(
            cli, "proof", "get", scored.promise_id, *choice, "-o", str(scored.file), *at
        )
        assert got.code == 0, got
        assert set(json.loads(scored.file.read_text())["sections"]) == {"scoring"}
        checked = await asyncio.to_thread(cli, "proof", "verify", str(scored.file), *rpc, "--json")
        assert checked.code == 0, checked
        assert set(checks_of(checked)) >= {"shape", "values", "leaves", "proofs", "registry", "steps"}
        await _served_alike(scored, choice)
        whole = await asyncio.to_thread(cli, "audit", str(scored.file), *rpc)
        whole.told("the whole bundle is needed")
        other = _changed(
            scored.file.read_text(), lambda proof: proof["sections"]["scoring"].update(dao=ELSEWHERE)
        )
        scored.file.write_text(other)
        passed_off = await asyncio.to_thread(
            cli, "proof", "verify", str(scored.file), *rpc, "--dao", ELSEWHERE
        )
        passed_off.told("check 'dao' does not hold")
    scored.file.write_text(
        _changed(scored.file.read_text(), lambda proof: proof["sections"]["scoring"].update(for_votes="31"))
    )
    told = await asyncio.to_thread(cli, "proof", "verify", str(scored.file))
    told.told("check 'verdict' does not hold: for_votes is 30 in the steps")
    shown = await asyncio.to_thread(cli, "proof", "get", scored.promise_id, "--voter", VOTER, *at)
    assert VOTER in shown.out
    stranger = await asyncio.to_thread(cli, "proof", "get", scored.promise_id, "--voter", ELSEWHERE, *at)
    stranger.told("none of the voters", ELSEWHERE)


async def _served_alike(scored: Scored, choice: tuple[str, str]) -> None:
    path = f"/proofs/{scored.promise_id}/{choice[0][2:]}s/{choice[1]}"
    status, body, headers = await get(scored.url, path)
    assert (status, body) == (200, await asyncio.to_thread(scored.file.read_bytes))
    assert "immutable" in headers["Cache-Control"]
    again = await get(scored.url, path, **{"If-None-Match": headers["ETag"]})
    assert again[:2] == (304, b"")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("steps/5", "there is no 5"),
        ("steps/-1", "no number of a step"),
        ("steps/1e3", "no number of a step"),
        (f"voters/{ELSEWHERE}", "none of the voters"),
        ("voters/me", "no address"),
        ("holders/me", "have no"),
    ],
)
async def test_what_is_not_there_is_not_found(scored: Scored, path: str, words: str) -> None:
    status, body, headers = await get(scored.url, f"/proofs/{scored.promise_id}/{path}")
    assert status == 404
    assert words in body.decode()
    assert headers.get("Cache-Control") is None


async def test_the_audit_names_the_place(cli: Callable[..., Ended], scored: Scored) -> None:
    await fetched(cli, scored)
    rpc = ("--rpc", scored.made.node.endpoint)
    for source in (str(scored.file), scored.promise_id):
        right = await asyncio.to_thread(cli, "audit", source, *rpc, "--server", scored.url, "--json")
        assert right.code == 0, right
        assert json.loads(right.out)["differences"] == []
    bundle = json.loads(scored.file.read_text())
    bundle["sections"]["votes"]["leaves"][1]["weight"] = "31"
    scored.file.write_text(json.dumps(bundle))
    wrong = await asyncio.to_thread(cli, "audit", str(scored.file), *rpc, "--json")
    place = {"place": f"votes.leaves[{VOTER}].weight", "bundle": "31", "chain": "30"}
    assert json.loads(wrong.out)["differences"] == [place]
    table = await asyncio.to_thread(cli, "audit", str(scored.file), *rpc)
    table.told("one difference", place["place"])
    assert "the bundle says" in table.out


async def test_a_file_of_gigabytes_is_not_read(cli: Callable[..., Ended], tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(5 * 2**30)
    ended = await asyncio.to_thread(cli, "proof", "verify", str(large))
    ended.told(str(large), "at most 67108864 are read")


async def test_the_page_and_the_schema_are_given(cli: Callable[..., Ended], tmp_path: Path) -> None:
    for name, file in (("page", PAGE), ("schema", SCHEMA_FILE)):
        target = tmp_path / file.name
        given = await asyncio.to_thread(cli, "proof", name, "-o", str(target))
        assert given.code == 0, given
        assert target.read_bytes() == file.read_bytes()
        assert sha256(file.read_bytes()).hexdigest() in given.out
