"""A signer that holds its key elsewhere: web3signer, clef, or whatever answers `eth_signTransaction`.

What it answers is never believed: the transaction is decoded, its sender recovered and every field compared
with what was asked. Errors name the service without path and query, which may hold a secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import count
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from contracts.rpc.connection import displayed
from contracts.transactions.signer import SignerError

ANSWER_BYTES_MAX = 4 * 1024 * 1024
DYNAMIC_FEE_TYPE = 2
QUANTITIES = ("chainId", "nonce", "gas", "maxFeePerGas", "maxPriorityFeePerGas", "value")
METHOD = "eth_signTransaction"


class SignerUnavailable(Exception):
    """The service gave no usable answer; it is asked again."""

    retryable = True

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(endpoint, reason)
        self.endpoint = endpoint
        self.reason = reason

    def __str__(self) -> str:
        return f"no usable answer from the signer at {self.endpoint}: {self.reason}"


class SignerRefused(Exception):
    """The service does not sign this; it is asked again when the workflow has parked."""

    retryable = False

    def __init__(self, endpoint: str, code: int, message: str) -> None:
        super().__init__(endpoint, code, message)
        self.endpoint = endpoint
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return (
            f"the signer at {self.endpoint} refuses to sign: {self.message} (code {self.code}): "
            "check that it holds the key and serves this chain"
        )


class ForgedSignature(Exception):
    """The service has signed something else, or with another key; nothing of it is used."""

    retryable = False

    def __init__(self, endpoint: str, field: str, expected: object, signed: object) -> None:
        super().__init__(endpoint, field, expected, signed)
        self.endpoint = endpoint
        self.field = field
        self.expected = expected
        self.signed = signed

    def __str__(self) -> str:
        return (
            f"the signer at {self.endpoint} signed {self.field} {self.signed!r} where {self.expected!r} was "
            "asked: do not trust it before you know why"
        )


class RemoteSigner:
    """One address whose key a service holds. Enter it before use. `timeout_s` bounds each signature."""

    def __init__(self, url: str, address: str, *, timeout_s: float = 10.0) -> None:
        self.endpoint = _displayed(url)
        self._url = url
        self._address = address.lower()
        self._timeout_s = timeout_s
        self._ids = count(1)
        self._session: aiohttp.ClientSession | None = None

    @property
    def address(self) -> str:
        """The address in lower case."""
        return self._address

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout_s))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def signature(self, fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Have an EIP-1559 transaction signed; return its hash and raw bytes.

        Raises SignerUnavailable, SignerRefused, or ForgedSignature where the answer is not what was asked.
        """
        answer = await self._ask(METHOD, [_request(self._address, fields)])
        raw = _raw_of(answer)
        if raw is None:
            raise SignerUnavailable(self.endpoint, "the answer is no signed transaction")
        self._compare(raw, fields)
        return keccak(raw), raw

    async def addresses(self) -> list[str]:
        """Return whose keys the service says it holds, in lower case.

        Raises SignerUnavailable, or SignerRefused where it does not tell.
        """
        answer = await self._ask("eth_accounts", [])
        if not isinstance(answer, list) or not all(isinstance(each, str) for each in answer):
            raise SignerUnavailable(self.endpoint, "the answer is no list of addresses")
        return [each.lower() for each in answer]

    def _compare(self, raw: bytes, fields: Mapping[str, Any]) -> None:
        from contracts.transactions.account import Account, TypedTransaction  # noqa: PLC0415 - see there

        try:
            signed = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
            sender = str(Account.recover_transaction(raw)).lower()
        except Exception as error:
            # eth_account raises many kinds for bytes that are no transaction; they all mean the same here.
            raise SignerUnavailable(self.endpoint, "the answer is no EIP-1559 transaction") from error
        wanted: dict[str, object] = {name: int(fields.get(name, 0)) for name in QUANTITIES}
        wanted |= {"type": DYNAMIC_FEE_TYPE, "data": bytes(fields.get("data", b"")), "accessList": ()}
        wanted["to"] = bytes.fromhex(str(fields.get("to", "0x"))[2:])
        found = {name: signed.get(name) for name in wanted}
        found |= {"to": bytes(signed.get("to") or b""), "data": bytes(signed.get("data") or b"")}
        found["accessList"] = tuple(signed.get("accessList") or ())
        for name, value in wanted.items():
            if found[name] != value:
                raise ForgedSignature(self.endpoint, name, _shown(value), _shown(found[name]))
        if sender != self._address:
            raise ForgedSignature(self.endpoint, "as", self._address, sender)

    async def _ask(self, method: str, params: Sequence[object]) -> object:
        if self._session is None:
            raise RuntimeError("the signer is not open: use it inside `async with`")
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.post(self._url, json=request, allow_redirects=False) as response,
            ):
                body, status = await _body(response), response.status
        except TimeoutError:
            raise SignerUnavailable(self.endpoint, f"no answer within {self._timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            # Only the kind, and no cause: the text of some of these errors repeats the whole URL.
            raise SignerUnavailable(self.endpoint, type(error).__name__) from None
        return self._result(body, status, request["id"])

    def _result(self, body: bytes, status: int, request_id: object) -> object:
        try:
            answer = msgspec.json.decode(body)
        except msgspec.DecodeError:
            raise SignerUnavailable(self.endpoint, f"HTTP {status} and no JSON-RPC") from None
        if not isinstance(answer, dict):
            raise SignerUnavailable(self.endpoint, f"HTTP {status} and no JSON-RPC")
        error = answer.get("error")
        if isinstance(error, dict):
            code = error.get("code")
            message = str(error.get("message"))[:200]
            raise SignerRefused(self.endpoint, code if isinstance(code, int) else 0, message)
        if answer.get("id") != request_id:
            raise SignerUnavailable(self.endpoint, "the answer belongs to another request")
        return answer.get("result")

    def __repr__(self) -> str:
        return f"RemoteSigner({self._address} at {self.endpoint})"


def _request(address: str, fields: Mapping[str, Any]) -> dict[str, str]:
    transaction = {name: hex(int(fields.get(name, 0))) for name in QUANTITIES}
    transaction |= {"from": address, "type": hex(DYNAMIC_FEE_TYPE)}
    transaction["data"] = "0x" + bytes(fields.get("data", b"")).hex()
    if "to" in fields:
        transaction["to"] = str(fields["to"])
    return transaction


def _raw_of(answer: object) -> bytes | None:
    """Return the raw bytes: web3signer answers them as they are, geth and clef within an object."""
    text = answer.get("raw") if isinstance(answer, dict) else answer
    if not isinstance(text, str) or not text.startswith("0x"):
        return None
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        return None


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError("the answer is too large")
    return body


def _shown(value: object) -> object:
    return "0x" + value.hex() if isinstance(value, bytes) else value


def _displayed(url: str) -> str:
    shown = displayed(url)
    if not shown.startswith(("http://", "https://")):
        raise SignerError("the URL of the signer is none: give it as http://host:port or https://…")
    return shown
