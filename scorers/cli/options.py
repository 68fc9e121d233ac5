"""The flags that several commands share; each names its environment variable in `--help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None, typer.Option("--config", envvar="DAO_SCORER_CONFIG", help="Configuration file (TOML).")
]
Rpc = Annotated[str | None, typer.Option("--rpc", envvar="DAO_SCORER_RPC", help="URL of the chain node.")]
ChainId = Annotated[
    int | None,
    typer.Option("--chain-id", envvar="DAO_SCORER_CHAIN_ID", help="Refuse a node of any other chain."),
]
Dao = Annotated[
    str | None, typer.Option("--dao", envvar="DAO_SCORER_DAO", help="Address of the DAO contract.")
]
Registry = Annotated[
    str | None,
    typer.Option("--registry", envvar="DAO_SCORER_REGISTRY", help="Address of the ProposalScores registry."),
]
StartBlock = Annotated[
    int | None,
    typer.Option("--start-block", envvar="DAO_SCORER_START_BLOCK", help="First block to read (back-fill)."),
]
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="DAO_SCORER_SERVER",
        help="URL of the orchestrator server; the token, if it wants one, is read from DAO_SCORER_TOKEN.",
    ),
]
Store = Annotated[
    str | None,
    typer.Option("--store", envvar="DAO_SCORER_STORE", help="Database: sqlite:///FILE or postgresql://…"),
]
Cursor = Annotated[
    str | None,
    typer.Option("--cursor", envvar="DAO_SCORER_CURSOR", help="The listener's cursor, as sqlite:///FILE."),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        envvar="DAO_SCORER_HOST",
        help="Address to bind; one beyond loopback needs a token in DAO_SCORER_TOKEN.",
    ),
]
Port = Annotated[
    int | None, typer.Option("--port", envvar="DAO_SCORER_PORT", help="Port to bind; 0 takes a free one.")
]
Group = Annotated[
    str | None, typer.Option("--group", envvar="DAO_SCORER_GROUP", help="Worker group to join.")
]
Lease = Annotated[
    float | None,
    typer.Option(
        "--lease", envvar="DAO_SCORER_LEASE", help="Seconds until a silent worker's task is given on."
    ),
]
PollInterval = Annotated[
    float | None,
    typer.Option(
        "--poll-interval", envvar="DAO_SCORER_POLL_INTERVAL", help="Seconds between looks at the chain."
    ),
]
Keystore = Annotated[
    Path | None,
    typer.Option(
        "--keystore",
        envvar="DAO_SCORER_KEYSTORE",
        help="Encrypted key file of the account that signs; without one the key itself is read from "
        "DAO_SCORER_PRIVATE_KEY.",
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--keystore-password-file",
        envvar="DAO_SCORER_KEYSTORE_PASSWORD_FILE",
        help="File that holds the keystore's password; without one it is read from "
        "DAO_SCORER_KEYSTORE_PASSWORD.",
    ),
]
JwtPublicKey = Annotated[
    Path | None,
    typer.Option(
        "--jwt-public-key",
        envvar="DAO_SCORER_JWT_PUBLIC_KEY",
        help="PEM file of the public keys that clients' JSON Web Tokens are signed with.",
    ),
]
JwtIssuer = Annotated[
    str | None,
    typer.Option("--jwt-issuer", envvar="DAO_SCORER_JWT_ISSUER", help="Required issuer (iss) of tokens."),
]
JwtAudience = Annotated[
    str | None,
    typer.Option(
        "--jwt-audience", envvar="DAO_SCORER_JWT_AUDIENCE", help="Required audience (aud) of tokens."
    ),
]
JwtUnsigned = Annotated[
    bool | None,
    typer.Option(
        "--jwt-unsigned",
        envvar="DAO_SCORER_JWT_UNSIGNED",
        help="Insecure, loopback only: accept tokens that nobody has signed.",
    ),
]
TlsCertificate = Annotated[
    Path | None,
    typer.Option(
        "--tls-certificate",
        envvar="DAO_SCORER_TLS_CERTIFICATE",
        help="PEM file of the certificate and its chain: serve HTTPS.",
    ),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(
        "--tls-key", envvar="DAO_SCORER_TLS_KEY", help="PEM file of the certificate's key, no passphrase."
    ),
]
TrustedProxies = Annotated[
    str | None,
    typer.Option(
        "--trusted-proxies",
        envvar="DAO_SCORER_TRUSTED_PROXIES",
        help="Proxies believed about who asks: addresses or networks, with commas.",
    ),
]
CorsOrigins = Annotated[
    str | None,
    typer.Option(
        "--cors-origins",
        envvar="DAO_SCORER_CORS_ORIGINS",
        help="Origins whose web pages may use the server, with commas.",
    ),
]
OpenMetrics = Annotated[
    bool | None,
    typer.Option(
        "--open-metrics", envvar="DAO_SCORER_OPEN_METRICS", help="Show /metrics without a token, too."
    ),
]
OpenProofs = Annotated[
    bool | None,
    typer.Option("--open-proofs", envvar="DAO_SCORER_OPEN_PROOFS", help="Show proofs without a token, too."),
]
RetainChildren = Annotated[
    str | None,
    typer.Option(
        "--retain-children",
        envvar="DAO_SCORER_RETAIN_CHILDREN",
        help="Remove the steps of what ended so long ago (30d, 12h); roots and proofs stay. Off by default.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
