"""Puts together what a stack needs to take over a server that was set up by hand.

The Compose project names the places of mail, accounts and configuration; Dovecot's
configuration names the keys.  The stack uses all of it in place.  This package writes nothing,
and names in a note whatever is not taken over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mailcrypt_component.adopt import notes
from mailcrypt_component.adopt.compose import mail_service, read_project
from mailcrypt_component.adopt.network import network_of, ports_of
from mailcrypt_component.adopt.old_server import read_old_server
from mailcrypt_component.adopt.other_mounts import other_mounts
from mailcrypt_component.adopt.ring import ring_in
from mailcrypt_component.adopt.service_values import (
    binds_of,
    hostname_of,
    is_secret,
    probe_address_of,
    stop_grace_of,
)
from mailcrypt_component.adopt.steps import hand_over
from mailcrypt_component.adopt.stored_mail import in_clear, stored_mail
from mailcrypt_component.docker_api.address import address_of
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mailcrypt_component.adopt.old_server import OldServer
    from mailcrypt_component.model.key_ring import RingKey
    from mailcrypt_component.store.audit import Audit


@dataclass(frozen=True, slots=True)
class Adopted:
    """The parts of a server that a stack takes over.

    ``settings`` is the stack's configuration without keys and secrets; ``secrets`` holds
    variables of the environment by name.  ``files`` are to be written, by path.  ``steps``
    are the commands that follow, each with the reason for it.
    """

    settings: Mapping[str, Any]
    secrets: Mapping[str, str] = field(repr=False)
    keys: tuple[RingKey, ...]
    files: Mapping[Path, str]
    notes: tuple[str, ...]
    steps: tuple[tuple[str, str], ...]
    mail: Audit


def read_setup(folder: Path, stack: str, service: str | None = None) -> Adopted:
    """Read the server of a folder that has a compose file.

    Args:
        folder: The folder in which ``docker compose`` is run.
        stack: The name of the stack that takes over the server.
        service: The mail server's service, if the project has several.

    Raises:
        SettingsError: There is no such server, or a part of it cannot be taken over.
        KeyFault: A key is missing, encrypted, or fits no public key.
        UnreachableError: Stored mail could not be read.

    """
    _refuse_remote_engine()
    folder = folder.resolve()
    project = read_project(folder)
    found = [f"docker compose warns: {warning}" for warning in project.warnings]
    server = read_old_server(folder, stack, project, mail_service(project, service), found.append)
    keys = ring_in(server, found.append)
    binds = dict(binds_of(server, found.append))
    mail = stored_mail(binds["mail"], server.image, keys)
    variables = server.environment
    secrets = {name: value for name, value in variables.items() if is_secret(name, value)}
    settings = _settings(server, binds, secrets, found.append)
    found += notes.of_adoption(server, in_clear(mail))
    return Adopted(
        settings=settings,
        secrets=secrets,
        keys=keys,
        files=server.rest_files,
        notes=tuple(found),
        steps=tuple(hand_over(server)),
        mail=mail,
    )


def _settings(
    server: OldServer,
    binds: Mapping[str, str],
    secrets: Mapping[str, str],
    note: Callable[[str], None],
) -> dict[str, Any]:
    variables, service = server.environment, server.service
    settings = {
        "image": server.image,
        "hostname": hostname_of(server),
        "probeAddress": probe_address_of(server),
        "binds": binds,
        "ports": ports_of(service, variables, note),
        "network": network_of(server.project, service, server.new_name, note),
        "environment": {
            name: server.moved.get(value, value)
            for name, value in variables.items()
            if name not in secrets
        },
        "mounts": list(other_mounts(server, note)),
        "stopGrace": stop_grace_of(server),
    }
    return {name: value for name, value in settings.items() if value is not None}


def _refuse_remote_engine() -> None:
    host = address_of(DockerHost())
    if not host.startswith("unix://"):
        raise SettingsError(
            f"{host} is another machine",
            where="DOCKER_HOST or DOCKER_CONTEXT",
            expected="the Docker engine of this machine, whose files are read here",
            hint="run mailcrypt adopt on the machine that runs the mail server",
        )
