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


def tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Return what went wrong with TLS, if that is why something else did."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def explained(error: ssl.SSLError, certificates: str) -> str:
    """Return what an engine did, and what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"has a certificate that is not trusted ({error.verify_message}): {certificates}/ca.pem must be of the "
            "authority that signed it, and plugins.docker.host have a name that it is for"
        )
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "alert" in reason:
        return (
            f"does not accept {certificates}/cert.pem ({reason}): the authority that it knows (--tlscacert) must have "
            "signed that"
        )
    return f"does not speak TLS ({reason}): start it with --tlsverify, or name another with plugins.docker.host"
