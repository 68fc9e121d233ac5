"""Configuration: defaults < `dao-scorer.toml` < `DAO_SCORER_*` < flags, every fault told at once.

Secrets come from the environment or from files, never from flags: a process list shows flags to everyone.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from scorers.errors import SettingsError
from scorers.policies.configuration import PolicySettings
from scorers.sources import FilterCheck, Finality, SourceSettings, WebSocketUrl

CONFIG_FILE = "dao-scorer.toml"
ENV_PREFIX = "DAO_SCORER_"
POSTGRES = ("postgresql://", "postgres://")
OTHER_VARIABLES = frozenset({"CONFIG", "KEYSTORE_PASSWORD", "LOG_LEVEL"})
"""What is read from the environment beside the settings, without the prefix."""
TEST_VARIABLES = frozenset({"DATA", "FULL_MATRIX", "RECORDS", "SEED", "SEEDS"})
"""What the project's own tests read, and hand on to the processes that they start."""
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_ORIGIN = re.compile(r"https?://[^/?#@\s,=]+")
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return value.rstrip("/")


def _rpc_urls(value: str) -> str:
    urls = [_http_url(part.strip()) for part in value.split(",") if part.strip()]
    if not urls:
        raise ValueError("must start with http:// or https://")
    if len(set(urls)) < len(urls):
        raise ValueError("names one endpoint twice: a node cannot check itself")
    return ",".join(urls)


def _store_url(value: str) -> str:
    if not value.startswith(("sqlite:///", "memory://", *POSTGRES)):
        raise ValueError("must be sqlite:///FILE or postgresql://USER@HOST/DATABASE")
    return value


def _file_url(value: str) -> str:
    if not value.startswith(("sqlite:///", "memory://")):
        raise ValueError("must be sqlite:///FILE")
    return value


def _address(value: str) -> str:
    if not ADDRESS.fullmatch(value):
        raise ValueError("is not an address: 0x and 40 hexadecimal digits")
    return value.lower()


def _addresses(value: str) -> str:
    return ",".join(_address(part.strip()) for part in value.split(",") if part.strip())


