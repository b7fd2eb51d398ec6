"""Asks an engine with the standard library alone.

Every update inspects the server and the keeper, even if nothing changes; importing the Docker
SDK would take longer than the request.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from mailcrypt_component.docker_api.address import address_of, unreachable
from mailcrypt_component.docker_api.certificates import certificate_files, refuse_plain_tcp
from mailcrypt_component.docker_api.ssh import tunnel
from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mailcrypt_component.model.docker_host import DockerHost

_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class ContainerState:
    """The current state of a container; ``started_at`` is RFC 3339.

    ``bindings`` are the published ports as (container port, address, host port), in the order
    in which the engine lists them.
    """

    container_id: str
    started_at: str
    running: bool
    bindings: tuple[tuple[int, str, int], ...] = ()

    def as_fact(self) -> dict[str, Any]:
        """Return it as plain values that change whenever another process runs in the container."""
        return {"id": self.container_id, "startedAt": self.started_at, "running": self.running}


def inspect_container(docker_host: DockerHost, name: str) -> ContainerState | None:
    """Return the state of a container; None if the engine does not have it.

    Args:
        docker_host: The engine.
        name: The container's id or name.

    Raises:
        UnreachableError: The engine does not answer, or its answer is not valid.

    """
    found = ask(docker_host, f"/containers/{quote(name)}/json")
    if found is None:
        return None
    state = found["State"]
    ports = found.get("NetworkSettings", {}).get("Ports") or {}
    bindings = tuple(
        (int(port.partition("/")[0]), str(one["HostIp"]), int(one["HostPort"]))
        for port, several in ports.items()
        for one in several or ()
    )
    return ContainerState(found["Id"], state["StartedAt"], _runs(state), bindings)


def _runs(state: Mapping[str, Any]) -> bool:
    return bool(state["Running"] and not state.get("Paused") and not state.get("Restarting"))


def inspect_image(docker_host: DockerHost, name: str) -> str:
    """Return the id of an image that the engine has.

    Args:
        docker_host: The engine.
        name: The image's id, name or digest.

    Raises:
        UnreachableError: The engine does not answer, or does not have the image.

    """
    found = ask(docker_host, f"/images/{quote(name)}/json")
    if found is None:
        raise UnreachableError(
            f"the engine does not have the image {name}",
            where="image",
            expected="an image that was built or pulled",
            hint=f"docker pull {name}",
        )
    return str(found["Id"])


def kernel_version(docker_host: DockerHost) -> tuple[int, int]:
    """Return the version of the kernel that an engine runs on, as (major, minor).

    Raises:
        UnreachableError: The engine does not answer, or does not run on a Linux kernel.

    """
    said = str((ask(docker_host, "/version") or {}).get("KernelVersion", ""))
    found = re.match(r"(\d+)\.(\d+)", said)
    if found is None:
        raise UnreachableError(
            f"the engine runs on kernel {said or '(no version)'}",
            where="GET /version of the Docker engine",
            expected="a Linux kernel's version",
        )
    return int(found.group(1)), int(found.group(2))


def ask_container(
    docker_host: DockerHost, name: str, image: str, command: Sequence[str]
) -> str | None:
    """Run a short command in a container and return what it prints.

    Args:
        docker_host: The engine.
        name: The container's id or name.
        image: The id of the image that it has to run.
        command: The program and its arguments.

    Returns:
        None if there is no such container, it does not run that image now, or it has not answered.

    Raises:
        UnreachableError: The engine does not answer.

    """
    found = ask(docker_host, f"/containers/{quote(name)}/json")
    if found is None or found["Image"] != image or not _runs(found["State"]):
        return None
    wanted = {"Cmd": list(command), "AttachStdout": True, "Tty": True}
    status, body = _request(docker_host, "POST", f"/containers/{found['Id']}/exec", wanted)
    if status != http.HTTPStatus.CREATED:
        return None
    path = f"/exec/{json.loads(body)['Id']}"
    try:
        _, printed = _request(docker_host, "POST", f"{path}/start", {"Tty": True})
    except UnreachableError:  # The container hangs; an engine that is gone is noticed soon.
        return None
    ended = ask(docker_host, f"{path}/json")
    return printed.decode(errors="replace") if ended and ended["ExitCode"] == 0 else None


def ask(docker_host: DockerHost, path: str) -> Any:
    """Return the answer to a GET request; None if the engine has no such object.

    Raises:
        UnreachableError: The engine does not answer, refuses, or its answer is not valid.

    """
    status, body = _request(docker_host, "GET", path)
    if status == http.HTTPStatus.NOT_FOUND:
        return None
    try:
        found = json.loads(body)
    except ValueError as error:
        raise unreachable(address_of(docker_host), error) from None
    if status != http.HTTPStatus.OK:
        raise UnreachableError(
            str(found.get("message", found)),
            where=f"Docker engine {address_of(docker_host)}",
            expected=f"an answer to GET {path}",
        )
    return found


def _request(
    docker_host: DockerHost, method: str, path: str, content: Mapping[str, Any] | None = None
) -> tuple[int, bytes]:
    """Return the status and the body of an answer."""
    url = address_of(docker_host)
    refuse_plain_tcp(url, docker_host)
    headers = {"Host": "docker", "Content-Type": "application/json"}
    try:
        connection = _connection(url, docker_host)
        try:
            body = None if content is None else json.dumps(content)
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise unreachable(url, error) from None


def _connection(url: str, docker_host: DockerHost) -> http.client.HTTPConnection:
    if url.startswith("ssh://"):
        url = tunnel(url, docker_host.ssh_options)
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return _UnixConnection(parts.path)
    host, port = parts.hostname or "localhost", parts.port or 2375
    context = _tls_context(docker_host)
    if context is None:
        return http.client.HTTPConnection(host, port, timeout=_SECONDS)
    return http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=context)


def _tls_context(docker_host: DockerHost) -> ssl.SSLContext | None:
    """Return the TLS settings for the certificates at hand; None if there are none."""
    files = certificate_files(docker_host)
    if files is None:
        return None
    context = ssl.create_default_context(cafile=files.ca)
    if files.ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(files.certificate, files.private_key)
    return context


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a socket of this machine."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
