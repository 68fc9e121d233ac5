"""Where the scorer's keys come from (keystores, environment, remote signer), and which of them retire."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from pydantic import SecretStr

from contracts.transactions import (
    RemoteSigner,
    Signer,
    SignerError,
    Signers,
    Signing,
    password_from,
    signer_from_environment,
)
from scorers.settings import ENV_PREFIX, Settings

KEY_VARIABLE = f"{ENV_PREFIX}PRIVATE_KEY"
RETIRING_VARIABLE = f"{ENV_PREFIX}RETIRING_PRIVATE_KEY"
PASSWORD_VARIABLE = f"{ENV_PREFIX}KEYSTORE_PASSWORD"


def signer_of(settings: Settings) -> Signer:
    """Return the one key of this process, from its keystore or the environment. Raises SignerError."""
    keys = _local(settings, settings.keystore, settings.private_key, KEY_VARIABLE)
    if not keys:
        return signer_from_environment(KEY_VARIABLE)
    if len(keys) > 1:
        raise SignerError(f"{len(keys)} keys are configured and this needs one: give a single keystore file")
    return keys[0]


def has_keys(settings: Settings) -> bool:
    """Tell whether any key that takes new work is configured."""
    return bool(settings.keystore or settings.private_key or settings.signer_addresses)


@asynccontextmanager
async def signers_of(settings: Settings) -> AsyncIterator[Signers]:
    """Hold all configured keys ready. Raises SignerError."""
    active: list[Signing] = [*_local(settings, settings.keystore, settings.private_key, KEY_VARIABLE)]
    retiring: list[Signing] = [
        *_local(settings, settings.retiring_keystore, settings.retiring_private_key, RETIRING_VARIABLE)
    ]
    async with AsyncExitStack() as stack:
        for remote, taking in (
            (settings.signer_addresses, active),
            (settings.retiring_signer_addresses, retiring),
        ):
            for address in parts(remote):
                taking.append(await stack.enter_async_context(RemoteSigner(_url(settings), address)))
        yield Signers(active or [signer_from_environment(KEY_VARIABLE)], retiring)


def addresses_of(settings: Settings) -> tuple[list[str], list[str]]:
    """Return the addresses that take new work, and those that retire. Raises SignerError."""
    active = _local(settings, settings.keystore, settings.private_key, KEY_VARIABLE)
    retiring = _local(settings, settings.retiring_keystore, settings.retiring_private_key, RETIRING_VARIABLE)
    return (
        [*(each.address for each in active), *parts(settings.signer_addresses)],
        [*(each.address for each in retiring), *parts(settings.retiring_signer_addresses)],
    )


def _url(settings: Settings) -> str:
    if settings.signer is None:
        raise SignerError(f"addresses of a remote signer need its URL: set --signer or {ENV_PREFIX}SIGNER")
    return settings.signer


def parts(text: str | None) -> list[str]:
    """Return what stands between commas."""
    return [part for part in (text or "").split(",") if part]


def _local(settings: Settings, keystore: Path | None, keys: SecretStr | None, variable: str) -> list[Signer]:
    """Return the keys of a keystore file or folder, else those of an environment variable, with commas."""
    if keystore is not None:
        password = password_from(settings.keystore_password_file, os.environ, PASSWORD_VARIABLE)
        return [Signer.from_keystore(file, password) for file in _files(keystore)]
    texts = keys.get_secret_value().split(",") if keys is not None else []
    return [Signer.from_key(text, source=f"the content of {variable}") for text in texts]


def _files(keystore: Path) -> list[Path]:
    if not keystore.is_dir():
        return [keystore]
    files = sorted(file for file in keystore.iterdir() if file.is_file() and not file.name.startswith("."))
    if not files:
        raise SignerError(f"keystore folder {keystore} holds no key file")
    return files
