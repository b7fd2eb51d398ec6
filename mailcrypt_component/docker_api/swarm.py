"""Asks a Swarm's manager where a service's task runs, with the standard library alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from mailcrypt_component.docker_api.address import address_of
from mailcrypt_component.docker_api.inspect import ask
from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mailcrypt_component.model.docker_host import DockerHost

_ALIVE: Final = ("starting", "running")
_CHANGING: Final = ("updating", "rollback_started")


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the Swarm.

    ``answers`` is whether it answers the manager, ``takes_tasks`` whether new tasks may go there,
    too.  ``properties`` are what a constraint can name, such as ``node.role``.
    """

    node_id: str
    host_name: str
    answers: bool
    takes_tasks: bool
    properties: Mapping[str, str]

    @property
    def is_manager(self) -> bool:
        """Whether it manages the Swarm."""
        return self.properties["node.role"] == "manager"

    def meets(self, constraints: Sequence[str]) -> bool:
        """Tell whether a task with these constraints may run there."""
        return all(map(self._meets, constraints))

    def _meets(self, constraint: str) -> bool:
        equal = "==" in constraint
        name, _, value = constraint.partition("==" if equal else "!=")
        found = self.properties.get(name.strip(), "")
        return (found.lower() == value.strip().lower()) == equal


@dataclass(frozen=True, slots=True)
class Task:
    """The task of a service that is meant to run now.

    ``container`` is empty until the node has made it.  ``fault`` says why it does not run, or why
    that is not known.
    """

    node: str
    container: str
    fault: str


@dataclass(frozen=True, slots=True)
class Service:
    """A service: its labels and replicas, and Docker's word for the state of its last update.

    ``digest`` changes with whatever is declared of it.
    """

    labels: Mapping[str, str]
    replicas: int
    update: str
    digest: str

    @property
    def changing(self) -> bool:
        """Whether an update of it is under way."""
        return self.update in _CHANGING

    @property
    def rolled_back(self) -> bool:
        """Whether Swarm has gone back to what the service was before its last update."""
        return self.update.startswith("rollback")


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
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    return Service(spec.get("Labels") or {}, int(replicas), state, digest)


def find_task(manager: DockerHost, service: str) -> Task | None:
    """Return the task of a service that is meant to run now; None if there is none.

    Raises:
        UnreachableError: The engine does not answer, or is no manager.

    """
    tasks = _tasks(manager, {"service": [service], "desired-state": ["running"]})
    assigned = [task for task in tasks if task.get("NodeID")]
    if not assigned:
        return None
    newest = max(assigned, key=lambda task: str(task["CreatedAt"]))
    status = newest["Status"]
    names = {node.node_id: node for node in nodes_of(manager)}
    node = names.get(newest["NodeID"])
    fault = status.get("Err") or ""
    if status["State"] not in _ALIVE:
        fault = fault or f"the task is {status['State']}"
    elif node is None or not node.answers:
        fault = "the node does not answer the manager"
    return Task(
        node=node.host_name if node else newest["NodeID"],
        container=(status.get("ContainerStatus") or {}).get("ContainerID", ""),
        fault=fault,
    )


def has_live_task(manager: DockerHost, service: str) -> bool:
    """Tell whether any task of a service still runs, meant to or not.

    Raises:
        UnreachableError: The engine does not answer, or is no manager.

    """
    found = _tasks(manager, {"service": [service]})
    return any(task["Status"]["State"] in _ALIVE for task in found)


def _tasks(manager: DockerHost, wanted: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return ask(manager, f"/tasks?filters={quote(json.dumps(wanted))}") or []


def nodes_of(manager: DockerHost) -> tuple[Node, ...]:
    """Return the nodes of the Swarm.

    Raises:
        UnreachableError: The engine does not answer, or is no manager.

    """
    require_manager(manager)
    return tuple(
        Node(
            node_id=node["ID"],
            host_name=_host_name(node),
            answers=node["Status"]["State"] == "ready",
            takes_tasks=node["Status"]["State"] == "ready"
            and node["Spec"]["Availability"] == "active",
            properties=_properties(node),
        )
        for node in ask(manager, "/nodes") or []
    )


def _host_name(node: Mapping[str, Any]) -> str:
    """Return a node's host name; an empty text if it joined and never connected."""
    return str((node.get("Description") or {}).get("Hostname", ""))


def _properties(node: Mapping[str, Any]) -> dict[str, str]:
    spec, description = node["Spec"], node.get("Description") or {}
    labels = (description.get("Engine") or {}).get("Labels") or {}
    platform = description.get("Platform") or {}
    return {
        "node.id": node["ID"],
        "node.hostname": _host_name(node),
        "node.role": spec["Role"],
        "node.platform.os": platform.get("OS", ""),
        "node.platform.arch": platform.get("Architecture", ""),
        **{f"node.labels.{name}": value for name, value in (spec.get("Labels") or {}).items()},
        **{f"engine.labels.{name}": value for name, value in labels.items()},
    }


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
    if task and task.node in nodes and known[task.node].answers:
        return nodes[task.node]
    for name, host in nodes.items():
        if known[name].takes_tasks:
            return host
    takers = [name for name, node in known.items() if node.takes_tasks]
    raise UnreachableError(
        f"none of {', '.join(nodes)} takes a task",
        where="nodes",
        expected=f"a node that is ready and active ({', '.join(sorted(takers)) or 'none is'})",
        hint="docker node ls, on a manager, shows the nodes by host name",
    )


def nodes_that_take_tasks(manager: DockerHost, declared: Iterable[str]) -> list[str]:
    """Return the declared nodes that are ready and active.

    Raises:
        UnreachableError: The manager does not answer, or does not know a declared node.

    """
    names = sorted(declared)
    known = known_nodes(manager, names)
    return [name for name in names if known[name].takes_tasks]


def known_nodes(manager: DockerHost, declared: Iterable[str]) -> dict[str, Node]:
    """Return the Swarm's nodes by host name; each declared one must be among them.

    Raises:
        UnreachableError: The manager does not answer, or does not know a declared node.

    """
    # A machine that was set up anew and joined again is there twice; the one that answers counts.
    found = sorted(nodes_of(manager), key=lambda node: node.answers)
    known = {node.host_name: node for node in found if node.host_name}
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
