"""A server that Docker Swarm schedules: values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.model.docker_host import DockerHost, docker_host_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class Platform(StrEnum):
    """What runs the server."""

    MACHINE = "machine"
    """One Docker engine."""
    SWARM = "swarm"
    """The nodes of a Docker Swarm, one at a time."""


SERVICE_LABEL: Final = "com.docker.swarm.service.name"
"""Docker's label of every container that a service has made."""

SHARED_STORES: Final = ("mail", "state", "config")
"""The stores that every node has to reach; logs may stay on each node."""

LOCK_PATH: Final = "/var/mail/.mailcrypt-server"
"""The file that a task locks while it has the mail store."""

ONLY_SERVER_SCRIPT: Final = "/usr/local/bin/mailcrypt-only-server"
"""Starts the server in a task as soon as no other task has the mail store."""


@dataclass(frozen=True, slots=True)
class Swarm:
    """Where the task of a server's service may run.

    ``manager`` is the engine that the resources are declared on, ``nodes`` the engines that may run
    the task, by the host name that ``docker node ls`` shows.  ``placement`` are the constraints of
    the service.
    """

    manager: DockerHost
    service: str
    nodes: Mapping[str, DockerHost]
    placement: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values for ``swarm_of``."""
        return {
            "manager": self.manager.as_json(),
            "service": self.service,
            "nodes": {name: host.as_json() for name, host in self.nodes.items()},
        }


def swarm_of(facts: Mapping[str, Any]) -> Swarm:
    """Make it from the values that ``as_json`` returned."""
    return Swarm(
        manager=docker_host_of(facts["manager"]),
        service=facts["service"],
        nodes={name: docker_host_of(host) for name, host in facts["nodes"].items()},
    )
