"""No secret leaves the process: not by log, error, metric or store, nor as a flag that process lists show."""

from __future__ import annotations

import json
import traceback
from pathlib import Path

import pytest
from eth_account import Account
from prometheus_client import CollectorRegistry, generate_latest

from contracts.rpc import NodeUnavailable
from contracts.transactions import (
    Intent,
    RemoteSigner,
    SendingMetrics,
    SendingPolicy,
    SentStatus,
    Signer,
    Signers,
    WrongSigner,
    register_transactions,
    send_transaction,
)
from orchestrator import Orchestrator
from scorers import composition
from scorers.settings import Settings, load_settings
from tests.transactions_weather import CHAIN_ID, REGISTRY, WeatherNode

KEY, RETIRING = "0x" + "4c7e" * 16, "0x" + "4d1f" * 16
PASSWORD, URL_SECRET = "correct-horse-battery", "url-secret-of-ours"
POLICY = SendingPolicy(watch_ms=60, poll_ms=5, pause_ms=5, pause_ms_max=20, bump_after_watches=1)


def secrets() -> list[bytes]:
    """Return each secret in the forms in which it could turn up."""
    found = [PASSWORD.encode(), URL_SECRET.encode()]
    for key in (KEY, RETIRING):
        digits = key[2:]
        found += [digits.encode(), digits.upper().encode(), bytes.fromhex(digits), str(int(key, 16)).encode()]
    return found


def assert_clean(content: bytes, where: str) -> None:
    for secret in secrets():
        assert secret not in content, where


async def test_nothing_that_is_kept_or_told_holds_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    keystore, password = tmp_path / "keys", tmp_path / "password"
    keystore.mkdir()
    (keystore / "key.json").write_text(json.dumps(Account.encrypt(KEY, PASSWORD, kdf="pbkdf2", iterations=2)))
    password.write_text(PASSWORD + "\n")
    monkeypatch.setenv("DAO_SCORER_RETIRING_PRIVATE_KEY", RETIRING)
    settings = load_settings(
        keystore=keystore,
        keystore_password_file=password,
        signer=f"http://127.0.0.1:1/{URL_SECRET}",
        retiring_signer_addresses="0x" + "11" * 20,
    )
    node, metrics, store = WeatherNode(), SendingMetrics(), tmp_path / "store.db"
    node.minable = False
    told: list[str] = [repr(settings), str(settings)]
    async with composition.signers_of(settings) as signers:
        told.append(repr(signers))
        app = Orchestrator.local(f"sqlite:///{store}")
        register_transactions(app, node=node, signer=signers, policy=POLICY, metrics=metrics)
        async with app:
            sender = signers.active[0]
            intent = Intent(
                chain_id=CHAIN_ID, sender=sender, to=REGISTRY, data_hex="0x01", logical_id="submit-1"
            )
            handle = await app.begin_run("send-1", send_transaction, intent)
            while not metrics.replaced._value.get():
                node.mine()
                await handle.done()
            node.minable = True
            node.mine()
            assert (await handle.result()).status is SentStatus.CONFIRMED
        for failing in (
            lambda: signers.check("0x" + "22" * 20),
            lambda: Signer.from_key(RETIRING[:-1], source="the content of A_VARIABLE"),
        ):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - both kinds, for what they show
                failing()
            told.append(str(caught.value) + repr(caught.value))
            told += traceback.format_exception_only(caught.value)
    registry = CollectorRegistry()
    registry.register(metrics)
    assert_clean(generate_latest(registry), "metrics")
    for file in sorted(tmp_path.glob("store.db*")):  # noqa: ASYNC240 - the test is alone
        assert_clean(file.read_bytes(), file.name)
    output = capfd.readouterr()
    assert_clean((output.out + output.err + "\n".join(told)).encode(), "logs and errors")
    assert "transaction.replaced" in output.out + output.err


@pytest.mark.parametrize("name", ["private_key", "retiring_private_key", "token"])
def test_a_secret_is_no_flag(name: str) -> None:
    """A process list shows flags to everyone; what has no description can be none."""
    assert Settings.model_fields[name].description is None


async def test_a_signer_away_is_told_without_its_path() -> None:
    async with RemoteSigner(f"http://127.0.0.1:1/{URL_SECRET}", "0x" + "11" * 20) as remote:
        held = Signers([remote])
        for number, kind in ((0, WrongSigner), (1, Exception)):
            with pytest.raises(kind) as caught:
                held.check("0x" + "22" * 20) if number == 0 else await remote.signature({"chainId": 1})
            assert URL_SECRET not in "".join(traceback.format_exception(caught.value)[-1:]) + repr(held)
    assert URL_SECRET not in str(NodeUnavailable(remote.endpoint, "away"))
