"""Asks the Docker engine what a server is doing now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import docker.errors

from mailcrypt_component.docker_api.connect import NOT_ANSWERING, connect, explained, moment
from mailcrypt_component.model.errors import ProofError, UnreachableError

if TYPE_CHECKING:
    from docker.models.containers import Container

    from mailcrypt_component.checks.proof.target import Target

RUNNING: Final = "running"


class ServerGoneError(UnreachableError):
    """The container that was deployed does not exist any more."""


class NotRunningError(ProofError):
    """The container exists, and does not run."""


@dataclass(frozen=True, slots=True)
class ServerState:
    """A container's state: Docker's word for it, its health, and when it was started.

    ``health`` is Docker's, too: "healthy", "unhealthy", "starting", or "none" where the
    container has no health check.  ``started`` is in Unix time.
    """

    container: Container
    status: str
    health: str
    started: float

    @property
    def running(self) -> bool:
        """Whether it runs, and does not start again and again."""
        return self.status == RUNNING


def find_container(target: Target, *, hint: str = "pulumi up --refresh") -> Container:
    """Return the deployed container as it is now.

    Args:
        target: The server.
        hint: The command that brings back a container that was removed.

    Raises:
        ServerGoneError: It does not exist any more.
        UnreachableError: The engine does not answer.

    """
    try:
        return connect(target.docker_host).containers.get(target.container)
    except docker.errors.NotFound:
        raise ServerGoneError(
            "the container was removed",
            where=f"container {target.container[:12]}",
            expected="the container of the last update",
            hint=hint,
        ) from None
    except NOT_ANSWERING as error:
        raise UnreachableError(explained(error), where=f"container {target.container}") from None


def ask_server_state(target: Target, *, hint: str = "pulumi up --refresh") -> ServerState:
    """Return what the deployed container is doing now.

    Args:
        target: The server.
        hint: The command that brings back a container that was removed.

    Raises:
        ServerGoneError: It does not exist any more.
        UnreachableError: The engine does not answer.

    """
    container = find_container(target, hint=hint)
    state = container.attrs["State"]
    return ServerState(
        container=container,
        status="restarting" if state.get("Restarting") else container.status,
        health=(state.get("Health") or {}).get("Status", "none"),
        started=moment(state["StartedAt"]).timestamp(),
    )


def require_running(target: Target, *, hint: str = "pulumi up --refresh") -> ServerState:
    """Return what the deployed container is doing now; it must run.

    Args:
        target: The server.
        hint: The command that brings it back.

    Raises:
        NotRunningError: It does not run.
        ServerGoneError: It does not exist any more.
        UnreachableError: The engine does not answer.

    """
    found = ask_server_state(target, hint=hint)
    if not found.running:
        raise NotRunningError(
            f"the container does not run ({found.status})",
            where=f"container {found.container.name}",
            expected="a running server",
            hint=hint,
        )
    return found
