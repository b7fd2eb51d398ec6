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
        wait: Seconds to wait for a task that is being moved or updated.

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
            if time.monotonic() > end:
                raise
            time.sleep(_PAUSE)


def _find(swarm: Swarm) -> tuple[DockerHost, str]:
    where = f"service {swarm.service}"
    service = find_service(swarm.manager, swarm.service)
    if service is None:
        raise ServerGoneError(
            "the service was removed",
            where=where,
            expected="the service of the last update",
            hint="pulumi up --refresh",
        )
    task = find_task(swarm.manager, swarm.service)
    if (
        task is None
        or task.fault
        or not task.container
        or service.changing
        or service.replicas == 0
    ):
        raise NotRunningError(
            _reason(service, task),
            where=where,
            expected="a task that runs",
            hint="pulumi up --refresh"
            if service.replicas == 0
            else f"docker service ps --no-trunc {swarm.service}, on a manager",
        )
    if task.node not in swarm.nodes:
        raise UnreachableError(
            f"its task runs on node {task.node}, whose Docker host is not known",
            where=where,
            expected=f"a node of {', '.join(swarm.nodes)}",
            hint=f"add {task.node} to nodes, or keep the task away from it with placement",
        )
    return swarm.nodes[task.node], task.container


def _reason(service: Service, task: Task | None) -> str:
    if service.replicas == 0:
        return "it was scaled to 0"
    if service.changing:
        return "an update of it is under way"
    if task is None:
        return "no node takes its task"
    return f"on node {task.node}: {task.fault or 'its container is being made'}"
