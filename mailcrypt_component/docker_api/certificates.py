"""Provides the client certificates for an engine that is reached by TLS, as files."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from mailcrypt_component.docker_api.address import LOCAL_NAMES
from mailcrypt_component.model.errors import MailCryptError

if TYPE_CHECKING:
    from mailcrypt_component.model.docker_host import DockerHost


def refuse_plain_tcp(url: str, docker_host: DockerHost) -> None:
    """Refuse to speak to another machine without TLS, because private keys travel to the engine.

    Raises:
        MailCryptError: The address is ``tcp://`` of another machine, and there are no
            certificates.

    """
    parts = urlsplit(url if "://" in url else f"tcp://{url}")
    if parts.scheme in {"unix", "ssh"} or parts.hostname in LOCAL_NAMES:
        return
    if parts.scheme != "tcp":
        raise MailCryptError(
            f"a Docker engine at {parts.scheme}://",
            where=f"dockerHost {url}",
            expected="unix://, ssh:// or tcp://",
            hint=f"dockerHost: ssh://root@{parts.hostname}",
        )
    if certificate_files(docker_host) is None:
        raise MailCryptError(
            "plain TCP to another machine, which would carry private keys in clear",
            where=f"dockerHost {url}",
            expected="TLS (certificates of the provider, or DOCKER_TLS_VERIFY and "
            "DOCKER_CERT_PATH), or ssh://",
            hint=f"dockerHost: ssh://root@{parts.hostname}",
        )


class CertificateFiles(NamedTuple):
    """Paths of PEM files; without a CA the server's certificate is not checked."""

    ca: str | None
    certificate: str
    private_key: str


def certificate_files(docker_host: DockerHost) -> CertificateFiles | None:
    """Return the certificates that the provider would use; None if there are none.

    Texts win over a folder, and a folder over the environment's ``DOCKER_CERT_PATH``, which
    counts only if ``DOCKER_TLS_VERIFY`` is set, too.
    """
    if docker_host.certificate is not None:
        return _written(docker_host)
    folder = docker_host.certificate_folder
    if folder is None and os.environ.get("DOCKER_TLS_VERIFY"):
        folder = os.environ.get("DOCKER_CERT_PATH")
    if not folder:
        return None
    return CertificateFiles(*(str(Path(folder, f"{name}.pem")) for name in ("ca", "cert", "key")))


@functools.cache
def _written(docker_host: DockerHost) -> CertificateFiles:
    """Write the texts to files in memory that are removed when the program ends."""
    folder = Path(tempfile.mkdtemp(prefix="mailcrypt-tls-", dir=_memory()))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    texts = {
        "ca": docker_host.ca,
        "cert": docker_host.certificate,
        "key": docker_host.private_key,
    }
    for name, text in texts.items():
        path = folder / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_text(text or "")
    ca = str(folder / "ca.pem") if docker_host.ca else None
    return CertificateFiles(ca, str(folder / "cert.pem"), str(folder / "key.pem"))


def _memory() -> str | None:
    """Return a folder in memory if there is one; else None for the usual one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
