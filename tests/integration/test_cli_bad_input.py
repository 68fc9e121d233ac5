"""Whatever an operator gets wrong is told in one line that names it, and nothing is lost."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scorers.cli import main
from tests.cli_stage import POOR_KEY, SCORER, STRANGER, TOKEN, Ended, Stage, run, stage

AWAY = "http://127.0.0.1:9"
NOBODY = "0x" + "ab" * 20
Cli = Callable[..., Ended]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("stage")) as made:
        yield made


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """The command line in this process: half a second less each."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, **variables: str) -> Ended:
        for name in [name for name in os.environ if name.startswith("DAO_SCORER_")]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["dao-scorer", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return Ended(int(str(end.value.code or 0)), printed.out, printed.err)

    return call


def scoring(world: Stage, key: str = SCORER[1]) -> dict[str, str]:
    return {
        "DAO_SCORER_RPC": world.rpc,
        "DAO_SCORER_REGISTRY": world.registry,
        "DAO_SCORER_SERVER": world.server,
        "DAO_SCORER_TOKEN": TOKEN,
        "DAO_SCORER_PRIVATE_KEY": key,
    }


# -- the chain


@pytest.mark.parametrize("command", ["worker", "listen", "up", "deploy"])
def test_a_node_that_is_not_there(world: Stage, cli: Cli, command: str) -> None:
    given = {**scoring(world), "DAO_SCORER_RPC": AWAY, "DAO_SCORER_DAO": world.dao}
    cli(command, **given).told("127.0.0.1:9", "check the RPC URL")


@pytest.mark.parametrize("command", ["worker", "listen", "up", "deploy"])
def test_a_node_of_another_chain(world: Stage, cli: Cli, command: str) -> None:
    given = {**scoring(world), "DAO_SCORER_CHAIN_ID": "1", "DAO_SCORER_DAO": world.dao}
    cli(command, **given).told("serves chain 31337, not 1", "correct")


def test_a_url_that_is_none(cli: Cli) -> None:
    cli("worker", "--rpc", "localhost:8545", DAO_SCORER_PRIVATE_KEY=SCORER[1]).told("rpc", "http://")


@pytest.mark.parametrize("command", ["listen", "up", "worker"])
def test_a_registry_without_code(world: Stage, cli: Cli, command: str) -> None:
    given = {**scoring(world), "DAO_SCORER_REGISTRY": NOBODY, "DAO_SCORER_DAO": world.dao}
    cli(command, **given).told(f"no contract at {NOBODY}", "check the address")


@pytest.mark.parametrize("command", ["listen", "up"])
def test_a_dao_without_code(world: Stage, cli: Cli, command: str) -> None:
    cli(command, **{**scoring(world), "DAO_SCORER_DAO": NOBODY}).told(NOBODY, world.registry, "correct")


@pytest.mark.parametrize("command", ["listen", "up", "worker"])
def test_a_contract_that_is_no_registry(world: Stage, cli: Cli, command: str) -> None:
    given = {**scoring(world), "DAO_SCORER_REGISTRY": world.dao, "DAO_SCORER_DAO": world.dao}
    cli(command, **given).told(world.dao, "no ProposalScores registry", "check the address")


# -- the key


@pytest.mark.parametrize("command", ["worker", "up"])
def test_a_key_without_the_role(world: Stage, cli: Cli, command: str) -> None:
    given = {**scoring(world, STRANGER[1]), "DAO_SCORER_DAO": world.dao}
    cli(command, **given).told(STRANGER[0], "lacks the scorer role", "grantRole")


def test_a_key_without_funds(world: Stage, cli: Cli) -> None:
    given = scoring(world, POOR_KEY)
    cli("worker", **given).told("has 0 wei", "send it funds")
    cli("worker", **{**given, "DAO_SCORER_REGISTRY": ""}).told("has 0 wei", "send it funds")


def test_keys_that_are_none(world: Stage, cli: Cli, tmp_path: Path) -> None:
    cli("worker", "--rpc", world.rpc).told("no key", "DAO_SCORER_PRIVATE_KEY")
    told = cli("worker", DAO_SCORER_PRIVATE_KEY="0xnonsense").told("DAO_SCORER_PRIVATE_KEY")
    assert "nonsense" not in told
    keystore = tmp_path / "key.json"
    cli("worker", "--keystore", str(keystore), DAO_SCORER_KEYSTORE_PASSWORD="x").told(str(keystore))
    keystore.write_text("{}")
    cli("worker", "--keystore", str(keystore), DAO_SCORER_KEYSTORE_PASSWORD="x").told(
        str(keystore), "password"
    )


def test_the_doctor_tells_all_of_them(world: Stage, cli: Cli) -> None:
    given = {**scoring(world, POOR_KEY), "DAO_SCORER_DAO": NOBODY, "DAO_SCORER_CHAIN_ID": "5"}
    ended = cli("doctor", "--json", **given)
    ended.told("chain id", "serves chain 31337, not 5", "more)")
    states = {check["name"]: check["state"] for check in json.loads(ended.out)["checks"]}
    assert {name for name, state in states.items() if state == "failed"} == {
        "chain id",
        "DAO",
        "registry",
        "scorer role",
        "balance",
    }


def test_the_doctor_is_content(world: Stage, cli: Cli) -> None:
    given = {**scoring(world), "DAO_SCORER_DAO": world.dao, "DAO_SCORER_CHAIN_ID": "31337"}
    ended = cli("doctor", "--store", f"sqlite:///{world.store}", **given)
    assert ended.code == 0, ended
    assert ended.err == ""
    assert SCORER[1] not in ended.out
    assert TOKEN not in ended.out


# -- the database


def test_a_store_that_is_in_use(world: Stage, cli: Cli) -> None:
    before = world.store.stat().st_size
    told = cli("serve", "--store", f"sqlite:///{world.store}", "--port", "0").told(
        str(world.store), "stop it"
    )
    assert "process " in told
    assert world.store.stat().st_size >= before
    served = cli("promise", "search", "--json", "--server", world.server, DAO_SCORER_TOKEN=TOKEN)
    assert served.code == 0, "the owner still serves"


def test_a_store_that_is_none(cli: Cli, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("these are not the rows you are looking for\n" * 40)
    cli("serve", "--store", f"sqlite:///{text}", "--port", "0").told(str(text), "not a SQLite database")
    assert text.read_text().startswith("these are not")
    cli("doctor", "--rpc", AWAY, "--store", f"sqlite:///{text}").told("node")
    cli("serve", "--store", f"sqlite:///{tmp_path}/none/x.db").told("none", "create it")
    cli("serve", "--store", f"sqlite:///{tmp_path}").told(str(tmp_path), "directory")
    cli("serve", "--store", "mysql://x").told("store", "sqlite:///FILE")


def test_a_cursor_that_is_none(world: Stage, cli: Cli, tmp_path: Path) -> None:
    text = tmp_path / "cursor.txt"
    text.write_text("no cursor at all " * 400)
    given = {**scoring(world), "DAO_SCORER_DAO": world.dao}
    cli("listen", "--cursor", f"sqlite:///{text}", **given).told(str(text), "name another file")
    assert text.read_text().startswith("no cursor")
    ended = cli("doctor", "--cursor", f"sqlite:///{text}", **given)
    ended.told("cursor", str(text))


# -- the configuration


def test_every_fault_of_the_configuration_at_once(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "dao-scorer.toml").write_text('prt = 3\nport = "x"\nlease = -1\ndao = "0x12"\n')
    for command in ("serve", "doctor"):
        cli(command).told("4 faults", "prt", "not a known setting", "port", "lease", "dao", "address")


def test_a_configuration_that_cannot_be_read(cli: Cli, tmp_path: Path) -> None:
    cli("serve", "--config", "none.toml").told("none.toml", "create it")
    (tmp_path / "broken.toml").write_text("port = = 3\n")
    cli("serve", "--config", "broken.toml").told("broken.toml", "line 1")


def test_missing_addresses_are_named_together(world: Stage, cli: Cli) -> None:
    cli("listen", "--rpc", world.rpc).told("--dao", "--registry", "DAO_SCORER_REGISTRY")


def test_a_start_beyond_the_head_by_either_name(world: Stage, cli: Cli) -> None:
    given = {**scoring(world), "DAO_SCORER_DAO": world.dao}
    for flag in ("--start-block", "--from-block"):
        cli("listen", flag, "900000", **given).told("900000", "beyond")


def test_a_host_exposed_without_a_token(cli: Cli, tmp_path: Path) -> None:
    store = tmp_path / "exposed.db"
    cli("serve", "--host", "0.0.0.0", "--port", "0", "--store", f"sqlite:///{store}").told(  # noqa: S104
        "0.0.0.0",  # noqa: S104
        "token",
    )


def test_a_port_in_use(world: Stage, cli: Cli, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        cli("serve", "--port", port, "--store", f"sqlite:///{tmp_path}/a.db").told(port, "choose another")
        cli("chain", "--port", port).told(port, "choose another")
        given = {**scoring(world), "DAO_SCORER_DAO": world.dao}
        cli("up", "--port", port, **given).told(port, "choose another")


# -- the server


QUERIES = (
    ("promise", "get", "x"),
    ("promise", "search"),
    ("tree", "x"),
    ("proof", "get", "x"),
    ("proof", "verify", "x"),
    ("invoke", "x", "--func", "f"),
)


@pytest.mark.parametrize("query", QUERIES)
def test_a_server_that_is_away(cli: Cli, query: tuple[str, ...]) -> None:
    cli(*query, "--server", AWAY).told("127.0.0.1:9", "check that the server runs")


@pytest.mark.parametrize("query", QUERIES)
def test_a_token_that_is_wrong_or_missing(world: Stage, cli: Cli, query: tuple[str, ...]) -> None:
    cli(*query, "--server", world.server).told("token")
    cli(*query, "--server", world.server, DAO_SCORER_TOKEN="not-the-token-of-this").told("token")


@pytest.mark.parametrize("command", ["worker", "listen"])
def test_a_service_with_a_wrong_token(world: Stage, tmp_path: Path, command: str) -> None:
    given = {**scoring(world), "DAO_SCORER_DAO": world.dao, "DAO_SCORER_TOKEN": "not-the-token-of-this"}
    run(tmp_path, command, **given).told("token")


@pytest.mark.parametrize("query", [query for query in QUERIES if query[-1] == "x"])
def test_an_unknown_promise(world: Stage, cli: Cli, query: tuple[str, ...]) -> None:
    told = cli(*query, "--server", world.server, DAO_SCORER_TOKEN=TOKEN).told("no promise x", world.server)
    assert "dao-scorer promise search" in told


def test_a_server_that_is_something_else(world: Stage, cli: Cli) -> None:
    cli("promise", "get", "x", "--server", world.rpc).told(world.rpc, "check the URL")


# -- arguments and files


def test_wrong_arguments(world: Stage, cli: Cli) -> None:
    known = ("--server", world.server)
    cli("invoke", "x", "--func", "f", "--arg", '{"a":', *known).told("--arg", "not JSON")
    cli("invoke", "x", "--func", "f", "--target", "nowhere", *known).told("--target nowhere")
    cli("promise", "search", "--tag", "x", *known).told("--tag NAME=VALUE")
    assert cli("bogus").told("bogus", "dao-scorer --help")
    assert cli("doctor", "--prt", "1").told("--prt", "dao-scorer doctor --help")
    assert cli("chain", "--port", "x").told("--port", "dao-scorer chain --help")
    assert cli("promise", "get").told("promise_id", "dao-scorer promise get --help")
    assert cli("bogus").code == 2


def test_replay_files_that_are_none(cli: Cli, tmp_path: Path) -> None:
    cli("replay", "none.jsonl").told("none.jsonl")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": \n')
    cli("replay", str(broken)).told(str(broken), "line 1")
    broken.write_text("")
    cli("replay", str(broken)).told(str(broken), "no proposals")
    broken.write_bytes(b"\xff\xfe\x00")
    cli("replay", str(broken)).told(str(broken))


def test_proof_files_that_are_none(cli: Cli, tmp_path: Path) -> None:
    cli("proof", "verify", "none.json").told("none.json", "proof get")
    broken = tmp_path / "broken.json"
    for content in (b"", b"{", b"[]", b"\xff", b'{"version":7}', b'{"version":1}'):
        broken.write_bytes(content)
        cli("proof", "verify", str(broken)).told(str(broken), "no proof")
    cli("proof", "verify", str(tmp_path)).told(str(tmp_path))


@pytest.mark.parametrize("command", [("chain",), ("demo",)])
def test_the_local_chain_is_an_extra(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "hardhat_free_chain", None)
    cli(*command).told("not installed", "pip install 'dao-scorer[chain]'")


def test_a_fault_in_the_program_keeps_its_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault in the program")

    monkeypatch.setattr("scorers.cli.flags.load_settings", broken)
    monkeypatch.setattr(sys, "argv", ["dao-scorer", "promise", "get", "x"])
    with pytest.raises(RuntimeError, match="a fault in the program"):
        main()
