"""The key: read from its sources, never shown, never copied."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes

from contracts.transactions.fees import Price
from contracts.transactions.signer import (
    Signer,
    SignerError,
    WrongSigner,
    password_from,
    signer_from_environment,
)
from contracts.transactions.values import Intent

KEY = "0x" + "4c" * 32
ADDRESS = str(Account.from_key(KEY).address).lower()


def intent(sender: str = ADDRESS) -> Intent:
    return Intent(chain_id=1337, sender=sender, to="0x" + "5c" * 20, data_hex="0x01", logical_id="x")


def test_signs_exactly_what_was_asked() -> None:
    price = Price(max_fee_per_gas=9, max_priority_fee_per_gas=2)
    signed = Signer.from_key(KEY).sign(intent(), nonce=7, gas=50_000, price=price)
    fields = TypedTransaction.from_bytes(HexBytes(signed.raw_hex)).as_dict()
    assert (fields["nonce"], fields["gas"], fields["chainId"]) == (7, 50_000, 1337)
    assert (fields["maxFeePerGas"], fields["maxPriorityFeePerGas"]) == (9, 2)
    assert Account.recover_transaction(signed.raw_hex).lower() == ADDRESS


def test_refuses_to_sign_for_another() -> None:
    with pytest.raises(WrongSigner, match=ADDRESS):
        Signer.from_key(KEY).sign(
            intent("0x" + "11" * 20),
            nonce=0,
            gas=1,
            price=Price(max_fee_per_gas=1, max_priority_fee_per_gas=1),
        )


def test_the_key_is_never_shown_or_copied() -> None:
    signer = Signer.from_key(KEY)
    assert KEY[2:] not in repr(signer) + str(signer) + f"{signer!a}"
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            way(signer)


@pytest.mark.parametrize(
    "content", ["4c" * 31, "secret-words-of-mine", "", "0x" + "zz" * 32, KEY[:-1], KEY + "0"]
)
def test_a_malformed_key_is_named_by_its_source_alone(content: str) -> None:
    with pytest.raises(SignerError) as caught:
        Signer.from_key(content, source="the content of MY_KEY")
    shown = "".join(traceback.format_exception(caught.value))
    assert "MY_KEY" in str(caught.value)
    assert "\n" not in str(caught.value)
    # pytest and Python show source lines, so the content is looked for where an error could carry it.
    assert content == "" or content not in str(caught.value) + repr(caught.value.args)
    assert "During handling" not in shown


def test_reads_a_keystore(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text(json.dumps(Account.encrypt(KEY, "right", kdf="pbkdf2", iterations=2)))
    assert Signer.from_keystore(file, "right").address == ADDRESS
    with pytest.raises(SignerError, match="check the password"):
        Signer.from_keystore(file, "wrong")


@pytest.mark.parametrize("content", ["", "[]", "no json", "{}", '{"crypto": 1}', " " * 70_000])
def test_what_is_no_keystore_is_refused_by_name(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key.json"
    file.write_text(content)
    with pytest.raises(SignerError, match=r"key\.json"):
        Signer.from_keystore(file, "any")
    with pytest.raises(SignerError, match="cannot be read"):
        Signer.from_keystore(tmp_path / "none.json", "any")


def test_sources_of_key_and_password(tmp_path: Path) -> None:
    assert signer_from_environment("MY_KEY", {"MY_KEY": KEY}).address == ADDRESS
    with pytest.raises(SignerError, match="MY_KEY"):
        signer_from_environment("MY_KEY", {})
    file = tmp_path / "password"
    file.write_text("first line\nsecond\n")
    assert password_from(file, {}, "PASSWORD") == "first line"
    assert password_from(None, {"PASSWORD": "x"}, "PASSWORD") == "x"
    with pytest.raises(SignerError, match="set PASSWORD"):
        password_from(None, {}, "PASSWORD")
    with pytest.raises(SignerError, match="cannot be read"):
        password_from(tmp_path / "none", {}, "PASSWORD")
