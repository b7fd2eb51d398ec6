"""The plan to unlock a server: values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailcrypt_component.model.docker_host import DockerHost


@dataclass(frozen=True, slots=True)
class UnlockPlan:
    """A server to unlock.

    ``server`` is the container's name.  ``keys`` holds the private keys in PEM by their path in
    the container.  ``configuration`` is the text at ``configuration_path`` that names them to
    Dovecot.
    """

    docker_host: DockerHost
    server: str
    keys: tuple[tuple[str, str], ...] = field(repr=False)
    configuration: str
    configuration_path: str
