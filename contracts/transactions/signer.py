"""The key that signs. It is read once from a keystore file or the environment, and never leaves this object.

Nothing here stores, logs or shows a key; errors name the source and never its content.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from eth_utils.address import to_checksum_address

from contracts.transactions.fees import Price
from contracts.transactions.values import Intent, Signed

if TYPE_CHECKING:
    from contracts.transactions.account import LocalAccount

_PRIVATE_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")
KEYSTORE_BYTES_MAX = 64 * 1024
DYNAMIC_FEE_TRANSACTION = 2


class SignerError(Exception):
    """No key could be read; the message names the source and what to do about it."""


class WrongSigner(Exception):
    """The transaction belongs to another key than this worker holds; a worker with that key will sign it.

    Trying again here is in vain: the workflow parks, and whoever takes it next may hold the key.
    """

    retryable = False

    def __init__(self, expected: str, held: str) -> None:
        super().__init__(expected, held)
        self.expected = expected
        self.held = held

    def __str__(self) -> str:
        return (
            f"the transaction is to be signed by {self.expected} and this worker holds the key of {self.held}"
        )


@final
class Signer:
    """One key. Its address is public, the key is not, not even in `repr`, a traceback or a pickle."""

    __slots__ = ("_account",)

    def __init__(self, account: LocalAccount) -> None:
        self._account = account

    @classmethod
    def from_key(cls, private_key: str, *, source: str = "the private key") -> Signer:
        """Take a private key of 0x and 64 hexadecimal digits. Raises SignerError, naming `source`."""
        from contracts.transactions.account import Account  # noqa: PLC0415 - see there

        try:
            # Checked here, for eth_account takes a key that lost its last digit for another key.
            if not _PRIVATE_KEY.fullmatch(private_key.strip()):
                raise ValueError
            return cls(Account.from_key(private_key.strip()))
        except Exception:
            # The cause may quote the key: it is cut off here.
            raise SignerError(
                f"{source} is not a private key: 0x and 64 hexadecimal digits are expected"
            ) from None

    @classmethod
    def from_keystore(cls, path: Path, password: str) -> Signer:
        """Decrypt a keystore file (Web3 Secret Storage, version 3). Raises SignerError.

        The key derivation takes up to some seconds by design; call it once, at start.
        """
        from contracts.transactions.account import Account  # noqa: PLC0415 - see there

        content = _keystore(path)
        try:
            return cls(Account.from_key(Account.decrypt(content, password)))
        except (ValueError, KeyError, TypeError, NotImplementedError):
            raise SignerError(
                f"keystore {path} could not be decrypted: check the password, and that it is a keystore of "
                "version 3"
            ) from None

    @property
    def address(self) -> str:
        """The address in lower case."""
        return str(self._account.address).lower()

    def check(self, sender: str) -> None:
        """Raise WrongSigner unless this key is the sender's."""
        if sender.lower() != self.address:
            raise WrongSigner(sender, self.address)

    def sign(self, intent: Intent, *, nonce: int, gas: int, price: Price) -> Signed:
        """Sign an EIP-1559 transaction. Raises WrongSigner where the intent names another sender."""
        self.check(intent.sender)
        fields = fields_of(intent, nonce=nonce, gas=gas, price=price)
        return signed_of(*self.sign_fields(fields), nonce=nonce, gas=gas, price=price)

    async def signature(self, fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Return hash and raw bytes of an EIP-1559 transaction given by its JSON-RPC field names."""
        return self.sign_fields(fields)

    def sign_fields(self, fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Sign an EIP-1559 transaction given by its JSON-RPC field names; return its hash and raw bytes.

        Without `to` it creates a contract.
        """
        complete = {"type": DYNAMIC_FEE_TRANSACTION, **fields}
        if "to" in complete:
            complete["to"] = to_checksum_address(complete["to"])
        signed = self._account.sign_transaction(complete)
        return bytes(signed.hash), bytes(signed.raw_transaction)

    def __repr__(self) -> str:
        return f"Signer({self.address})"

    def __reduce__(self) -> str:
        raise TypeError("a signer cannot be pickled or copied: its key stays where it was read")


def fields_of(intent: Intent, *, nonce: int, gas: int, price: Price) -> dict[str, Any]:
    """Return the fields of a transaction by their JSON-RPC names."""
    return {
        "chainId": intent.chain_id,
        "nonce": nonce,
        "to": intent.to,
        "value": intent.value,
        "data": intent.data,
        "gas": gas,
        "maxFeePerGas": price.max_fee_per_gas,
        "maxPriorityFeePerGas": price.max_priority_fee_per_gas,
    }


def signed_of(transaction_hash: bytes, raw: bytes, *, nonce: int, gas: int, price: Price) -> Signed:
    """Return what is recorded of a signed transaction."""
    return Signed(
        transaction_hash="0x" + transaction_hash.hex(),
        raw_hex="0x" + raw.hex(),
        nonce=nonce,
        gas=gas,
        max_fee_per_gas=price.max_fee_per_gas,
        max_priority_fee_per_gas=price.max_priority_fee_per_gas,
    )


def _keystore(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(KEYSTORE_BYTES_MAX + 1)
    except OSError as error:
        raise SignerError(f"keystore {path} cannot be read: {error.strerror}") from None
    try:
        content = json.loads(text) if len(text) <= KEYSTORE_BYTES_MAX else None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise SignerError(f"keystore {path} is not a keystore: a small JSON object is expected")
    return content


def password_from(file: Path | None, environment: Mapping[str, str], variable: str) -> str:
    """Return a password from a file (its first line) or an environment variable. Raises SignerError."""
    if file is not None:
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise SignerError(f"password file {file} cannot be read") from None
        return lines[0] if lines else ""
    if variable not in environment:
        raise SignerError(f"the keystore needs a password: give a password file or set {variable}")
    return environment[variable]


def signer_from_environment(variable: str, environment: Mapping[str, str] | None = None) -> Signer:
    """Return the signer whose key stands in an environment variable. Raises SignerError, naming it."""
    found = (os.environ if environment is None else environment).get(variable)
    if not found:
        raise SignerError(f"no key: set {variable} or give a keystore file")
    return Signer.from_key(found, source=f"the content of {variable}")
