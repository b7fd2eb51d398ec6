"""Asks a Swarm's manager where a service's task runs, with the standard library alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from mailcrypt_component.docker_api.address import address_of
from mailcrypt_component.docker_api.inspect import ask
from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mailcrypt_component.model.docker_host import DockerHost

_ALIVE: Final = ("starting", "running")
_CHANGING: Final = ("updating", "rollback_started")


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the Swarm; ``ready`` means that it answers the manager and takes tasks."""

    node_id: str
    host_name: str
    ready: bool
    manager: bool


@dataclass(frozen=True, slots=True)
class Task:
    """The task of a service that is meant to run now.

    ``container`` is empty until the node has made it.  ``fault`` says why it does not run, or why
    that is not known.
    """

    task_id: str
    node: str
    container: str
    fault: str

    def as_fact(self) -> dict[str, Any]:
        """Return it as plain values that change whenever another container is the server."""
        return {"node": self.node, "container": self.container, "running": not self.fault}


@dataclass(frozen=True, slots=True)
class Service:
    """A service: its labels, whether an update of it is under way, and its replicas."""

    labels: Mapping[str, str]
    changing: bool
    replicas: int


def find_service(manager: DockerHost, name: str) -> Service | None:
    """Return a service; None if there is none of this name.

    Raises:
        UnreachableError: The engine does not answer, or is no manager.

    """
    require_manager(manager)
    found = ask(manager, f"/services/{quote(name)}")
    if found is None:
        return None
    spec = found["Spec"]
    state = (found.get("UpdateStatus") or {}).get("State", "")
    replicas = spec["Mode"].get("Replicated", {}).get("Replicas", 0)
    return Service(spec.get("Labels") or {}, state in _CHANGING, int(replicas))


def find_task(manager: DockerHost, service: str) -> Task | None:
    """Return the task of a service that is meant to run now; None if there is none.

    Raises:
        UnreachableError: The engine does not answer, or is no manager.

    """
    wanted = {"service": [service], "desired-state": ["running"]}
    tasks = ask(manager, f"/tasks?filters={quote(json.dumps(wanted))}")
    assigned = [task for task in tasks or [] if task.get("NodeID")]
    if not assigned:
        return None
    newest = max(assigned, key=lambda task: str(task["CreatedAt"]))
    status = newest["Status"]
    names = {node.node_id: node for node in nodes_of(manager)}
    node = names.get(newest["NodeID"])
    fault = status.get("Err") or ""
    if status["State"] not in _ALIVE:
        fault = fault or f"the task is {status['State']}"
    elif node is None or not node.ready:
        fault = "the node does not answer the manager"
    return Task(
        task_id=newest["ID"],
        node=node.host_name if node else newest["NodeID"],
        container=(status.get("ContainerStatus") or {}).get("ContainerID", ""),
        fault=fault,
    )


def nodes_of(manager: DockerHost) -> tuple[Node, ...]:
    """Return the nodes of the Swarm.

    Raises:
        UnreachableError: The engine does not answer, or is no manager.

    """
    require_manager(manager)
    return tuple(
        Node(
            node_id=node["ID"],
            host_name=node["Description"]["Hostname"],
            ready=node["Status"]["State"] == "ready" and node["Spec"]["Availability"] == "active",
            manager=node["Spec"]["Role"] == "manager",
        )
        for node in ask(manager, "/nodes") or []
    )


def engine_of_task(
    manager: DockerHost, service: str, nodes: Mapping[str, DockerHost]
) -> DockerHost:
    """Return the engine of the node that runs a service's task, else of one that could.

    Args:
        manager: The engine of a manager.
        service: The service, which may not exist yet.
        nodes: The engines that may run it, by the node's host name.

    Raises:
        UnreachableError: The manager does not answer, or no declared node is there and ready.

    """
    task = find_task(manager, service)
    known = known_nodes(manager, nodes)
    ready = {name for name, node in known.items() if node.ready}
    if task and task.node in nodes and task.node in ready:
        return nodes[task.node]
    for name, host in nodes.items():
        if name in ready:
            return host
    raise UnreachableError(
        f"of {', '.join(nodes)}, none is ready",
        where="nodes",
        expected=f"a node that takes tasks ({', '.join(sorted(ready)) or 'there is none'})",
        hint="docker node ls, on a manager, shows the nodes by host name",
    )


def known_nodes(manager: DockerHost, declared: Iterable[str]) -> dict[str, Node]:
    """Return the Swarm's nodes by host name; each declared one must be among them.

    Raises:
        UnreachableError: The manager does not answer, or does not know a declared node.

    """
    known = {node.host_name: node for node in nodes_of(manager)}
    if missing := [name for name in declared if name not in known]:
        raise UnreachableError(
            f"the Swarm has no node {', '.join(missing)}",
            where="nodes",
            expected=f"host names of {', '.join(sorted(known))}",
            hint="docker node ls, on a manager, shows them; docker swarm join adds one",
        )
    return known


def network_id(manager: DockerHost, name: str) -> str:
    """Return the id of a network that the Swarm's manager knows.

    Raises:
        UnreachableError: The engine does not answer, or has no such network.

    """
    found = ask(manager, f"/networks/{quote(name)}")
    if found is None:
        raise UnreachableError(
            f"the network {name} does not exist",
            where="network",
            expected="an existing network, or no setting network",
            hint=f"docker network create --driver overlay --attachable {name}, on a manager",
        )
    return str(found["Id"])


def locks_managers(manager: DockerHost) -> bool:
    """Tell whether a manager that starts has to be unlocked by hand (autolock).

    Raises:
        UnreachableError: The engine does not answer, or is no manager.

    """
    require_manager(manager)
    spec = (ask(manager, "/swarm") or {}).get("Spec") or {}
    return bool((spec.get("EncryptionConfig") or {}).get("AutoLockManagers"))


def require_manager(docker_host: DockerHost) -> None:
    """Check that an engine manages a Swarm.

    Raises:
        UnreachableError: It does not answer, or it does not.

    """
    swarm = (ask(docker_host, "/info") or {}).get("Swarm") or {}
    if swarm.get("ControlAvailable"):
        return
    state = swarm.get("LocalNodeState") or "inactive"
    found = "it is a worker" if state == "active" else f"its Swarm is {state}"
    hints = {
        "locked": "docker swarm unlock, on that machine",
        "active": "name a manager as dockerHost; docker node ls, on a manager, shows them",
    }
    raise UnreachableError(
        found,
        where=f"Docker engine {address_of(docker_host)}",
        expected="a manager of a Docker Swarm that has a majority (target: swarm)",
        hint=hints.get(state, "docker swarm init, on that machine"),
    )
