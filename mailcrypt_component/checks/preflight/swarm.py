"""Asks a Swarm's manager and its nodes whether a service like the planned one would start there."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import docker.errors

from mailcrypt_component.checks.preflight.host import (
    check_volumes,
    own_containers,
    refuse_second_server,
    try_start,
)
from mailcrypt_component.checks.preflight.store_identity import READ_MARK
from mailcrypt_component.docker_api.connect import NOT_ANSWERING, connect, explained
from mailcrypt_component.docker_api.inspect import ask
from mailcrypt_component.docker_api.mounts import as_mount
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.docker_api.swarm import Node, find_service, known_nodes, network_id
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import PreflightError, UnreachableError
from mailcrypt_component.model.identity import STACK_LABEL
from mailcrypt_component.model.swarm import SERVICE_LABEL, SHARED_STORES
from mailcrypt_component.model.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from docker import DockerClient

    from mailcrypt_component.checks.preflight.plan import Plan, Previous
    from mailcrypt_component.model.docker_host import DockerHost
    from mailcrypt_component.model.swarm import Swarm

_MAJORITY: Final = 3
"""The least number of managers of which one may be lost."""


def check_swarm(
    plan: Plan, swarm: Swarm, previous: Previous | None, say: Callable[[str], object]
) -> tuple[str, ...]:
    """Check the Swarm, and each node that takes tasks; return the names of these.

    A node that is down or drained does not stop the update: it gets no task.

    Raises:
        PreflightError: The service would not start, or not on each node.
        UnreachableError: The manager does not answer, or a node that takes tasks does not.

    """
    known = known_nodes(swarm.manager, swarm.nodes)
    _check_managers(swarm, known)
    _check_placement(swarm, known)
    _check_network(plan, swarm)
    _check_service(plan, swarm)
    ready = tuple(name for name in swarm.nodes if known[name].takes_tasks)
    volumes: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for name in ready:
        with _engine_of(name, swarm.nodes[name]) as client:
            _check_node(client, plan, previous, name, say)
            _check_shared(client, plan, swarm, name, volumes)
    return ready


def check_mail_store(plan: Plan, swarm: Swarm, ready: Sequence[str]) -> None:
    """Check that each node reaches the mail store of this stack, which carries its mark.

    Raises:
        PreflightError: A node has another folder, or an empty one, in its place.
        UnreachableError: A node does not answer.

    """
    mount = as_mount(plan.mail, dms.MAIL_DIR, read_only=True)
    look = "findmnt --target" if plan.mail.startswith("/") else "docker volume inspect"
    for name in ready:
        with (
            _engine_of(name, swarm.nodes[name]) as client,
            throwaway(client, plan.image, mounts=[mount], purpose="preflight") as container,
        ):
            said = execute(container, ["sh", "-c", READ_MARK], timeout=plan.deadline)
        printed = said.checked(where=f"{plan.mail} on node {name}", expected="a mail store")
        if plan.identity not in printed.decode(errors="replace"):
            raise PreflightError(
                f"the folder is not this stack's mail store (it has no mark {plan.identity})",
                where=f"binds.mail {plan.mail} on node {name}",
                expected="the same storage on every node",
                hint=f"is it mounted? {look} {plan.mail}, on {name}",
            )


def seen_nodes(swarm: Swarm, ready: Sequence[str]) -> str:
    """Return in words which nodes were checked."""
    away = [name for name in swarm.nodes if name not in ready]
    not_checked = f", not checked, because they take no task now: {', '.join(away)}" if away else ""
    return f"; {counted(len(ready), 'node')} ready{not_checked}"


def _check_managers(swarm: Swarm, known: Mapping[str, Node]) -> None:
    managers = [node.host_name for node in known.values() if node.is_manager]
    both = [name for name in managers if name in swarm.nodes]
    if both and len(managers) < _MAJORITY:
        raise PreflightError(
            f"{both[0]} is one of {counted(len(managers), 'manager')} and would run the server: if "
            "it is lost, nobody starts the server elsewhere",
            where="nodes",
            expected="managers on other machines, or three of them",
            hint=f"remove {both[0]} from nodes, or docker node promote other nodes",
        )


def _check_placement(swarm: Swarm, known: Mapping[str, Node]) -> None:
    """Refuse a node that Swarm could choose and that nobody has looked at."""
    others = [
        name
        for name, node in known.items()
        if name not in swarm.nodes and node.meets(swarm.placement)
    ]
    if others:
        raise PreflightError(
            f"Swarm could also run the server on {', '.join(others)}",
            where="placement",
            expected="constraints that only the nodes in nodes meet",
            hint=f"add {', '.join(f'node.hostname!={name}' for name in others)} to placement, "
            "or add them to nodes",
        )


def _check_network(plan: Plan, swarm: Swarm) -> None:
    found = ask(swarm.manager, f"/networks/{network_id(swarm.manager, plan.network)}")
    if found["Driver"] != "overlay":
        raise PreflightError(
            f"the network {plan.network} has the driver {found['Driver']}",
            where="network",
            expected="an overlay, which spans the nodes of a Swarm",
            hint="docker network create --driver overlay --attachable NAME, on a manager",
        )


def _check_service(plan: Plan, swarm: Swarm) -> None:
    service = find_service(swarm.manager, plan.server)
    owner = service.labels.get(STACK_LABEL) if service else plan.identity
    if owner != plan.identity:
        raise PreflightError(
            "a service of this name exists, and another stack or person made it",
            where=f"service {plan.server}",
            expected="no such service, or the one that this stack made",
            hint="name this stack differently; if nobody needs it, docker service rm "
            f"{plan.server}, on a manager",
        )


def _check_node(
    client: DockerClient,
    plan: Plan,
    previous: Previous | None,
    name: str,
    say: Callable[[str], object],
) -> None:
    _check_is_node(client, name)
    _pull(client, plan.image, name, say)
    _refuse_former_server(client, plan, previous, name)
    refuse_second_server(client, plan, previous)
    check_volumes(client, plan, _on_node(name))
    try_start(client, plan, previous, where=_on_node(name))
    _check_swap(client, plan, name)


@contextmanager
def _engine_of(name: str, host: DockerHost) -> Iterator[DockerClient]:
    """Give a node's engine; what cannot be reached is named by node."""
    try:
        yield connect(host)
    except NOT_ANSWERING as error:
        raise _not_answering(name, explained(error)) from None
    except UnreachableError as error:
        if "no Docker engine answers" in error.found:
            raise _not_answering(name, error.found) from None
        raise


