"""Runs containers that are removed after use, even if this program is killed."""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

import docker.errors
import docker.types

from mailcrypt_component.docker_api.connect import NOT_ANSWERING, explained, moment
from mailcrypt_component.docker_api.files import File, put_files
from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from docker import DockerClient
    from docker.models.containers import Container

THROWAWAY_LABEL: Final = "mailcrypt.throwaway"
"""The label of every throw-away container; its value is the Unix time at which it expires."""

_START_SECONDS: Final = 60
"""The age in seconds at which a container that never started was left by a killed run."""


@contextmanager
def throwaway(
    client: DockerClient,
    image: str,
    *,
    mounts: Sequence[docker.types.Mount] = (),
    files: Sequence[File] = (),
    purpose: str,
    lifetime: int = 600,
    waiting: Sequence[str] = (),
    network: str | None = None,
    hostname: str | None = None,
    ports: Mapping[str, Sequence[tuple[str, int]]] | None = None,
) -> Iterator[Container]:
    """Run a container of the image that only waits, and remove it afterwards.

    The container removes itself after ``lifetime`` seconds, or when the command ``waiting``
    ends.  Each run first removes the containers that a killed program left before it could
    start them.  Without ``network`` the container has none.

    Raises:
        UnreachableError: The image does not exist, or the engine refused.

    """
    _sweep(client)
    try:
        container = client.containers.create(
            image,
            entrypoint=list(waiting) or ["sleep", str(lifetime)],
            command=[],
            name=f"mailcrypt-{purpose}-{secrets.token_hex(4)}",
            network=network or "none",
            hostname=hostname,
            ports=cast("Any", ports),  # Its type omits lists of bindings.
            mounts=list(mounts),
            labels={THROWAWAY_LABEL: str(int(time.time()) + lifetime)},
            healthcheck={"test": ["NONE"]},
            init=True,
            auto_remove=True,
        )
    except docker.errors.ImageNotFound:
        raise UnreachableError(
            f"the image {image} does not exist",
            where="image",
            expected="an image that the Docker host has or can pull",
            hint=f"docker pull {image}",
        ) from None
    except NOT_ANSWERING as error:
        raise UnreachableError(explained(error), where=f"image {image}") from None
    try:
        put_files(container, files)
        _start(container)
        yield container
    finally:
        _remove(container)


def _start(container: Container) -> None:
    try:
        container.start()
    except NOT_ANSWERING as error:
        raise UnreachableError(
            explained(error),
            where=f"container {container.name}",
            expected="a container that starts",
        ) from None


def _remove(container: Container) -> None:
    try:
        container.remove(force=True, v=True)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code != HTTPStatus.CONFLICT:  # The engine is removing it.
            raise UnreachableError(
                explained(error), where=f"container {container.name}", expected="its removal"
            ) from None
    except (
        NOT_ANSWERING
    ):  # What the engine was asked before has said so; the container ends itself.
        return


def _sweep(client: DockerClient) -> None:
    for container in client.containers.list(
        all=True, filters={"label": THROWAWAY_LABEL}, ignore_removed=True
    ):
        until = container.labels.get(THROWAWAY_LABEL, "")
        if (until.isdecimal() and int(until) < time.time()) or (
            container.status == "created" and _age(container) > _START_SECONDS
        ):
            _remove(container)


def _age(container: Container) -> float:
    """Return how many seconds ago a container was created."""
    return time.time() - moment(container.attrs["Created"]).timestamp()
