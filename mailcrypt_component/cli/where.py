"""Finds a mail server on a Docker engine without a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from mailcrypt_component.model.custody import SERVER_LABEL
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.model.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailcrypt_component.model.docker_host import DockerHost

_F = TypeVar("_F", bound="Callable[..., Any]")


def container_option(command: _F) -> _F:
    """Add --docker-host and --container to a command."""
    host = click.option("--docker-host", help="unix://, tcp:// or ssh:// of the Docker engine.")
    container = click.option("--container", help="The server's container, if there are several.")
    return host(container(command))


def find_container_name(docker_host: DockerHost, name: str | None) -> str:
    """Return the name of the server on an engine: the one of this name, or the only one.

    Raises:
        UnreachableError: The engine does not answer, or there is no or more than one server.

    """
    from mailcrypt_component.docker_api.connect import connect  # noqa: PLC0415

    found = connect(docker_host).containers.list(
        filters={"label": SERVER_LABEL}, ignore_removed=True
    )
    names = sorted(one.labels[SERVER_LABEL] for one in found)
    if name is not None and name in names:
        return name
    if name is None and len(names) == 1:
        return names[0]
    raise UnreachableError(
        f"{counted(len(names), 'mail server')} found there: {', '.join(names)}"
        if names
        else "no mail server runs there",
        where=f"Docker engine {docker_host.url or 'of the environment'}",
        expected=f"a container {name}" if name else "one, or --container",
        hint=f"docker ps --all --filter label={SERVER_LABEL}",
    )
