"""TLS by certificate and key files, which can be replaced while the server runs.

Invariant: files that do not fit together never replace ones that do.
"""

from __future__ import annotations

import ssl

from orchestrator.server.errors import ServerMisconfigured
from orchestrator.server.settings import TlsSettings


class Certificates:
    """The TLS context of one server. Making one, or reloading, raises ServerMisconfigured."""

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self.context = self._load()

    def reload(self) -> None:
        """Use the files as they are now for new connections; on an error the old ones stay."""
        # Loading into the live context replaces the certificate before the key is found not to match.
        self._load()
        self.context.load_cert_chain(self._settings.certificate, self._settings.key, _no_passphrase)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        certificate, key = self._settings.certificate, self._settings.key
        try:
            context.load_cert_chain(certificate, key, _no_passphrase)
        except OSError as error:  # ssl.SSLError is one
            raise ServerMisconfigured(
                f"TLS certificate {certificate} and key {key} cannot be used ({error.strerror or error}): "
                "give PEM files that belong together, the key without a passphrase"
            ) from error
        return context


def _no_passphrase() -> str:
    # Without this an encrypted key makes OpenSSL ask on the terminal, where nobody answers a service.
    return ""
