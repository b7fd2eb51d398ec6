"""Asks a Swarm's manager and its nodes whether a service like the planned one would start there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import docker.errors

from mailcrypt_component.checks.preflight.host import check_mounts, refuse_second_server
from mailcrypt_component.docker_api.connect import NOT_ANSWERING, connect, explained
from mailcrypt_component.docker_api.inspect import ask
from mailcrypt_component.docker_api.swarm import Node, find_service, known_nodes, network_id
from mailcrypt_component.model.custody import SERVER_LABEL
from mailcrypt_component.model.errors import PreflightError, UnreachableError
from mailcrypt_component.model.identity import STACK_LABEL
from mailcrypt_component.model.swarm import SERVICE_LABEL
from mailcrypt_component.model.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import DockerClient

    from mailcrypt_component.checks.preflight.plan import Plan, Previous
    from mailcrypt_component.model.swarm import Swarm


def check_swarm(plan: Plan, previous: Previous | None, say: Callable[[str], object]) -> str:
    """Check the Swarm, and each node that answers; return what was seen of the nodes.

    A node that does not answer is named and does not stop the update: Swarm places no task there.

    Raises:
        PreflightError: The service would not start, or not on each node.
        UnreachableError: The manager does not answer, or no node does.

    """
    swarm = plan.swarm
    if swarm is None:
        return ""
    known = known_nodes(swarm.manager, swarm.nodes)
    _check_managers(swarm, known)
    _check_network(plan, swarm)
    _check_service(plan, swarm)
    away = [name for name in swarm.nodes if not known[name].ready]
    for name in swarm.nodes:
        if name in away:
            continue
        try:
            client = connect(swarm.nodes[name])
        except UnreachableError as error:
            raise _on(name, error) from None
        _check_is_node(client, name)
        _pull(client, plan.image, name, say)
        _refuse_former_server(client, plan, name)
        refuse_second_server(client, plan, previous)
        check_mounts(client, plan, where=f" on node {name}")
    ready = len(swarm.nodes) - len(away)
    seen = f"; {counted(ready, 'node')} ready"
    return f"{seen}, not looked at since the Swarm lost them: {', '.join(away)}" if away else seen


def _check_managers(swarm: Swarm, known: dict[str, Node]) -> None:
    managers = [node.host_name for node in known.values() if node.manager]
    if len(managers) == 1 and managers[0] in swarm.nodes:
        raise PreflightError(
            f"{managers[0]} is the Swarm's only manager and would run the mail server, too",
            where="nodes",
            expected="a manager elsewhere, or three managers: if this machine is lost, nobody "
            "starts the server on another one",
            hint=f"remove {managers[0]} from nodes, or docker node promote two other nodes",
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


def _check_is_node(client: DockerClient, name: str) -> None:
    """Check that the engine is the node: its verdict would be about another server."""
    found = str(client.info()["Name"])
    if found != name:
        raise PreflightError(
            f"the engine there is that of {found}",
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


def _refuse_former_server(client: DockerClient, plan: Plan, node: str) -> None:
    """Refuse a container of target machine, which would have the mail store and the ports."""
    for container in client.containers.list(
        filters={"label": f"{STACK_LABEL}={plan.identity}"}, ignore_removed=True
    ):
        if SERVER_LABEL in container.labels and SERVICE_LABEL not in container.labels:
            raise PreflightError(
                f"the container {container.name} of target machine still runs",
                where=f"node {node}",
                expected="one server on a mail store at a time",
                hint=f"docker stop {container.name}, then pulumi up (senders try again for days)",
            )


def _on(node: str, error: UnreachableError) -> UnreachableError:
    return UnreachableError(
        error.found,
        where=f"nodes.{node}, {error.where}",
        expected=error.expected,
        hint=f"start it; if the machine is lost: docker node update --availability drain {node}",
    )
