"""Keys and tokens of every kind, for the tests of who may do what."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

VERSION = "2026-04-01"


@dataclass(frozen=True)
class Signer:
    """A private key and what it may sign with."""

    key: Any
    algorithms: tuple[str, ...]

    @property
    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def private_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def file(self, folder: Path, name: str = "public.pem") -> Path:
        path = folder / name
        path.write_bytes(self.public_pem)
        return path

    def token(self, algorithm: str | None = None, *, without: tuple[str, ...] = (), **claims: Any) -> str:
        payload = {"exp": int(time.time()) + 600} | claims
        kept = {name: value for name, value in payload.items() if name not in without}
        return jwt.encode(kept, self.key, algorithm or self.algorithms[0])


@cache
def rsa_signer(number: int = 0, bits: int = 2048) -> Signer:
    algorithms = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
    return Signer(rsa.generate_private_key(65537, bits), algorithms)


@cache
def p256_signer() -> Signer:
    return Signer(ec.generate_private_key(ec.SECP256R1()), ("ES256",))


@cache
def p384_signer() -> Signer:
    return Signer(ec.generate_private_key(ec.SECP384R1()), ("ES384",))


@cache
def ed_signer() -> Signer:
    return Signer(ed25519.Ed25519PrivateKey.generate(), ("EdDSA",))


def part(value: object) -> str:
    """Encode one part of a token."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def unsigned(**claims: Any) -> str:
    payload = {"exp": int(time.time()) + 600} | claims
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(payload)}."


def envelope(kind: str, data: object, auth: str | None = None, **head: object) -> bytes:
    """Encode a request as a client does."""
    full = {"corrId": "c1", "version": VERSION} | ({"auth": auth} if auth is not None else {}) | head
    return json.dumps({"kind": kind, "head": full, "data": data}).encode()
