"""Certificates for tests of TLS, made by openssl: an authority, and what it signs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import attrs

from tests.parts import need_program

_CONFIGURATION: Final = """[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:true
subjectKeyIdentifier = hash
keyUsage = critical, keyCertSign
[signed]
basicConstraints = CA:false
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = IP:127.0.0.1
extendedKeyUsage = serverAuth, clientAuth
"""


@attrs.frozen
class Authority:
    """Signs certificates for 127.0.0.1 and for callers alike. `certificate` is its own, in PEM as all of them."""

    directory: Path

    @property
    def certificate(self) -> Path:
        return self.directory / "ca.pem"

    def sign(self, directory: Path) -> Path:
        """Make a directory of a key.pem, its cert.pem, and the ca.pem by which to know others; return it."""
        directory.mkdir()
        signer = ["-CA", str(self.certificate), "-CAkey", str(self.directory / "ca-key.pem")]
        _request(self.directory, "signed", directory / "cert.pem", directory / "key.pem", *signer)
        (directory / "ca.pem").write_bytes(self.certificate.read_bytes())
        return directory


def make_authority(directory: Path) -> Authority:
    """Make an authority in a new directory; skips, with the reason, without openssl."""
    need_program("openssl", "openssl")
    directory.mkdir()
    (directory / "openssl.cnf").write_text(_CONFIGURATION)
    authority = Authority(directory)
    _request(directory, "authority", authority.certificate, directory / "ca-key.pem")
    return authority


def _request(configured: Path, kind: str, certificate: Path, key: Path, *options: str) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
    command += ["-config", str(configured / "openssl.cnf"), "-extensions", kind, "-subj", f"/CN=fnd tests {kind}"]
    command += ["-days", "2", "-keyout", str(key), "-out", str(certificate), *options]
    subprocess.run(command, check=True, capture_output=True)