def _not_answering(node: str, found: str) -> UnreachableError:
    return UnreachableError(
        found,
        where=f"nodes.{node}",
        expected="the node's engine, which answers the Swarm's manager",
        hint="check the address, and from this machine: docker -H ADDRESS info",
    )


def _check_is_node(client: DockerClient, name: str) -> None:
    """Check that the engine is the node: its verdict would be about another server."""
    found = str(client.info()["Name"])
    if found != name:
        raise PreflightError(
            f"this is the engine of {found}",
            where=f"nodes.{name}",
            expected=f"the Docker engine of {name}",
            hint="docker node ls, on a manager, shows the nodes by host name",
        )


def _pull(client: DockerClient, image: str, node: str, say: Callable[[str], object]) -> None:
    """Pull the image, so that a task that moves to the node starts at once."""
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        say(f"pulling {image} on node {node}")
        try:
            client.images.pull(image)
        except NOT_ANSWERING as error:
            raise UnreachableError(
                explained(error),
                where=f"image {image} on node {node}",
                expected="an image that each node has or can pull",
                hint=f"docker pull {image}, or docker load, on {node}",
            ) from None


def _refuse_former_server(
    client: DockerClient, plan: Plan, previous: Previous | None, node: str
) -> None:
    """Refuse a container of target machine, which would have the mail store and the ports."""
    for container in own_containers(client, plan, previous):
        if container.status == "running" and SERVICE_LABEL not in container.labels:
            raise PreflightError(
                f"the container {container.name} of target machine still runs",
                where=f"node {node}",
                expected="one server on a mail store at a time",
                hint=f"docker stop {container.name}, then pulumi up (senders try again for days)",
            )


def _check_shared(
    client: DockerClient,
    plan: Plan,
    swarm: Swarm,
    node: str,
    volumes: dict[str, tuple[str, Mapping[str, Any]]],
) -> None:
    """Refuse a volume that each node has for itself, or that is another one on another node.

    ``volumes`` holds what the first node said of each, and that node's name.
    """
    for store in SHARED_STORES:
        source = plan.sources[store]
        if source.startswith("/"):
            continue
        found = client.volumes.get(source).attrs
        asked = {"driver": found["Driver"], "options": found.get("Options") or {}}
        first, expected = volumes.setdefault(store, (node, asked))
        where = f"binds.{store} {source} on node {node}"
        if asked != expected:  # The options are not shown: those of CIFS hold a password.
            raise PreflightError(
                f"its driver or options differ from those on node {first}",
                where=where,
                expected="the same storage on every node",
                hint=f"docker volume inspect {source}, on both",
            )
        own = asked["options"].get("type") == "tmpfs" or not asked["options"]
        if asked["driver"] == "local" and own and len(swarm.nodes) > 1:
            raise PreflightError(
                "a volume of that node alone",
                where=where,
                expected="storage that every node reaches",
                hint="a path where it is mounted, or a volume that mounts it: docker volume create "
                f"-o type=nfs -o o=addr=NAS,nfsvers=4 -o device=:/{store} NAME, on each node",
            )


def _on_node(name: str) -> str:
    return f" on node {name}"


def _check_swap(client: DockerClient, plan: Plan, node: str) -> None:
    """Refuse a node with swap, to which Docker lets secrets be written."""
    with throwaway(client, plan.image, purpose="preflight") as container:
        said = execute(container, ["cat", "/proc/swaps"], timeout=plan.deadline)
    printed = said.checked(where=f"/proc/swaps on node {node}", expected="an answer")
    if swaps := [line.split()[0] for line in printed.decode().splitlines()[1:]]:
        raise PreflightError(
            f"it has swap ({', '.join(swaps)}), to which the private key may be written",
            where=f"node {node}",
            expected="no swap: Swarm's secrets are memory that can be swapped out",
            hint=f"swapoff -a, on {node}",
        )
