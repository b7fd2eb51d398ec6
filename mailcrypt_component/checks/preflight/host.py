"""Asks the Docker host whether a container like the planned one would start there.

Network, mounts and ports are tried with a container that ends at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import docker.errors

from mailcrypt_component.docker_api.connect import NOT_ANSWERING, explained
from mailcrypt_component.docker_api.mounts import as_mount
from mailcrypt_component.docker_api.throwaway import THROWAWAY_LABEL, throwaway
from mailcrypt_component.model.custody import SERVER_LABEL
from mailcrypt_component.model.errors import PreflightError, UnreachableError
from mailcrypt_component.model.identity import STACK_LABEL
from mailcrypt_component.model.settings import BIND_TARGETS
from mailcrypt_component.model.swarm import SERVICE_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient
    from docker.models.containers import Container
    from docker.types import Mount

    from mailcrypt_component.checks.preflight.plan import Plan, Previous
    from mailcrypt_component.model.settings import PortSettings

_NO_NETWORK_OF_ITS_OWN: Final = ("host", "null")
_MISSING_PATH: Final = re.compile(r"bind source path does not exist: (\S+)")
_PORT_TAKEN: Final = re.compile(
    r"port is already allocated|address already in use|cannot assign requested address"
)


def check_host(client: DockerClient, plan: Plan, previous: Previous | None) -> None:
    """Check name, network and volumes, then start a container that ends at once.

    Raises:
        PreflightError: The planned container would not start.

    """
    _check_name(client, plan, previous)
    _check_network(client, plan)
    check_volumes(client, plan)
    try_start(client, plan, previous)


def try_start(client: DockerClient, plan: Plan, previous: Previous | None, where: str = "") -> None:
    """Start a container with the planned mounts and ports that ends at once.

    Raises:
        PreflightError: The planned container would not start; ``where`` ends the setting's name.

    """
    wanted = _new_bindings(client, plan, previous)
    ports: dict[str, list[tuple[str, int]]] = {}
    for port in wanted:
        # One container port takes all bindings: which one it is makes no difference here.
        ports.setdefault("1/tcp", []).append((port.address, port.external))
    try:
        with throwaway(
            client,
            plan.image,
            mounts=planned_mounts(plan),
            purpose="preflight",
            waiting=["true"],
            # Publishing a port needs a network; an overlay is not there before a task uses it.
            network="bridge" if plan.swarm else plan.network,
            hostname=plan.hostname,
            ports=ports,
        ):
            pass
    except UnreachableError as error:
        if error.where == "image":
            raise
        refusal = _refusal(plan, wanted, error)
        raise PreflightError(
            refusal.found,
            where=f"{refusal.where}{where}",
            expected=refusal.expected,
            hint=refusal.hint,
        ) from None


def planned_mounts(plan: Plan, *, without: str = "") -> list[Mount]:
    """Return all planned mounts but one target, read-only.

    A mount below which another one lies is writable: Docker makes the mount point in it.
    """
    targets = {BIND_TARGETS[name]: source for name, source in plan.sources.items()}
    targets |= {mount.target: mount.source for mount in plan.mounts}
    targets.pop(without, None)
    return [
        as_mount(
            source, target, read_only=not any(each.startswith(f"{target}/") for each in targets)
        )
        for target, source in targets.items()
    ]


def own_containers(
    client: DockerClient, plan: Plan, previous: Previous | None
) -> Iterator[Container]:
    """Yield this stack's own containers, running or not.

    A server of a version that did not label its stack is our own if this stack has deployed one.
    """
    for container in client.containers.list(
        all=True, filters={"label": SERVER_LABEL}, ignore_removed=True
    ):
        stack = container.labels.get(STACK_LABEL)
        unlabelled = stack is None and previous is not None and previous.identity is None
        if stack == plan.identity or (unlabelled and container.labels[SERVER_LABEL] == plan.server):
            yield container


def _check_name(client: DockerClient, plan: Plan, previous: Previous | None) -> None:
    try:
        found = client.containers.get(plan.server)
    except docker.errors.NotFound:
        return
    if found.id in {own.id for own in own_containers(client, plan, previous)}:
        return
    raise PreflightError(
        "a container of this name exists, and another stack or person made it",
        where=f"container {plan.server}",
        expected="no such container, or the one that this stack made",
        hint="deploy from the checkout and backend that made it, or name this stack differently; "
        f"if nobody needs it, docker rm -f {plan.server}",
    )


def _check_network(client: DockerClient, plan: Plan) -> None:
    found = [each for each in client.networks.list() if plan.network in {each.name, each.id}]
    if not found:
        raise PreflightError(
            f"the network {plan.network} does not exist",
            where="network",
            expected="an existing network, or no setting network",
            hint=f"docker network ls shows them; docker network create {plan.network}",
        )
    if found[0].attrs["Driver"] in _NO_NETWORK_OF_ITS_OWN or found[0].name == "bridge":
        raise PreflightError(
            f"the network {plan.network}, which Docker defines itself",
            where="network",
            expected="a network that was made with docker network create",
            hint="remove the setting network to get a network of the server's own",
        )


def check_volumes(client: DockerClient, plan: Plan, where: str = "") -> None:
    """Refuse a missing volume: Docker would make an empty one without a word.

    Raises:
        PreflightError: A volume does not exist; ``where`` ends the setting's name.

    """
    existing = {volume.name for volume in client.volumes.list()}
    sources = {f"binds.{name}": source for name, source in plan.sources.items()}
    sources |= {f"mounts[{index}].source": mount.source for index, mount in enumerate(plan.mounts)}
    for setting, source in sources.items():
        made = plan.swarm is not None and source == f"{plan.server}-logs"  # Swarm makes it.
        if not source.startswith("/") and source not in existing and not made:
            raise PreflightError(
                f"the volume {source} does not exist",
                where=f"{setting}{where}",
                expected="an existing volume, or an absolute path on the Docker host",
                hint=f"docker volume ls shows them; docker volume create {source}",
            )


def _new_bindings(
    client: DockerClient, plan: Plan, previous: Previous | None
) -> list[PortSettings]:
    """Return the bindings to try: our own running server holds the others until it is replaced."""
    held = [
        (binding["HostIp"], int(binding["HostPort"]))
        for container in own_containers(client, plan, previous)
        for bindings in filter(None, container.ports.values())
        for binding in bindings
    ]
    return [
        port
        for port in plan.ports
        if not any(_overlap(port, address, number) for address, number in held)
    ]


def _overlap(port: PortSettings, address: str, number: int) -> bool:
    """Tell whether two bindings exclude each other: same port, and an address in common."""
    if port.external != number or (":" in port.address) != (":" in address):
        return False
    return port.address == address or {"0.0.0.0", "::"} & {port.address, address} != set()  # noqa: S104


def _refusal(plan: Plan, wanted: list[PortSettings], error: UnreachableError) -> PreflightError:
    """Return the engine's refusal with the setting that caused it."""
    missing = _MISSING_PATH.search(error.found)
    if missing:
        path = missing.group(1)
        return PreflightError(
            f"{path} does not exist on the Docker host",
            where=_setting_of(plan, path),
            expected="an existing file or directory",
            hint=f"check the path, or on the Docker host: mkdir -p {path}",
        )
    if _PORT_TAKEN.search(error.found):
        return PreflightError(
            error.found,
            where=f"ports {', '.join(port.binding for port in wanted)}",
            expected="addresses of the Docker host, and ports that nothing else listens on",
            hint="ss -ltnp on the Docker host shows what holds a port; stop it, or choose "
            "another port or address in ports",
        )
    return PreflightError(
        error.found,
        where=f"a container with network {plan.network}, hostname {plan.hostname} and all mounts",
        expected="a container that starts on this Docker host",
        hint="change the setting that the engine's message names, then pulumi up",
    )


