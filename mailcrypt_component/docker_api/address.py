"""Checks within a millisecond whether something listens at the address of the Docker engine."""

from __future__ import annotations

import json
import os
import pwd
import socket
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mailcrypt_component.model.errors import MailCryptError, UnreachableError

if TYPE_CHECKING:
    from mailcrypt_component.model.docker_host import DockerHost

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
DEFAULT_HOST = "unix:///var/run/docker.sock"
_SECONDS = 5.0


def address_of(docker_host: DockerHost) -> str:
    """Return the address of an engine; without one the environment's, as the provider has it.

    Raises:
        MailCryptError: ``DOCKER_CONTEXT`` names a context that cannot be read.

    """
    if docker_host.url:
        return docker_host.url
    if context := os.environ.get("DOCKER_CONTEXT"):
        return endpoint_of_context(context)
    return os.environ.get("DOCKER_HOST") or DEFAULT_HOST


def require_engine(docker_host: DockerHost) -> None:
    """Connect to the engine's socket and close it again.

    The provider checks a host over SSH, and reports its own errors.

    Raises:
        UnreachableError: Nothing listens at that address.

    """
    host = address_of(docker_host)
    try:
        _connect(host)
    except (OSError, ValueError) as error:
        raise unreachable(host, error) from None


def is_local(docker_host: DockerHost) -> bool:
    """Tell whether the engine runs on this machine."""
    url = address_of(docker_host)
    parts = urlsplit(url)
    return parts.scheme == "unix" or parts.hostname in LOCAL_NAMES


def endpoint_of_context(name: str) -> str:
    """Return the address that a Docker context names, found where the provider looks for it.

    Raises:
        MailCryptError: There is no such context for the user who runs this.

    """
    folder = Path(pwd.getpwuid(os.getuid()).pw_dir, ".docker/contexts/meta")
    try:
        text = (folder / sha256(name.encode()).hexdigest() / "meta.json").read_text()
        return str(json.loads(text)["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, KeyError, TypeError):
        raise MailCryptError(
            f"the Docker context {name}, which cannot be read",
            where="DOCKER_CONTEXT (or docker:context, or the provider's context)",
            expected=f"a context below {folder}",
            hint="docker context ls shows them; to go without one: unset DOCKER_CONTEXT",
        ) from None


def refuse_two_engines(docker_host: str, context: str) -> None:
    """Refuse an address beside a context of the environment, which the provider would follow.

    Raises:
        MailCryptError: The context names another engine than the address.

    """
    endpoint = endpoint_of_context(context)
    if endpoint != docker_host:
        raise MailCryptError(
            f"{docker_host}, while DOCKER_CONTEXT={context} names {endpoint}",
            where="dockerHost",
            expected="one Docker engine; the provider would follow the context",
            hint="unset DOCKER_CONTEXT",
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
