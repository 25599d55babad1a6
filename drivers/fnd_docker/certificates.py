"""What the driver proves to an engine at tcp:// who it is with, and by what it knows that engine."""

from __future__ import annotations

import ssl
from pathlib import Path

from fnd.hookspecs import ConfigurationError
from fnd_docker.settings import DockerSettings


def tls_context(settings: DockerSettings) -> ssl.SSLContext | None:
    """Read the certificates; None without TLS. Blocks. Raises ConfigurationError if they cannot be used."""
    if not settings.certificates or settings.host.startswith("unix:"):
        return None
    authority, certificate, key = (Path(settings.certificates) / name for name in ("ca.pem", "cert.pem", "key.pem"))
    for path in (authority, certificate, key):
        if not path.is_file():
            raise ConfigurationError(f"plugins.docker.certificates: there is no {path}")
    try:
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(certificate, key)
    except OSError as error:  # what ssl raises is one
        raise ConfigurationError(
            f"plugins.docker.certificates: those in {settings.certificates} cannot be used: {error}"
        ) from error
    return context