def _duration_s(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = _DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError("is no duration: write 30d, 1h30m or 90s")
    return sum(int(number) * _UNITS_S[unit] for number, unit in parts)


def _push_tokens(value: SecretStr) -> SecretStr:
    for pair in value.get_secret_value().split(","):
        origin, separator, token = pair.strip().partition("=")
        if not (separator and token and _ORIGIN.fullmatch(origin)):
            raise ValueError("must be https://HOST=TOKEN, with commas between several")
    return value


RpcUrls = Annotated[str, AfterValidator(_rpc_urls)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
StoreUrl = Annotated[str, AfterValidator(_store_url)]
FileUrl = Annotated[str, AfterValidator(_file_url)]
Duration = Annotated[int, BeforeValidator(_duration_s)]
Address = Annotated[str, AfterValidator(_address)]
Addresses = Annotated[str, AfterValidator(_addresses)]
Amount = Annotated[Decimal, Field(gt=0, lt=10**9, allow_inf_nan=False)]


class Settings(BaseSettings):
    """All that an operator can set. Durations are seconds, heights are block numbers, lists have commas.

    A setting with a description can be a flag (`scorers.cli.flags`); secrets have none.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", hide_input_in_errors=True
    )

    rpc: RpcUrls = Field(
        default="http://127.0.0.1:8545",
        description="URL of the chain node; several nodes of one chain with commas, or the flag again.",
    )
    chain_id: int | None = Field(default=None, ge=1, description="Refuse a node of any other chain.")
    rpc_quorum: int = Field(
        default=1, ge=1, le=16, description="Nodes that must agree about headers, logs and finality."
    )
    rpc_rate: float | None = Field(
        default=None, gt=0, description="Requests a second that each node may be asked; no limit by default."
    )
    rpc_broadcast: str = Field(
        default="one", pattern="^(one|all)$", description="Send transactions to one node, or to all."
    )
    dao: Address | None = Field(default=None, description="Address of the DAO contract.")
    registry: Address | None = Field(default=None, description="Address of the ProposalScores registry.")
    start_block: int = Field(default=0, ge=0, description="First block to read (back-fill).")

    server: HttpUrl = Field(
        default="http://127.0.0.1:8001",
        description="URL of the orchestrator server; the token, if it wants one, is read from "
        "DAO_SCORER_TOKEN.",
    )
    token: SecretStr | None = None
    encryption_key_file: Path | None = Field(
        default=None, description="File of the keys that values are encrypted with, the writing one first."
    )
    push_tokens: Annotated[SecretStr, AfterValidator(_push_tokens)] | None = None
    store: StoreUrl = Field(
        default="sqlite:///dao-scorer.db", description="Database: sqlite:///FILE or postgresql://…"
    )
    cursor: FileUrl = Field(
        default="sqlite:///dao-scorer-cursor.db", description="The listener's cursor, as sqlite:///FILE."
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to bind; one beyond loopback needs a token in DAO_SCORER_TOKEN.",
    )
    port: int = Field(default=8001, ge=0, le=65535, description="Port to bind; 0 takes a free one.")
    jwt_public_key: Path | None = Field(
        default=None, description="PEM file of the public keys that clients' JSON Web Tokens are signed with."
    )
    jwt_issuer: str | None = Field(default=None, description="Required issuer (iss) of tokens.")
    jwt_audience: str | None = Field(default=None, description="Required audience (aud) of tokens.")
    jwt_unsigned: bool = Field(
        default=False, description="Insecure, loopback only: accept tokens that nobody has signed."
    )
    tls_certificate: Path | None = Field(
        default=None, description="PEM file of the certificate and its chain: serve HTTPS."
    )
    tls_key: Path | None = Field(
        default=None, description="PEM file of the certificate's key, no passphrase."
    )
    trusted_proxies: str | None = Field(
        default=None, description="Proxies believed about who asks: addresses or networks, with commas."
    )
    cors_origins: str | None = Field(
        default=None, description="Origins whose web pages may use the server, with commas."
    )
    open_metrics: bool = Field(default=False, description="Show /metrics without a token, too.")
    open_proofs: bool = Field(default=False, description="Show proofs without a token, too.")
    debug: bool = Field(
        default=False,
        description="Let callers set the time and wipe the store (debug.*); loopback only, for tests.",
    )
    retain_children: Duration | None = Field(
        default=None,
        ge=1,
        description="Remove the steps of what ended so long ago (30d, 12h); roots and proofs stay. "
        "Off by default.",
    )

    group: str = Field(
        default="proposal-scorers", pattern=r"^[a-z0-9][a-z0-9._-]*$", description="Worker group to join."
    )
    concurrency: int = Field(
        default=256, ge=1, le=10_000, description="tasks executed at once; most of them wait for the chain"
    )
    lease: float = Field(
        default=10.0, ge=1, le=3600, description="Seconds until a silent worker's task is given on."
    )
    poll_interval: float = Field(
        default=1.0, gt=0, le=3600, description="Seconds between looks at the chain."
    )
    finality: Finality = Field(
        default="tag",
        description="What is final: the node's tag, or so many blocks below the head; neither stands in for "
        "the other.",
    )
    filter_check: FilterCheck = Field(
        default="sample",
        description="Which blocks' filters the logs of back-fill are held against: a sample, all, or off.",
    )
    websocket: WebSocketUrl | None = Field(
        default=None, description="WebSocket of a node whose new heads wake the listener early."
    )
    sources: tuple[SourceSettings, ...] | None = None
    policy: Annotated[PolicySettings | None, NoDecode] = Field(
        default=None,
        description="How votes are weighed, and which: a policy's name, or its table as JSON. "
        "reputation-weighted by default.",
    )
    policies: tuple[PolicySettings, ...] = ()

    private_key: SecretStr | None = None
    keystore: Path | None = Field(
        default=None,
        description="Encrypted key file of the account that signs, or a folder of several; without one the "
        "key itself is read from DAO_SCORER_PRIVATE_KEY.",
    )
    keystore_password_file: Path | None = Field(
        default=None,
        description="File that holds the keystore's password; without one it is read from "
        "DAO_SCORER_KEYSTORE_PASSWORD.",
    )
    signer: HttpUrl | None = Field(
        default=None,
        repr=False,
        description="URL of a remote signer (eth_signTransaction) that holds the keys.",
    )
    signer_addresses: Addresses | None = Field(
        default=None, description="Addresses that the remote signer signs for, with commas."
    )
    retiring_private_key: SecretStr | None = None
    retiring_keystore: Path | None = Field(
        default=None,
        description="Key file, or folder, of accounts that finish what they have and take nothing new.",
    )
    retiring_signer_addresses: Addresses | None = Field(
        default=None, description="Addresses of the remote signer that take nothing new, with commas."
    )

    in_flight: int = Field(
        default=16, ge=1, le=10_000, description="Transactions of one key that may wait to be mined."
    )
    confirmations: int | None = Field(
        default=None,
        ge=1,
        description="Blocks after which a submission counts before it is final, to be sent again if a reorg "
        "takes it back; without, it counts when it is final.",
    )
    final_depth: int | None = Field(
        default=None,
        ge=1,
        description="Blocks after which a submission is final, where the chain's finalized tag is not real.",
    )
    max_fee: Amount = Field(default=Decimal(500), description="The most to offer for gas, in gwei.")
    max_tip: Amount | None = Field(default=None, description="The highest tip to offer for gas, in gwei.")
    fee_alarm: Amount | None = Field(default=None, description="Warn while gas costs more, in gwei.")
    balance_alarm: Amount | None = Field(default=None, description="Warn while a key has less, in ether.")
    gas_budget: Amount | None = Field(
        default=None, description="The most that a key spends in any --gas-budget-period, in ether."
    )
    gas_budget_period: Duration = Field(
        default=86_400, ge=1, description="What the gas budget is for (1d, 12h)."
    )
    shadow: bool = Field(
        default=False,
        description="Score and prove, submit nothing, and compare with what other scorers submit; no key is "
        "needed.",
    )
    batch: bool = Field(default=False, description="Submit scores that are ready together, by submitScores.")
    batch_size: int = Field(default=150, ge=1, le=1000, description="Scores that go together at most.")
    batch_wait: float = Field(
        default=2.0, ge=0, le=3600, description="Seconds that a score waits for others to go with."
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port to serve a worker's or a listener's metrics at, on --host; 0 takes a free one.",
    )

    @property
    def rpc_urls(self) -> tuple[str, ...]:
        """The URLs of the chain nodes."""
        return tuple(self.rpc.split(","))

    @model_validator(mode="after")
    def _quorum_can_be_had(self) -> Self:
        if self.rpc_quorum > len(self.rpc_urls):
            named = len(self.rpc_urls)
            raise ValueError(f"rpc_quorum is {self.rpc_quorum} and rpc names {named}: add nodes or lower it")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: flags, environment, file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(config: Path | None = None, **flags: Any) -> Settings:
    """Read the configuration; flags that are None or empty were not given.

    Raises SettingsError when the file is missing, is no TOML, or any value is wrong.
    """
    file = _existing(config)
    faults = _unknown_variables(os.environ)

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        settings = FromFile(**{name: value for name, value in flags.items() if value not in (None, "")})
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from error
    except ValidationError as error:
        raise SettingsError(_told([*faults, *_faults(error)])) from error
    if faults:
        raise SettingsError(_told(faults))
    return settings


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return a fault for each variable with our prefix that nothing reads: most likely a slip of the pen."""
    settings = {name.upper() for name in Settings.model_fields}
    known = settings | OTHER_VARIABLES | TEST_VARIABLES
    faults = []
    for variable in sorted(environment):
        name = variable.upper().removeprefix(ENV_PREFIX)
        if not variable.upper().startswith(ENV_PREFIX) or not environment[variable] or name in known:
            continue
        close = get_close_matches(name, settings | OTHER_VARIABLES, n=1)
        meant = f"did you mean {ENV_PREFIX}{close[0]}?" if close else "unset it"
        faults.append(f"{variable} is not a known setting: {meant}")
    return faults


def _existing(config: Path | None) -> Path | None:
    if config is None:
        default = Path(CONFIG_FILE)
        return default if default.exists() else None
    if not config.is_file():
        raise SettingsError(f"configuration file {config} does not exist: create it or leave --config out")
    return config


def _faults(error: ValidationError) -> list[str]:
    faults = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in fault["loc"]) or "configuration"
        variable = f"{ENV_PREFIX}{name.upper()}"
        reason = (
            "is not a known setting"
            if fault["type"] == "extra_forbidden"
            else fault["msg"].removeprefix("Value error, ")
        )
        inner = len(fault["loc"]) > 1
        faults.append(
            f"{name}: {reason}" if inner else f"{name} (--{name.replace('_', '-')}, {variable}): {reason}"
        )
    return faults


def _told(faults: list[str]) -> str:
    plural = "fault" if len(faults) == 1 else "faults"
    return f"{len(faults)} {plural} in the configuration: " + "; ".join(faults)


def require(settings: Settings, *names: str) -> None:
    """Raise SettingsError that lists which of these settings are missing."""
    missing = [name for name in names if getattr(settings, name) is None]
    if missing:
        options = ", ".join(f"--{name.replace('_', '-')} or {ENV_PREFIX}{name.upper()}" for name in missing)
        raise SettingsError(f"missing: {options} (or the same names in {CONFIG_FILE})")


def token_of(settings: Settings) -> str | None:
    """Return the token that server and clients share, if there is one."""
    return settings.token.get_secret_value() if settings.token else None