def _setting_of(plan: Plan, path: str) -> str:
    for index, mount in enumerate(plan.mounts):
        if mount.source == path:
            return f"mounts[{index}].source"
    return next((f"binds.{name}" for name, source in plan.sources.items() if source == path), path)


def refuse_second_server(client: DockerClient, plan: Plan, previous: Previous | None) -> None:
    """Refuse a mail store that another running server has mounted for writing.

    Raises:
        PreflightError: There is such a server.

    """
    own = set()
    for container in own_containers(client, plan, previous):
        own.add(container.id)
        service = container.labels.get(SERVICE_LABEL)
        if plan.swarm is None and service and container.status == "running":
            raise PreflightError(
                f"a task of the service {service} of target swarm still runs here",
                where=f"container {container.name}",
                expected="one server on a mail store at a time",
                hint=f"docker service rm {service}, on a manager, then pulumi up --refresh",
            )
    try:
        running = client.containers.list(ignore_removed=True)
    except NOT_ANSWERING as error:
        raise UnreachableError(explained(error), where="docker ps") from None
    for container in running:
        if container.id in own or THROWAWAY_LABEL in container.labels:
            continue
        if _writes_mail(container, plan.mail):
            raise PreflightError(
                f"the container {container.name} runs with this mail store",
                where=f"mail store {plan.mail}",
                expected="no other mail server that writes into it",
                hint=f"docker update --restart=no {container.name} && "
                f"docker stop {container.name}, or choose another binds.mail",
            )


def _writes_mail(container: Container, mail: str) -> bool:
    return any(
        mount["Destination"].rstrip("/") == BIND_TARGETS["mail"]
        and mail in {mount.get("Name"), mount.get("Source", "").rstrip("/")}
        and mount["RW"]
        for mount in container.attrs["Mounts"]
    )
