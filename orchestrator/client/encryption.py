"""Encrypting stored values: the port, and AES-256-GCM with several keys, of which one writes.

A sealed value is bound to its promise and to its role there (param or value), so that whoever holds the
store can neither read it nor put it in another's place. Keys are never stored, logged or shown.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from orchestrator.domain.errors import OrchestratorError

KEY_BYTES = 32
NONCE_BYTES = 12
KEYS_VARIABLE = "ORCHESTRATOR_ENCRYPTION_KEYS"
_PURPOSE = b"orchestrator value 1\x00"
_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class KeyFault(OrchestratorError):
    """Keys cannot be used as they are given; the message never repeats one."""


class DecryptionError(OrchestratorError):
    """A stored value cannot be read here: its key is missing or another one, or it was tampered with.

    `key_id` names the key it was written with. Nothing is lost: a process with the right key reads it.
    """

    def __init__(self, what: str, key_id: str, reason: str) -> None:
        super().__init__(f"{what} is encrypted with key {key_id!r}: {reason}")
        self.what = what
        self.key_id = key_id
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """An encrypted text, and the id of the key that opens it."""

    key_id: str
    text: bytes


class Encryptor(Protocol):
    """What stands between values and the store. Called from one thread; must not block for long."""

    def encrypt(self, text: bytes, bound_to: bytes) -> Sealed:
        """Return `text` encrypted, so that it opens only together with `bound_to`."""
        ...

    def decrypt(self, sealed: Sealed, bound_to: bytes) -> bytes:
        """Return the text. Raises CannotOpen that says why not."""
        ...


class CannotOpen(Exception):
    """An encryptor does not open a text; `reason` is for the one who holds the keys."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Keyring:
    """AES-256-GCM under several keys by id: the first one writes, all of them read.

    Each value has a key of its own, derived from the ring's by HKDF-Expand with SHA-256 (RFC 5869) over what
    the value is bound to: random nonces are then never used up, however many values are written.
    """

    __slots__ = ("_keys", "writing")

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Take 32 bytes by key id, the writing one first. Raises KeyFault."""
        if not keys:
            raise KeyFault("no encryption key: make one with Keyring.new_line() or dao-scorer encryption-key")
        for key_id, key in keys.items():
            _check(key_id, key)
        self._keys = dict(keys)
        self.writing = next(iter(keys))

    def __repr__(self) -> str:
        return f"<Keyring writes with {self.writing!r}, reads {', '.join(self._keys)}>"

    def __reduce__(self) -> str:
        raise TypeError("a Keyring holds keys and is not to be copied anywhere")

    @classmethod
    def parse(cls, text: str) -> Keyring:
        """Read keys from lines `ID:BASE64` (or divided by commas); `#` starts a comment. Raises KeyFault."""
        keys: dict[str, bytes] = {}
        lines = [line.partition("#")[0] for line in text.splitlines()]
        entries = [entry for entry in re.split(r"[\s,]+", " ".join(lines)) if entry]
        for number, entry in enumerate(entries, start=1):
            key_id, found, encoded = entry.partition(":")
            if not found:
                raise KeyFault(f"encryption key {number}: expected ID:BASE64")
            if key_id in keys:
                raise KeyFault(f"encryption key {number}: the id {key_id!r} comes twice")
            try:
                keys[key_id] = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError) as error:
                raise KeyFault(f"encryption key {number} ({key_id!r}) is not base64") from error
        return cls(keys)

    @classmethod
    def from_file(cls, path: str | Path) -> Keyring:
        """Read keys from a file. Raises KeyFault if there is none, or others than its owner can read it."""
        file = Path(path)
        try:
            text, mode = file.read_text(encoding="utf-8"), file.stat().st_mode
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFault(f"encryption key file {file} cannot be read: {type(error).__name__}") from error
        if os.name == "posix" and mode & 0o077:
            raise KeyFault(f"encryption key file {file} can be read by others: chmod 600 {file}")
        return cls.parse(text)

    @classmethod
    def from_environment(cls, variable: str = KEYS_VARIABLE) -> Keyring:
        """Read keys from an environment variable. Raises KeyFault if it is not set."""
        text = os.environ.get(variable)
        if not text:
            raise KeyFault(f"{variable} is not set: give ID:BASE64, the writing key first")
        return cls.parse(text)

    @staticmethod
    def new_line(key_id: str) -> str:
        """Return a new random key as a line of a key file."""
        line = f"{key_id}:{base64.b64encode(os.urandom(KEY_BYTES)).decode('ascii')}"
        Keyring.parse(line)
        return line

    def encrypt(self, text: bytes, bound_to: bytes) -> Sealed:
        """Return nonce, ciphertext and tag under the writing key."""
        nonce = os.urandom(NONCE_BYTES)
        cipher = AESGCM(self._derived(self._keys[self.writing], bound_to))
        return Sealed(key_id=self.writing, text=nonce + cipher.encrypt(nonce, text, bound_to))

    def decrypt(self, sealed: Sealed, bound_to: bytes) -> bytes:
        """Return the text. Raises CannotOpen."""
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise CannotOpen(f"this process has only {', '.join(self._keys)}; add that key")
        try:
            nonce, text = sealed.text[:NONCE_BYTES], sealed.text[NONCE_BYTES:]
            return AESGCM(self._derived(key, bound_to)).decrypt(nonce, text, bound_to)
        except (InvalidTag, ValueError) as error:
            raise CannotOpen(
                "it does not open: the key of that id here is another one, or the stored value was changed "
                "or belongs to another promise"
            ) from error

    @staticmethod
    def _derived(key: bytes, bound_to: bytes) -> bytes:
        return HKDFExpand(algorithm=SHA256(), length=KEY_BYTES, info=_PURPOSE + bound_to).derive(key)


def _check(key_id: str, key: bytes) -> None:
    if not _KEY_ID.fullmatch(key_id):
        raise KeyFault("an encryption key's id must be 1 to 64 letters, digits, dots, dashes or underscores")
    if len(key) != KEY_BYTES:
        raise KeyFault(f"encryption key {key_id!r} has {len(key)} bytes: AES-256 needs {KEY_BYTES}")
