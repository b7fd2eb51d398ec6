"""Locks a server at once: removes the keys from memory and ends every session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailcrypt_component.custody.keeper import find_keeper, ring_of, servers_of
from mailcrypt_component.custody.reload import reload_dovecot
from mailcrypt_component.docker_api.connect import NOT_ANSWERING, connect, explained
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import CustodyError, UnreachableError

if TYPE_CHECKING:
    from docker.models.containers import Container

    from mailcrypt_component.model.docker_host import DockerHost

_SECONDS: Final = 30.0


def lock(docker_host: DockerHost, server: str) -> str:
    """Remove the private keys from memory; return one line about the result.

    This restarts the keeper, so that the next update notices and unlocks the server.

    Raises:
        CustodyError: The keeper is missing or belongs to another server, the server is paused,
            or its keys are on disk.
        UnreachableError: The engine did not answer, or a key could not be removed.

    """
    client = connect(docker_host)
    servers = servers_of(client, server)
    for one in servers:
        _refuse_paused(one)
    running = [one for one in servers if one.status == "running"]
    for one in running:
        ring_of(one)  # With custody on disk there is nothing to lock.
    keeper = find_keeper(client, server)
    removal = ["find", dms.CERTS_DIR, "-mindepth", "1", "-delete"]
    execute(keeper, removal, timeout=_SECONDS).checked(
        where=f"find in container {keeper.name}", hint="run mailcrypt lock again"
    )
    try:
        for one in running:
            reload_dovecot(one, end_sessions=True)
    finally:
        _restart(keeper)
    return f"{server} is locked: it accepts and encrypts mail, but no mail can be read"


def _refuse_paused(server: Container) -> None:
    if server.status == "paused":
        raise CustodyError(
            "the server is paused, and would go on with the keys that it has read",
            where=f"container {server.name}; nothing was changed",
            expected="a server that runs or is stopped",
            hint=f"docker unpause {server.name}, then run mailcrypt lock again",
        )


def _restart(keeper: Container) -> None:
    try:
        keeper.restart(timeout=1)
    except NOT_ANSWERING as error:
        raise UnreachableError(
            explained(error),
            where=f"container {keeper.name}",
            expected="a restart, by which the next update notices that it is locked",
            hint=f"docker restart {keeper.name}",
        ) from None
