"""A signer elsewhere: it signs what was asked or nothing, and nothing that it answers is believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from eth_account import Account
from eth_utils.address import to_checksum_address

from contracts.transactions import (
    ForgedSignature,
    Intent,
    RemoteSigner,
    Signer,
    SignerError,
    SignerRefused,
    Signers,
    SignerUnavailable,
    WrongSigner,
    remote_signer,
)
from contracts.transactions.fees import Price

KEY, OTHER_KEY = "0x" + "4c" * 32, "0x" + "4d" * 32
ADDRESS = str(Account.from_key(KEY).address).lower()
PRICE = Price(max_fee_per_gas=9_000, max_priority_fee_per_gas=200)
TOLD: dict[str, Any] = {"nonce": 7, "gas": 50_000, "price": PRICE}
Answer = Callable[[dict[str, Any]], Any]


def intent() -> Intent:
    return Intent(chain_id=1337, sender=ADDRESS, to="0x" + "5c" * 20, data_hex="0x0102", logical_id="x")


def fields(transaction: dict[str, Any]) -> dict[str, Any]:
    """Return what eth_account signs for a request, as web3signer would read it."""
    numbers = ("chainId", "nonce", "gas", "maxFeePerGas", "maxPriorityFeePerGas", "value", "type")
    read: dict[str, Any] = {name: int(transaction[name], 16) for name in numbers}
    return {**read, "to": to_checksum_address(transaction["to"]), "data": transaction["data"]}


def signed(transaction: dict[str, Any], key: str = KEY, **changed: Any) -> str:
    raw = Account.sign_transaction({**fields(transaction), **changed}, key).raw_transaction
    return "0x" + bytes(raw).hex()


@asynccontextmanager
async def service(answer: Answer, *, timeout_s: float = 5.0, path: str = "/") -> AsyncIterator[RemoteSigner]:
    async def handle(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        assert asked["method"] == "eth_signTransaction"
        told = answer(asked["params"][0])
        if asyncio.iscoroutine(told):
            told = await told
        if isinstance(told, web.StreamResponse):
            return told
        body = told if isinstance(told, dict) and "error" in told else {"result": told}
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], **body})

    app = web.Application()
    app.router.add_post("/{tail:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with RemoteSigner(f"http://127.0.0.1:{port}{path}", ADDRESS, timeout_s=timeout_s) as remote:
            yield remote
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("wrapped", [False, True])
async def test_it_signs_what_a_key_here_would_sign(wrapped: bool) -> None:
    """web3signer answers the bytes, geth and clef an object around them."""

    def answer(transaction: dict[str, Any]) -> Any:
        raw = signed(transaction)
        return {"raw": raw, "tx": {}} if wrapped else raw

    here = Signer.from_key(KEY).sign(intent(), **TOLD)
    async with service(answer) as remote:
        assert await Signers([remote]).sign(intent(), **TOLD) == here


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"nonce": 8}, "nonce"),
        ({"gas": 60_000}, "gas"),
        ({"to": to_checksum_address("0x" + "66" * 20)}, "to"),
        ({"value": 10**18}, "value"),
        ({"data": "0x0103"}, "data"),
        ({"chainId": 1}, "chainId"),
        ({"maxFeePerGas": 9_001}, "maxFeePerGas"),
        ({"maxPriorityFeePerGas": 201}, "maxPriorityFeePerGas"),
        (
            {"accessList": [{"address": to_checksum_address("0x" + "66" * 20), "storageKeys": []}]},
            "accessList",
        ),
        ({"key": OTHER_KEY}, "as"),
    ],
)
async def test_what_was_not_asked_is_refused_by_name(changed: dict[str, Any], field: str) -> None:
    async with service(lambda transaction: signed(transaction, **changed)) as remote:
        with pytest.raises(ForgedSignature, match="do not trust it") as caught:
            await Signers([remote]).sign(intent(), **TOLD)
    assert caught.value.field == field
    assert caught.value.retryable is False


@pytest.mark.parametrize(
    "answer", [None, 7, "0x", "0xzz", "no hex", {"tx": {}}, "0x02c0", "0x" + "00" * 100, ["0x00"]]
)
async def test_what_is_no_transaction_is_no_answer(answer: object) -> None:
    async with service(lambda _: answer) as remote:
        with pytest.raises(SignerUnavailable):
            await remote.signature({"chainId": 1})


async def test_a_refusal_is_told_in_its_own_words() -> None:
    refusal = {"error": {"code": -32010, "message": "Signer not found"}}
    async with service(lambda _: refusal) as remote:
        with pytest.raises(SignerRefused, match=r"Signer not found \(code -32010\)"):
            await Signers([remote]).sign(intent(), **TOLD)


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_no_json_is_no_answer(status: int) -> None:
    async with service(lambda _: web.Response(status=status, text="<html>no</html>")) as remote:
        with pytest.raises(SignerUnavailable, match=f"HTTP {status}"):
            await remote.signature({"chainId": 1})


async def test_an_endless_answer_is_cut_off_and_a_redirect_not_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote_signer, "ANSWER_BYTES_MAX", 1000)
    async with service(lambda _: "0x" + "02" * 2000) as remote:
        with pytest.raises(SignerUnavailable, match="ClientPayloadError"):
            await remote.signature({"chainId": 1})
    asked: list[object] = []
    async with service(asked.append) as other:
        elsewhere = web.Response(status=307, headers={"Location": other._url})
        async with service(lambda _: elsewhere) as remote:
            with pytest.raises(SignerUnavailable, match="HTTP 307"):
                await remote.signature({"chainId": 1})
    assert asked == []


async def test_a_service_that_is_silent_or_away_is_not_waited_for() -> None:
    stays = asyncio.Event()
    async with service(lambda _: stays.wait(), timeout_s=0.1) as remote:
        with pytest.raises(SignerUnavailable, match=r"no answer within 0\.1 s"):
            await remote.signature({"chainId": 1})
        stays.set()
    async with RemoteSigner("http://127.0.0.1:1/key=secret", ADDRESS) as away:
        with pytest.raises(SignerUnavailable) as caught:
            await away.signature({"chainId": 1})
    assert "secret" not in str(caught.value) + repr(caught.value) + repr(away)
    assert caught.value.__cause__ is None


def test_a_url_that_is_none_is_refused_without_quoting_it() -> None:
    with pytest.raises(SignerError) as caught:
        RemoteSigner("ftp://user:secret@host", ADDRESS)
    assert "secret" not in str(caught.value)


async def test_keys_are_chosen_by_their_address_and_work_by_its_name() -> None:
    first, second = Signer.from_key(KEY), Signer.from_key(OTHER_KEY)
    both = Signers([first, second])
    assert {both.chosen_for(str(number)) for number in range(50)} == {first.address, second.address}
    assert [both.chosen_for("7") for _ in range(3)] == [both.chosen_for("7")] * 3
    rotated = Signers([second], [first])
    assert rotated.active == (second.address,)
    assert {rotated.chosen_for(str(number)) for number in range(50)} == {second.address}
    assert rotated.is_retiring(first.address)
    assert (await rotated.sign(intent(), **TOLD)).transaction_hash
    with pytest.raises(WrongSigner):
        rotated.check("0x" + "77" * 20)
    with pytest.raises(SignerError, match="twice"):
        Signers([first], [first])
    with pytest.raises(SignerError, match="no key takes new work"):
        Signers([], [first])
    assert KEY[2:] not in repr(rotated)
