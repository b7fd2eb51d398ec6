"""Checks within a millisecond whether something listens at the address of the Docker engine."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mailcrypt_component.model.errors import MailCryptError, UnreachableError

if TYPE_CHECKING:
    from mailcrypt_component.model.docker_host import DockerHost

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
DEFAULT_HOST = "unix:///var/run/docker.sock"
_SECONDS = 5.0


def require_engine(docker_host: DockerHost) -> None:
    """Connect to the engine's socket and close it again.

    The provider checks a host over SSH, and reports its own errors.

    Raises:
        UnreachableError: Nothing listens at that address.

    """
    host = docker_host.url or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
    try:
        _connect(host)
    except (OSError, ValueError) as error:
        raise unreachable(host, error) from None


def is_local(docker_host: DockerHost) -> bool:
    """Tell whether the engine runs on this machine."""
    url = docker_host.url or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
    parts = urlsplit(url)
    return parts.scheme == "unix" or parts.hostname in LOCAL_NAMES


def refuse_context(context: str | None) -> None:
    """Refuse a Docker context, because the provider would follow it and the gates would not.

    Raises:
        MailCryptError: A context is set.

    """
    if context:
        raise MailCryptError(
            f"the Docker context {context} is set",
            where="DOCKER_CONTEXT (or docker:context, or the provider's context)",
            expected="no context: the engine is given by its address",
            hint="unset the context, and set mailcrypt:dockerHost to the endpoint that "
            f"`docker context inspect {context}` shows",
        )


def unreachable(host: str, error: Exception) -> UnreachableError:
    """Return the error for an engine that does not answer."""
    return UnreachableError(
        f"no Docker engine answers ({error})",
        where=f"dockerHost {host}",
        expected="a running Docker engine",
        hint="start it, or set mailcrypt:dockerHost (or DOCKER_HOST)",
    )


def _connect(host: str) -> None:
    parts = urlsplit(host)
    if parts.scheme == "unix":
        with socket.socket(socket.AF_UNIX) as end:
            end.settimeout(_SECONDS)
            end.connect(parts.path)
    elif parts.scheme == "tcp":
        address = (parts.hostname or "localhost", parts.port or 2375)
        socket.create_connection(address, _SECONDS).close()
