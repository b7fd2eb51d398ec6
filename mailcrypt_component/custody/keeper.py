"""Finds a server's keeper and checks that its volumes are memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import docker.errors

from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import KEEPER_LABEL, SERVER_LABEL
from mailcrypt_component.model.errors import CustodyError, UnreachableError
from mailcrypt_component.model.ring_file import RING_PATH, RingFile, read_ring_file

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_SECONDS: Final = 20.0
_SWAPS_HEAD: Final = "\nFilename"
"""The first word of ``/proc/swaps``, which follows the last line of ``/proc/mounts``."""


def declared_name(server: Container) -> str:
    """Return the name that a server was deployed with, whatever its container is called now."""
    return str(server.labels.get(SERVER_LABEL) or server.name)


def find_keeper(client: DockerClient, server: str) -> Container:
    """Return the running keeper of a server.

    Raises:
        CustodyError: It does not exist or run, or it belongs to another server.

    """
    name = f"{server}-keeper"
    try:
        keeper = client.containers.get(name)
    except docker.errors.NotFound:
        raise CustodyError(
            f"container {name} does not exist (removed outside Pulumi?)",
            where="keeper",
            expected="a running container that holds the keys in memory",
            hint="pulumi up --refresh",
        ) from None
    owner = keeper.labels.get(KEEPER_LABEL)
    if owner != server:
        raise CustodyError(
            f"container {name} is the keeper of {owner or 'no server'}",
            where="keeper",
            expected=f"label {KEEPER_LABEL}={server}",
            hint=f"remove or rename the container {name}, then pulumi up --refresh",
        )
    if keeper.status != "running":
        raise CustodyError(
            f"container {name} is {keeper.status}",
            where="keeper",
            expected="a running container that holds the keys in memory",
            hint=f"docker {'unpause' if keeper.status == 'paused' else 'start'} {name}",
        )
    return keeper


def find_server(client: DockerClient, server: str) -> Container | None:
    """Return the running server that was deployed with that name; None if there is none."""
    return next((one for one in servers_of(client, server) if one.status == "running"), None)


def servers_of(client: DockerClient, server: str) -> list[Container]:
    """Return the containers that were deployed with that name, whatever they are called now."""
    return client.containers.list(
        all=True, filters={"label": f"{SERVER_LABEL}={server}"}, ignore_removed=True
    )


def require_server(client: DockerClient, server: str) -> Container:
    """Return the running server of that name.

    Raises:
        CustodyError: It does not exist, does not run, or was not deployed by this project.

    """
    found = find_server(client, server)
    if found is None:
        raise CustodyError(
            f"no server of this project runs as container {server}",
            where="server",
            expected=f"a running container with label {SERVER_LABEL}={server}",
            hint=f"docker ps --all --filter label={SERVER_LABEL}",
        )
    return found


def ring_of(server: Container) -> RingFile:
    """Return the ring file of a server.

    Raises:
        CustodyError: It has none: its private keys are on disk, so it is never locked.

    """
    said = execute(server, ["cat", RING_PATH], timeout=_SECONDS)
    if said.exit_code:
        raise CustodyError(
            f"the container has no {RING_PATH}",
            where=f"container {server.name}",
            expected="a server with keyCustody: memory",
            hint="with keyCustody: disk or swarm the server is always unlocked",
        )
    return read_ring_file(said.stdout.decode(errors="replace"))


def is_locked(server: Container) -> bool:
    """Tell whether a running server lacks its private keys; never with custody on disk."""
    if execute(server, ["test", "-e", RING_PATH], timeout=_SECONDS).exit_code:
        return False
    path = ring_of(server).configuration_path
    return execute(server, ["test", "-e", path], timeout=_SECONDS).exit_code != 0


def require_memory(keeper: Container) -> None:
    """Check that the keys' folder is memory that is never written to a disk.

    Raises:
        CustodyError: It is not a tmpfs, or one that can be swapped out.
        UnreachableError: The keeper did not answer.

    """
    said = execute(keeper, ["cat", "/proc/mounts", "/proc/swaps"], timeout=_SECONDS)
    if said.exit_code or _SWAPS_HEAD not in said.stdout.decode(errors="replace"):
        raise UnreachableError(
            said.complaint,
            where=f"/proc/mounts and /proc/swaps in container {keeper.name}",
            expected="an answer to where its memory may be written",
        )
    check_memory(said.stdout.decode(errors="replace"), str(keeper.name))


def check_memory(printed: str, keeper: str) -> None:
    """Check the lines of ``/proc/mounts`` and ``/proc/swaps`` of a keeper, one after the other.

    Raises:
        CustodyError: The keys' folder is not a tmpfs, or one that can be swapped out.

    """
    mounts, _, swaps = printed.partition(_SWAPS_HEAD)
    lines = [line.split() for line in mounts.splitlines()]
    kind, options = {line[1]: (line[2], line[3]) for line in lines}.get(dms.CERTS_DIR, ("", ""))
    if kind != "tmpfs":
        raise CustodyError(
            f"{dms.CERTS_DIR} is {kind or 'no mount'}",
            where=f"container {keeper}",
            expected="a tmpfs volume",
            hint=f"docker rm -f {keeper}, then pulumi up --refresh",
        )
    files = [line.split()[0] for line in swaps.splitlines()[1:]]
    if "noswap" not in options.split(",") and files:
        raise CustodyError(
            f"the tmpfs at {dms.CERTS_DIR} can be swapped out to {', '.join(files)}",
            where=f"container {keeper}",
            expected="mount option noswap (Linux 6.4 or newer), or a host without swap",
            hint="swapoff -a on the Docker host, or keyCustody: disk",
        )
