"""Which tokens are believed: every algorithm of every key, and every forgery that has worked somewhere."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519

from orchestrator.domain.errors import Refused
from orchestrator.server import JwtSettings, ServerMisconfigured
from orchestrator.server import auth_jwt as module
from orchestrator.server.auth_jwt import TOKEN_LENGTH_MAX, TokenVerifier
from orchestrator.server.auth_keys import load_keys
from tests.integration.auth_support import (
    Signer,
    ed_signer,
    p256_signer,
    p384_signer,
    part,
    rsa_signer,
    unsigned,
)

SIGNERS = {"rsa": rsa_signer, "p256": p256_signer, "p384": p384_signer, "ed25519": ed_signer}
PAIRS = [(name, algorithm) for name, make in SIGNERS.items() for algorithm in make().algorithms]


def verifier(folder: Path, signer: Signer, **settings: Any) -> TokenVerifier:
    return TokenVerifier(JwtSettings(public_key=signer.file(folder), **settings))


def refusal(checker: TokenVerifier, token: str | None) -> Refused:
    with pytest.raises(Refused) as caught:
        checker.identify(token)
    return caught.value


@pytest.mark.parametrize(("name", "algorithm"), PAIRS)
def test_each_key_verifies_its_algorithms(tmp_path: Path, name: str, algorithm: str) -> None:
    signer = SIGNERS[name]()
    identity = verifier(tmp_path, signer).identify(signer.token(algorithm, prefix="team-a-"))
    assert identity.prefix == "team-a-"


@pytest.mark.parametrize("name", SIGNERS)
@pytest.mark.parametrize("algorithm", sorted({algorithm for _, algorithm in PAIRS} | {"ES512", "ES256K"}))
def test_a_token_of_another_key_or_kind_is_refused(tmp_path: Path, name: str, algorithm: str) -> None:
    signer = SIGNERS[name]()
    checker = verifier(tmp_path, signer)
    stranger = ed25519.Ed25519PrivateKey.generate()
    others = {"RS": rsa_signer(1), "PS": rsa_signer(1), "Ed": Signer(stranger, ("EdDSA",))}
    curves = {
        "ES256": ec.SECP256R1(),
        "ES384": ec.SECP384R1(),
        "ES512": ec.SECP521R1(),
        "ES256K": ec.SECP256K1(),
    }
    other = (
        Signer(ec.generate_private_key(curves[algorithm]), (algorithm,))
        if algorithm in curves
        else others[algorithm[:2]]
    )
    assert refusal(checker, other.token(algorithm, role="admin")).status == 401


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("name", SIGNERS)
def test_the_public_key_is_no_secret_to_sign_with(tmp_path: Path, name: str, algorithm: str) -> None:
    signer = SIGNERS[name]()
    checker = verifier(tmp_path, signer)
    claims = (
        part({"alg": algorithm, "typ": "JWT"}) + "." + part({"exp": int(time.time()) + 60, "role": "admin"})
    )
    for secret in (signer.public_pem, signer.public_pem.strip(), b""):
        signature = hmac.new(secret, claims.encode(), getattr(hashlib, f"sha{algorithm[2:]}")).digest()
        assert refusal(checker, f"{claims}.{part(signature)}").status == 401


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
def test_an_unsigned_token_is_refused(tmp_path: Path, algorithm: str) -> None:
    checker = verifier(tmp_path, rsa_signer())
    head, claims = part({"alg": algorithm}), part({"exp": int(time.time()) + 60, "role": "admin"})
    _, _, signature = rsa_signer().token(role="admin").split(".")
    for token in (f"{head}.{claims}.", f"{head}.{claims}", f"{head}.{claims}.{signature}"):
        assert refusal(checker, token).status == 401


@pytest.mark.parametrize("name", SIGNERS)
def test_what_was_changed_after_signing_is_refused(tmp_path: Path, name: str) -> None:
    signer = SIGNERS[name]()
    checker = verifier(tmp_path, signer)
    head, claims, signature = signer.token(prefix="team-a-").split(".")
    stolen = part({"exp": int(time.time()) + 600, "role": "admin"})
    other = signer.token(prefix="team-b-").split(".")[2]
    zero = part(b"\0" * 64)
    for token in (
        f"{head}.{stolen}.{signature}",
        f"{part({'alg': signer.algorithms[0], 'kid': 'x'})}.{claims}.{signature}",
        f"{head}.{claims}.{other}",
        f"{head}.{claims}.{zero}",
        f"{head}.{claims}.",
        f"{head}.{claims}.{signature[:-8]}",
    ):
        assert refusal(checker, token).status == 401


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ({"alg": ["RS256"]}, "not a JSON Web Token"),
        ({"alg": None}, "not a JSON Web Token"),
        ({}, "not a JSON Web Token"),
        ([], "not a JSON Web Token"),
        (b"\xff\xfe", "not a JSON Web Token"),
        (b"[" * 5000, "deeply"),
        ({"alg": "RS256", "crit": ["b64"], "b64": False}, "crit"),
        ({"alg": "x" * 900}, "not one of this server's keys"),
    ],
)
def test_a_malformed_header_is_refused(tmp_path: Path, head: object, reason: str) -> None:
    _, claims, signature = rsa_signer().token(role="admin").split(".")
    refused = refusal(verifier(tmp_path, rsa_signer()), f"{part(head)}.{claims}.{signature}")
    assert refused.status == 401
    assert reason in refused.message
    assert len(refused.message) < 200


def test_keys_that_a_token_brings_along_are_not_used(tmp_path: Path) -> None:
    thief = rsa_signer(1)
    own = {
        "jwk": jwt.algorithms.RSAAlgorithm.to_jwk(thief.key.public_key(), as_dict=True),
        "jku": "http://127.0.0.1:1/",
    }
    token = jwt.encode({"exp": time.time() + 60, "role": "admin"}, thief.key, "RS256", headers=own)
    assert refusal(verifier(tmp_path, rsa_signer()), token).status == 401


@pytest.mark.parametrize(
    "token",
    [
        None,
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "\x00",
        "ümlaut.a.b",
        "\udce9",
        "x" * (TOKEN_LENGTH_MAX + 1),
        "é" * 40,
    ],
)
def test_what_is_no_token_is_refused(tmp_path: Path, token: str | None) -> None:
    assert refusal(verifier(tmp_path, rsa_signer()), token).status == 401


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"null", b"{", b"\xff", b"[" * 3000, b'{"exp":1e999}', b'{"exp":NaN}', b'{"exp":"soon"}'],
)
def test_signed_nonsense_is_refused(tmp_path: Path, payload: bytes) -> None:
    signer = ed_signer()
    claims = f"{part({'alg': 'EdDSA'})}.{part(payload)}"
    token = f"{claims}.{part(signer.key.sign(claims.encode()))}"
    assert refusal(verifier(tmp_path, signer), token).status == 401


def test_an_expiry_beyond_all_bounds_is_only_late(tmp_path: Path) -> None:
    signer = ed_signer()
    identity = verifier(tmp_path, signer).identify(signer.token(exp=10**400, role="admin"))
    assert identity.expires_at is not None
    assert identity.expires_at > time.time() + 10**9


def test_exp_is_required_and_checked_with_a_little_leeway(tmp_path: Path) -> None:
    signer = ed_signer()
    checker = verifier(tmp_path, signer, leeway_s=10)
    now = int(time.time())
    assert "exp" in refusal(checker, signer.token(without=("exp",), role="admin")).message
    assert "expired" in refusal(checker, signer.token(exp=now - 30, role="admin")).message
    assert checker.identify(signer.token(exp=now - 2, role="admin")).expires_at == now + 8
    assert "not valid yet" in refusal(checker, signer.token(nbf=now + 60, role="admin")).message
    for wrong in ("soon", None, [], {}):
        assert refusal(checker, _raw(signer, {"exp": wrong, "role": "admin"})).status == 401


def test_a_remembered_token_expires_nevertheless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = ed_signer()
    checker = verifier(tmp_path, signer, leeway_s=0)
    now = time.time()
    token = signer.token(exp=int(now) + 60, role="admin")
    checker.identify(token)
    monkeypatch.setattr(module.time, "time", lambda: now + 61)
    assert "expired" in refusal(checker, token).message
    monkeypatch.setattr(module.time, "time", lambda: now)
    checker.identify(token)


def test_issuer_and_audience_are_required_where_configured(tmp_path: Path) -> None:
    signer = p256_signer()
    strict = verifier(tmp_path, signer, issuer="https://issuer.example", audience="scores")
    right = {"iss": "https://issuer.example", "aud": ["other", "scores"], "role": "admin"}
    strict.identify(signer.token(**right))
    strict.identify(signer.token(**right | {"aud": "scores"}))
    for wrong in (
        {"iss": "https://issuer.example.evil"},
        {"iss": ["https://issuer.example"]},
        {"aud": ["other"]},
        {"aud": []},
        {"aud": "score"},
        {"aud": {"scores": 1}},
    ):
        token = _raw(signer, {"exp": int(time.time()) + 60} | right | wrong)
        assert refusal(strict, token).status == 401
    for missing in ("iss", "aud"):
        assert "lacks a claim" in refusal(strict, signer.token(without=(missing,), **right)).message
    verifier(tmp_path, signer).identify(signer.token(**right))


def _raw(signer: Signer, claims: dict[str, Any]) -> str:
    """Sign claims that the library would refuse to encode."""
    return jwt.api_jws.encode(json.dumps(claims).encode(), signer.key, signer.algorithms[0])


@pytest.mark.parametrize("role", ["admin", "Admin", "ADMIN"])
def test_the_role_admin_may_do_everything(tmp_path: Path, role: str) -> None:
    signer = ed_signer()
    assert verifier(tmp_path, signer).identify(signer.token(role=role, prefix="team-a-")).prefix == ""


def test_an_empty_prefix_may_do_everything(tmp_path: Path) -> None:
    signer = ed_signer()
    assert verifier(tmp_path, signer).identify(signer.token(prefix="")).prefix == ""


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"prefix": None},
        {"prefix": 7},
        {"prefix": ["a"]},
        {"role": "user"},
        {"role": ["admin"]},
        {"role": "admin "},
    ],
)
def test_a_token_without_a_prefix_is_forbidden(tmp_path: Path, claims: dict[str, Any]) -> None:
    signer = ed_signer()
    refused = refusal(verifier(tmp_path, signer), signer.token(**claims))
    assert refused.status == 403
    assert refused.message.startswith("Forbidden")


def test_several_keys_stand_in_one_file_while_they_are_rotated(tmp_path: Path) -> None:
    old, new = rsa_signer(), rsa_signer(1)
    file = tmp_path / "keys.pem"
    file.write_bytes(old.public_pem + ed_signer().public_pem + new.public_pem)
    checker = TokenVerifier(JwtSettings(public_key=file))
    tokens = [signer.token(role="admin") for signer in (old, ed_signer(), new)]
    for token in tokens:
        checker.identify(token)
    file.write_bytes(new.public_pem)
    checker.reload()
    assert [refusal(checker, token).status for token in tokens[:2]] == [401, 401]
    checker.identify(tokens[2])
    file.write_bytes(b"nothing")
    with pytest.raises(ServerMisconfigured):
        checker.reload()
    checker.identify(tokens[2])


def test_what_is_remembered_is_bounded_and_refusals_are_not_kept(tmp_path: Path) -> None:
    signer = ed_signer()
    checker = verifier(tmp_path, signer)
    for number in range(module._REMEMBERED_MAX + 10):
        checker.identify(signer.token(prefix=str(number)))
    assert len(checker._known) == module._REMEMBERED_MAX
    known = dict(checker._known)
    refusal(checker, "a.b.c")
    assert dict(checker._known) == known


def test_unsigned_tokens_are_read_only_where_that_is_configured() -> None:
    checker = TokenVerifier(JwtSettings(unsigned=True))
    assert checker.identify(unsigned(prefix="team-a-")).prefix == "team-a-"
    assert "expired" in refusal(checker, unsigned(exp=1, role="admin")).message
    assert refusal(checker, unsigned(exp=None, role="admin")).status == 401
    assert refusal(checker, unsigned()).status == 403
    assert refusal(checker, unsigned(role="admin") + "AAAA").status == 401
    assert refusal(checker, ed_signer().token(role="admin")).status == 401


def test_a_key_that_does_not_fit_is_refused_at_the_start(tmp_path: Path) -> None:
    secp256k1 = Signer(ec.generate_private_key(ec.SECP256K1()), ("ES256K",))
    other = Signer(ed448.Ed448PrivateKey.generate(), ("EdDSA",))
    for text, reason in (
        (rsa_signer().private_pem, "give the public key alone"),
        (secp256k1.public_pem, "neither RSA, P-256, P-384 nor Ed25519"),
        (other.public_pem, "neither RSA, P-256, P-384 nor Ed25519"),
        (rsa_signer(0, 1024).public_pem, "1024 bits"),
        (b"", "0 PEM blocks"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
        (rsa_signer().public_pem * 20, "20 PEM blocks"),
    ):
        file = tmp_path / "key.pem"
        file.write_bytes(text)
        with pytest.raises(ServerMisconfigured, match=reason):
            load_keys(file)
    with pytest.raises(ServerMisconfigured, match="cannot be read"):
        load_keys(tmp_path / "nowhere.pem")
    with pytest.raises(ServerMisconfigured, match="cannot be read"):
        load_keys(tmp_path)
