"""Connects to a Docker engine by a socket of this machine, TLS or SSH.

Everything goes through the Docker API, so a remote host needs no path and no port of its own
to be reachable.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import docker
import docker.errors
import docker.tls
import requests.exceptions

from mailcrypt_component.docker_api.address import address_of, unreachable
from mailcrypt_component.docker_api.certificates import certificate_files, refuse_plain_tcp
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
"""The errors of the Docker SDK when an engine refuses or cannot be reached."""

_API_SECONDS: Final = 60


def connect(docker_host: DockerHost) -> DockerClient:
    """Return a client of an engine that answers.

    Raises:
        MailCryptError: The address is plain TCP to another machine.
        UnreachableError: No engine answers at it, or a certificate is missing.

    """
    url = address_of(docker_host)
    refuse_plain_tcp(url, docker_host)
    try:
        client = _client(url, docker_host)
        client.ping()
    except NOT_ANSWERING as error:
        raise unreachable(url, error) from None
    return client


def _client(url: str, docker_host: DockerHost) -> DockerClient:
    """Return a client with the same credentials as the provider: SSH, certificates, or none."""
    if url.startswith("ssh://"):
        url = tunnel(url, docker_host.ssh_options)
    files = certificate_files(docker_host) if url.startswith("tcp://") else None
    if files is None:
        return docker.DockerClient(base_url=url, timeout=_API_SECONDS)
    tls = docker.tls.TLSConfig(
        client_cert=(files.certificate, files.private_key),
        ca_cert=files.ca,
        verify=files.ca is not None,
    )
    return docker.DockerClient(base_url=url, tls=tls, timeout=_API_SECONDS)


def refresh(container: Container) -> None:
    """Ask the engine again for the state of a container.

    Raises:
        UnreachableError: It is gone, or the engine does not answer.

    """
    try:
        container.reload()
    except NOT_ANSWERING as error:
        raise UnreachableError(explained(error), where=f"container {container.name}") from None


def client_of(container: Container) -> DockerClient:
    """Return the client by which a container was found."""
    client: DockerClient | None = container.client
    if client is None:
        raise UnreachableError("it belongs to no engine", where=f"container {container.name}")
    return client


def api_of(container: Container) -> docker.APIClient:
    """Return the API of the engine on which a container was found."""
    return client_of(container).api


def explained(error: BaseException) -> str:
    """Return the engine's own message, without the SDK's wrapping."""
    return str(getattr(error, "explanation", None) or error)


def moment(text: str) -> datetime:
    """Return a time that an engine states (RFC 3339 with nanoseconds), to the second.

    >>> moment("2026-11-25T02:57:02.589031318Z")
    datetime.datetime(2026, 11, 25, 2, 57, 2, tzinfo=datetime.timezone.utc)
    """
    return datetime.fromisoformat(text.partition(".")[0].rstrip("Z")).replace(tzinfo=UTC)
