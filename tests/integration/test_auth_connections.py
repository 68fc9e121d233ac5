"""Connections that say nothing, half of it, or too slowly; and those that are encrypted."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import resource
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from multidict import CIMultiDict

from orchestrator.server import (
    ServerMisconfigured,
    ServerSettings,
    TlsSettings,
    create_app,
    listening,
    reload,
    rpc,
    serving,
)
from orchestrator.server.auth_proxy import Proxies
from tests.integration.auth_support import envelope
from tests.integration.server_support import FAR, ScriptedEngine, post, served

CREATE = {"id": "a", "timeoutAt": FAR}


@contextlib.asynccontextmanager
async def socket_to(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = url.partition("://")[2].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def closed(reader: asyncio.StreamReader) -> bytes:
    """Read until the server hangs up."""
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
    return b""


@pytest.mark.parametrize(
    "sent", [b"", b"G", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Le"]
)
async def test_a_connection_without_a_whole_request_is_cut(sent: bytes) -> None:
    engine = ScriptedEngine()
    async with served(engine, headers_s=0.3) as url:
        async with socket_to(url) as (reader, writer):
            writer.write(sent)
            assert await closed(reader) == b""
        assert engine.handled == []
        assert (await post(url, envelope("promise.create", CREATE)))[0] == 200


async def test_headers_that_trickle_are_cut_all_the_same() -> None:
    async with served(ScriptedEngine(), headers_s=0.5) as url, socket_to(url) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\n")

        async def trickle() -> None:
            with contextlib.suppress(ConnectionError):
                for number in range(1000):
                    writer.write(f"X-{number}: 1\r\n".encode())
                    await writer.drain()
                    await asyncio.sleep(0.05)

        trickling = asyncio.create_task(trickle())
        assert b"200" not in await closed(reader)
        trickling.cancel()


async def test_a_connection_that_has_asked_is_not_cut() -> None:
    async with (
        served(ScriptedEngine(), headers_s=0.2, keep_alive_s=0.1) as url,
        aiohttp.ClientSession() as session,
    ):
        for _ in range(2):
            async with session.post(url, data=envelope("promise.create", CREATE)) as response:
                assert response.status == 200
        async with session.get(url + "/poll/g/m") as stream:
            # Comments come every tenth of a second: these are well past the limit.
            for _ in range(8):
                assert await stream.content.readline() == b":\n"
                await stream.content.readline()


async def test_a_body_that_does_not_arrive_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "_BODY_TIMEOUT_S", 0.3)
    engine = ScriptedEngine()
    async with served(engine) as url, socket_to(url) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        async with asyncio.timeout(5):
            assert b"408" in await reader.readline()
    assert engine.handled == []


async def test_a_body_that_breaks_off_does_nothing() -> None:
    engine = ScriptedEngine()
    body = envelope("promise.create", CREATE)
    async with served(engine) as url:
        async with socket_to(url) as (_, writer):
            writer.write(
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (len(body) + 1) + body
            )
            await writer.drain()
        assert (await post(url, envelope("promise.get", {"id": "a"})))[0] == 404


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS to a plain port
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\n" + b"X: 1\r\n" * 1000 + b"\r\n",
    ],
)
async def test_what_is_not_http_is_a_bad_request(request_bytes: bytes) -> None:
    engine = ScriptedEngine()
    async with served(engine) as url:
        async with socket_to(url) as (reader, writer):
            writer.write(request_bytes)
            async with asyncio.timeout(5):
                answer = await reader.readline()
        assert answer.split(b" ")[1].startswith(b"4"), answer
        assert engine.handled == []
        assert (await post(url, envelope("promise.create", CREATE)))[0] == 200


# -- proxies


def asked(remote: str, *forwarded: str) -> Any:
    headers = [("X-Forwarded-For", line) for line in forwarded]
    return make_mocked_request("GET", "/", headers=CIMultiDict(headers)).clone(remote=remote)


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("203.0.113.9", ("1.1.1.1",), "203.0.113.9"),  # nobody we trust says so
        ("10.0.0.1", ("1.1.1.1",), "1.1.1.1"),
        ("10.0.0.1", ("6.6.6.6, 1.1.1.1",), "1.1.1.1"),  # the client wrote the first itself
        ("10.0.0.1", ("6.6.6.6", "1.1.1.1, 10.0.0.2"), "1.1.1.1"),
        ("10.0.0.1", ("6.6.6.6, nonsense",), "nonsense"),
        ("10.0.0.1", (), "10.0.0.1"),
    ],
)
def test_only_a_trusted_proxy_is_believed(remote: str, forwarded: tuple[str, ...], client: str) -> None:
    assert Proxies(("10.0.0.0/8",)).client_of(asked(remote, *forwarded)) == client


# -- TLS


def certificate(folder: Path, name: str, passphrase: bytes | None = None) -> TlsSettings:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = TlsSettings(certificate=folder / "tls.crt", key=folder / "tls.key")
    files.certificate.write_bytes(made.public_bytes(Encoding.PEM))
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return files


async def name_shown(url: str, files: TlsSettings) -> str:
    """Connect as a client that believes the certificate of these files; return the name on it."""
    trust = ssl.create_default_context(cafile=files.certificate)
    connector = aiohttp.TCPConnector(ssl=trust, force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(url + "/health") as response,
    ):
        assert response.status == 200
        assert response.connection is None or response.connection.transport is not None
    host, _, port = url.partition("://")[2].partition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=trust)
    shown = writer.get_extra_info("peercert")["subject"][0][0][1]
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
    return str(shown)


async def test_certificates_are_replaced_while_the_server_runs(tmp_path: Path) -> None:
    files = certificate(tmp_path, "first")
    app = create_app(ScriptedEngine(), ServerSettings(port=0, tls=files))
    async with listening(app) as url:
        assert url.startswith("https://")
        assert await name_shown(url, files) == "first"
        old = files.certificate.read_bytes(), files.key.read_bytes()
        certificate(tmp_path, "second")
        new = files.certificate.read_bytes(), files.key.read_bytes()
        files.key.write_bytes(old[1])
        reload(app)  # the new certificate does not fit the old key: nothing changes
        files.certificate.write_bytes(old[0])
        assert await name_shown(url, files) == "first"
        files.certificate.write_bytes(new[0])
        files.key.write_bytes(new[1])
        reload(app)
        assert await name_shown(url, files) == "second"


async def test_plain_http_and_old_tls_get_nothing_from_a_tls_port(tmp_path: Path) -> None:
    files = certificate(tmp_path, "it")
    engine = ScriptedEngine()
    async with served(engine, tls=files, headers_s=1.0) as url:
        async with socket_to(url) as (reader, writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            assert b"HTTP/1.1 200" not in await closed(reader)
        assert engine.handled == []
        assert await name_shown(url, files) == "it"


@pytest.mark.parametrize("fault", ["missing", "garbage", "encrypted"])
async def test_tls_files_that_cannot_be_used_stop_the_start(tmp_path: Path, fault: str) -> None:
    files = certificate(tmp_path, "it", passphrase=b"secret" if fault == "encrypted" else None)
    if fault == "missing":
        files.key.unlink()
    if fault == "garbage":
        files.certificate.write_bytes(b"garbage")
    app: web.Application = create_app(ScriptedEngine(), ServerSettings(port=0, tls=files))
    with pytest.raises(ServerMisconfigured, match="cannot be used"):
        async with listening(app):
            pass


# -- how many


async def test_connections_beyond_the_bound_are_told_so_and_the_others_go_on() -> None:
    engine = ScriptedEngine()
    async with (
        served(engine, connections_max=1, sockets_max=3) as url,
        contextlib.AsyncExitStack() as stack,
        aiohttp.ClientSession() as patient,
    ):
        for _ in range(2):
            await stack.enter_async_context(socket_to(url))
        async with patient.post(url, data=envelope("promise.create", CREATE)) as response:
            assert response.status == 200
        async with socket_to(url) as (reader, _):
            refusal = await closed(reader)
            assert refusal.startswith(b"HTTP/1.1 503 ")
            assert refusal.endswith(b"Too many connections to this server: close some, or ask again later\n")
        assert await status_of_get(url) == 503
        async with patient.get(url + "/metrics") as response:
            shown = await response.text()
            assert "orchestrator_sockets 3.0" in shown
            assert "orchestrator_sockets_refused_total 2.0" in shown
        await stack.aclose()
        async with asyncio.timeout(5):
            while (await status_of_get(url)) != 200:
                pass
    assert [command.KIND for command in engine.handled] == ["promise.create"]


async def status_of_get(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url + "/health") as response:
        return response.status


@pytest.mark.parametrize(
    ("soft", "hard", "allowed", "raised"),
    [
        (1024, 1_048_576, 4000, 4096),
        (1024, 2048, 1952, 2048),
        (1024, 1024, 928, None),
        (8192, 8192, 4000, None),
        (64, 64, 1, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 4000, None),
    ],
)
def test_as_many_connections_as_the_system_allows(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, allowed: int, raised: int | None
) -> None:
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    assert serving._sockets_allowed(4000) == allowed
    assert limits[-1] == (raised or soft, hard)
