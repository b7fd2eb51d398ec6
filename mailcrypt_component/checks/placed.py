"""Finds the container of a server that Docker Swarm schedules, on whatever node it is now."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mailcrypt_component.checks.server_state import NotRunningError, ServerGoneError
from mailcrypt_component.docker_api.swarm import find_service, find_task
from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from mailcrypt_component.checks.proof.target import Target
    from mailcrypt_component.docker_api.swarm import Service, Task
    from mailcrypt_component.model.docker_host import DockerHost
    from mailcrypt_component.model.swarm import Swarm

_PAUSE: Final = 0.5


def placed(target: Target, *, wait: float = 0.0) -> Target:
    """Return the target with the engine and the container of the task that runs now.

    Args:
        target: A server; one that is not on a Swarm is returned as it is.
        wait: Seconds to wait for a task that is being made, moved or updated.

    Raises:
        ServerGoneError: The service does not exist any more.
        NotRunningError: No task of it runs; the message says what its node says.
        UnreachableError: The manager does not answer, or ``nodes`` lacks the task's node.

    """
    swarm = target.swarm
    if swarm is None:
        return target
    end = time.monotonic() + wait
    while True:
        try:
            host, container = _find(swarm)
            return replace(target, docker_host=host, container=container)
        except NotRunningError:
            if time.monotonic() > end or service_of(swarm).replicas != 1:
                raise
            time.sleep(_PAUSE)


def service_of(swarm: Swarm) -> Service:
    """Return the service.

    Raises:
        ServerGoneError: It does not exist any more.
        UnreachableError: The manager does not answer.

    """
    service = find_service(swarm.manager, swarm.service)
    if service is None:
        raise ServerGoneError(
            "the service was removed",
            where=f"service {swarm.service}",
            expected="the service of the last update",
            hint="pulumi up --refresh",
        )
    return service


def _find(swarm: Swarm) -> tuple[DockerHost, str]:
    where = f"service {swarm.service}"
    service = service_of(swarm)
    task = find_task(swarm.manager, swarm.service)
    fault = _fault(service, task)
    if task is None or fault:
        raise NotRunningError(
            fault, where=where, expected="a task that runs", hint=_hint(service, swarm.service)
        )
    if task.node not in swarm.nodes:
        raise UnreachableError(
            f"its task runs on node {task.node}, whose Docker host is not known",
            where=where,
            expected=f"a node of {', '.join(swarm.nodes)}",
            hint=f"add {task.node} to nodes, or keep the task away from it with placement",
        )
    return swarm.nodes[task.node], task.container


def _fault(service: Service, task: Task | None) -> str:
    """Say why the task is not the server that was declared; an empty text where it is."""
    if service.replicas != 1:
        return f"it was scaled to {service.replicas}"
    if service.changing:
        return "an update of it is under way"
    if service.rolled_back:
        return "Swarm has gone back to the version before the last update"
    if task is None:
        return "no node takes its task"
    if task.fault or not task.container:
        return f"on node {task.node}: {task.fault or 'its container is being made'}"
    return ""


def _hint(service: Service, name: str) -> str:
    if service.replicas != 1:
        return "pulumi up --refresh"
    if service.rolled_back and not service.changing:
        # Where nothing differs from the declaration, an update by Pulumi would not clear this.
        return f"pulumi up --refresh; if it changes nothing: docker service update --force {name}"
    return f"docker service ps --no-trunc {name}, on a manager"
