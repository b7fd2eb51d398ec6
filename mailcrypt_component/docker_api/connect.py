"""Connects to a Docker engine: a socket of this machine, TLS or SSH.

Everything goes through the Docker API, so a remote host needs no path and no
port of its own to be reachable.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import docker
import docker.errors
import docker.tls
import requests.exceptions

from mailcrypt_component.docker_api.address import DEFAULT_HOST, unreachable
from mailcrypt_component.docker_api.ssh import tunnel
from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

    from mailcrypt_component.model.docker_host import DockerHost

NOT_ANSWERING: Final = (
    docker.errors.DockerException,
    requests.exceptions.RequestException,
    OSError,
)
"""What the Docker SDK raises when an engine refuses or cannot be reached."""

_API_SECONDS: Final = 60


def connect(docker_host: DockerHost) -> DockerClient:
    """Return a client of an engine that answers.

    Raises:
        UnreachableError: No engine answers there, or a certificate is missing.

    """
    url = docker_host.url or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
    try:
        client = _client(url, docker_host)
        client.ping()
    except NOT_ANSWERING as error:
        raise unreachable(url, error) from None
    return client


def _client(url: str, docker_host: DockerHost) -> DockerClient:
    """Return a client that is let in as the provider is: by SSH, certificates, or neither."""
    if url.startswith("ssh://"):
        return docker.DockerClient(
            base_url=tunnel(url, docker_host.ssh_options), timeout=_API_SECONDS
        )
    if docker_host.certificate is not None:
        return docker.DockerClient(base_url=url, tls=_given_tls(docker_host), timeout=_API_SECONDS)
    environment = {**os.environ, "DOCKER_HOST": url}
    if docker_host.certificate_folder is not None:
        environment |= {
            "DOCKER_CERT_PATH": docker_host.certificate_folder,
            "DOCKER_TLS_VERIFY": "1",
        }
    return docker.from_env(timeout=_API_SECONDS, environment=environment)


def _given_tls(docker_host: DockerHost) -> docker.tls.TLSConfig:
    """Return the SDK's configuration, which takes files only: they lie in memory."""
    folder = Path(tempfile.mkdtemp(prefix="mailcrypt-tls-", dir=_memory()))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    texts = {
        "ca.pem": docker_host.ca or "",
        "cert.pem": docker_host.certificate or "",
        "key.pem": docker_host.private_key or "",
    }
    for name, text in texts.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    return docker.tls.TLSConfig(
        client_cert=(str(folder / "cert.pem"), str(folder / "key.pem")),
        ca_cert=str(folder / "ca.pem") if docker_host.ca else None,
        verify=bool(docker_host.ca),
    )


def _memory() -> str | None:
    """Return a folder in memory where there is one, else None for the usual one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108


def refresh(container: Container) -> None:
    """Ask the engine anew for what a container is.

    Raises:
        UnreachableError: It is gone, or the engine does not answer.

    """
    try:
        container.reload()
    except NOT_ANSWERING as error:
        raise UnreachableError(explained(error), where=f"container {container.name}") from None


def api_of(container: Container) -> docker.APIClient:
    """Return the engine's API that a container was found through."""
    client = container.client
    if client is None:
        raise UnreachableError("it belongs to no engine", where=f"container {container.name}")
    return client.api


def explained(error: BaseException) -> str:
    """Return what the engine said, without the SDK's wrapping."""
    return str(getattr(error, "explanation", None) or error)


def moment(text: str) -> datetime:
    """Return an engine's own statement of time (RFC 3339 with nanoseconds), to the second.

    >>> moment("2026-11-25T02:57:02.589031318Z")
    datetime.datetime(2026, 11, 25, 2, 57, 2, tzinfo=datetime.timezone.utc)
    """
    return datetime.fromisoformat(text.partition(".")[0].rstrip("Z")).replace(tzinfo=UTC)
