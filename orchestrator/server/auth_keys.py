"""The public keys that tokens are verified with, and the algorithms that each of them allows.

Invariant: the key decides the algorithm, never the token: an RSA key verifies RS and PS, a curve its own
ES, an Ed25519 key EdDSA, and nothing verifies HS. A secret key is never taken, since a server has no use
for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from orchestrator.server.errors import ServerMisconfigured

RSA_BITS_MIN = 2048
RSA_BITS_MAX = 8192
KEYS_MAX = 16
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": ("ES256",), "secp384r1": ("ES384",)}
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """A public key with the algorithms that it may be used with."""

    key: PublicKey
    algorithms: tuple[str, ...]


def load_keys(file: Path) -> tuple[VerificationKey, ...]:
    """Read the PEM file of public keys, one or, while keys are rotated, several.

    Raises ServerMisconfigured if it cannot be read or holds anything else.
    """
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ServerMisconfigured(
            f"the JWT public key {file} cannot be read ({error.strerror or error}): check its path"
        ) from error
    blocks = [(match.group(1).decode(), match.group()) for match in _BLOCK.finditer(text)]
    if not 1 <= len(blocks) <= KEYS_MAX:
        raise ServerMisconfigured(
            f"{file} holds {len(blocks)} PEM blocks: give 1 to {KEYS_MAX} public keys (BEGIN PUBLIC KEY)"
        )
    return tuple(_verification_key(file, label, block) for label, block in blocks)


def _verification_key(file: Path, label: str, block: bytes) -> VerificationKey:
    if label not in ("PUBLIC KEY", "RSA PUBLIC KEY"):
        raise ServerMisconfigured(
            f"{file} holds a {label}: give the public key alone, as `openssl pkey -pubout` writes it"
        )
    try:
        key = load_pem_public_key(block)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ServerMisconfigured(f"{file} holds a public key that cannot be read: {error}") from error
    if isinstance(key, rsa.RSAPublicKey):
        if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
            raise ServerMisconfigured(
                f"{file} holds an RSA key of {key.key_size} bits: use {RSA_BITS_MIN} to {RSA_BITS_MAX}"
            )
        return VerificationKey(key=key, algorithms=_RSA)
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return VerificationKey(key=key, algorithms=_CURVES[key.curve.name])
    if isinstance(key, Ed25519PublicKey):
        return VerificationKey(key=key, algorithms=("EdDSA",))
    raise ServerMisconfigured(
        f"{file} holds a key that is neither RSA, P-256, P-384 nor Ed25519: use one of them"
    )
