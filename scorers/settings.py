"""Configuration: defaults < `dao-scorer.toml` < `DAO_SCORER_*` < flags, every fault told at once.

Secrets come from the environment or from files, never from flags: a process list shows flags to everyone.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from scorers.errors import SettingsError

CONFIG_FILE = "dao-scorer.toml"
ENV_PREFIX = "DAO_SCORER_"
POSTGRES = ("postgresql://", "postgres://")
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return value.rstrip("/")


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


HttpUrl = Annotated[str, AfterValidator(_http_url)]
StoreUrl = Annotated[str, AfterValidator(_store_url)]
FileUrl = Annotated[str, AfterValidator(_file_url)]
Address = Annotated[str, AfterValidator(_address)]


class Settings(BaseSettings):
    """All that an operator can set. Durations are seconds, heights are block numbers, lists have commas."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", hide_input_in_errors=True
    )

    rpc: HttpUrl = "http://127.0.0.1:8545"
    chain_id: int | None = Field(default=None, ge=1)
    dao: Address | None = None
    registry: Address | None = None
    start_block: int = Field(default=0, ge=0)

    server: HttpUrl = "http://127.0.0.1:8001"
    token: SecretStr | None = None
    store: StoreUrl = "sqlite:///dao-scorer.db"
    cursor: FileUrl = "sqlite:///dao-scorer-cursor.db"
    host: str = "127.0.0.1"
    port: int = Field(default=8001, ge=0, le=65535)
    jwt_public_key: Path | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_unsigned: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: str | None = None
    cors_origins: str | None = None
    open_metrics: bool = False
    open_proofs: bool = False

    group: str = Field(default="proposal-scorers", pattern=r"^[a-z0-9][a-z0-9._-]*$")
    lease: float = Field(default=10.0, ge=1, le=3600)
    poll_interval: float = Field(default=1.0, gt=0, le=3600)

    private_key: SecretStr | None = None
    keystore: Path | None = None
    keystore_password_file: Path | None = None

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

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        return FromFile(**{name: value for name, value in flags.items() if value not in (None, "")})
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from error
    except ValidationError as error:
        raise SettingsError(_faults(error)) from error


def _existing(config: Path | None) -> Path | None:
    if config is None:
        default = Path(CONFIG_FILE)
        return default if default.exists() else None
    if not config.is_file():
        raise SettingsError(f"configuration file {config} does not exist: create it or leave --config out")
    return config


def _faults(error: ValidationError) -> str:
    faults = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in fault["loc"]) or "configuration"
        variable = f"{ENV_PREFIX}{name.upper()}"
        reason = (
            "is not a known setting"
            if fault["type"] == "extra_forbidden"
            else fault["msg"].removeprefix("Value error, ")
        )
        faults.append(f"{name} (--{name.replace('_', '-')}, {variable}): {reason}")
    plural = "fault" if len(faults) == 1 else "faults"
    return f"{len(faults)} {plural} in the configuration: " + "; ".join(faults)


def require(settings: Settings, *names: str) -> None:
    """Raise SettingsError that lists which of these settings are missing."""
    missing = [name for name in names if getattr(settings, name) is None]
    if missing:
        options = ", ".join(f"--{name.replace('_', '-')} or {ENV_PREFIX}{name.upper()}" for name in missing)
        raise SettingsError(f"missing: {options} (or the same names in {CONFIG_FILE})")
