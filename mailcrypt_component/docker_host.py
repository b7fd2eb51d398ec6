"""The one place that speaks to a Docker engine: connect, run, put files, throw away.

Everything goes through the Docker API, so a remote host needs no path and no
port of its own to be reachable.  Secrets travel as file contents or standard
input, never as arguments or environment.
"""

from __future__ import annotations

import io
import os
import secrets
import socket
import struct
import tarfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import docker
import docker.errors
import docker.types
import requests.exceptions

from mailcrypt_component.docker_ssh import tunnel
from mailcrypt_component.engine_socket import DEFAULT_HOST, unreachable
from mailcrypt_component.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from docker import DockerClient
    from docker.models.containers import Container

THROWAWAY_LABEL: Final = "mailcrypt.throwaway"
"""On every throw-away container; its value is the Unix time it may live until."""

_API_SECONDS: Final = 60
_START_SECONDS: Final = 60
"""Who has made a throw-away container and not started it by then was killed."""

_NOT_ANSWERING = (docker.errors.DockerException, requests.exceptions.RequestException, OSError)


@dataclass(frozen=True, slots=True)
class Result:
    """What a command in a container left behind."""

    exit_code: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True)
class File:
    """A file to be put into a container, with its mode and numeric owner."""

    path: str
    content: bytes
    mode: int = 0o600
    uid: int = 0
    gid: int = 0

    def __repr__(self) -> str:
        return f"File({self.path!r}, {len(self.content)} bytes, {self.mode:#o})"


def connect(docker_host: str | None = None) -> DockerClient:
    """Return a client of an engine that answers.

    Args:
        docker_host: ``unix://``, ``tcp://`` or ``ssh://``; None for the
            environment's ``DOCKER_HOST``, else the default socket.

    Raises:
        UnreachableError: No engine answers there.

    """
    host = docker_host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
    try:
        client = _client(host)
        client.ping()
    except _NOT_ANSWERING as error:
        raise unreachable(host, error) from None
    return client


def _client(host: str) -> DockerClient:
    """Return a client; the certificates of the environment serve any host, as for the provider."""
    if host.startswith("ssh://"):
        return docker.DockerClient(base_url=tunnel(host), timeout=_API_SECONDS)
    return docker.from_env(timeout=_API_SECONDS, environment={**os.environ, "DOCKER_HOST": host})


def execute(
    container: Container,
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    user: str = "",
    timeout: float,
) -> Result:
    """Run a command in a container, bounded in time.

    Args:
        container: A running container.
        argv: The command; it is visible to others, so it holds no secret.
        stdin: What the command reads; the place for secrets.
        user: As whom; empty for the container's user.
        timeout: Seconds after which waiting stops.

    Raises:
        UnreachableError: The container is gone, or the time is up.

    """
    parts: dict[int, list[bytes]] = {1: [], 2: []}
    code = -1
    for number, data in _run(container, argv, stdin, user, timeout):
        if number:
            parts[number].append(data)
        else:
            code = int(data)
    return Result(code, b"".join(parts[1]), b"".join(parts[2]))


def stream(container: Container, argv: Sequence[str], *, timeout: float) -> Iterator[bytes]:
    """Run a command in a container and yield what it prints, as it comes.

    Raises:
        UnreachableError: The container is gone, the time is up, or the command failed.

    """
    errors: list[bytes] = []
    for number, data in _run(container, argv, b"", "", timeout):
        if number == 1:
            yield data
        elif number:
            errors.append(data)
        elif int(data):
            said = b"".join(errors).decode(errors="replace").strip()
            raise UnreachableError(
                said or f"{argv[0]} ended with exit code {int(data)}",
                where=f"container {container.name}",
            )


def _run(
    container: Container, argv: Sequence[str], stdin: bytes, user: str, timeout: float
) -> Iterator[tuple[int, bytes]]:
    """Yield 1 or 2 (output or errors) with what came; at the end 0 with the exit code."""
    try:
        command, attached = _started(container, argv, stdin=bool(stdin), user=user)
        with _closing_at(attached, timeout) as expired:
            _send(attached, stdin)
            yield from _read_frames(attached)
        if expired.is_set():
            raise _too_slow(argv[0], timeout, container)
        code = api_of(container).exec_inspect(command)["ExitCode"]
    except _NOT_ANSWERING as error:
        raise UnreachableError(
            f"cannot run {argv[0]}: {_explained(error)}", where=f"container {container.name}"
        ) from None
    yield 0, b"-1" if code is None else str(code).encode()


def _started(
    container: Container, argv: Sequence[str], *, stdin: bool, user: str = ""
) -> tuple[str, Any]:
    """Start a command; return its id and the connection to it, which may be silent for long."""
    api = api_of(container)
    command: str = api.exec_create(container.id, list(argv), stdin=stdin, user=user)["Id"]
    attached: Any = api.exec_start(command, socket=True)
    _raw(attached).settimeout(None)
    return command, attached


def refresh(container: Container) -> None:
    """Ask the engine anew for what a container is.

    Raises:
        UnreachableError: It is gone, or the engine does not answer.

    """
    try:
        container.reload()
    except _NOT_ANSWERING as error:
        raise UnreachableError(_explained(error), where=f"container {container.name}") from None


def api_of(container: Container) -> docker.APIClient:
    """Return the engine's API that a container was found through."""
    client = container.client
    if client is None:
        raise UnreachableError("it belongs to no engine", where=f"container {container.name}")
    return client.api


class Session(io.RawIOBase):
    """A command in a container that is talked with; reading gives what it prints."""

    def __init__(self, attached: Any) -> None:
        self._attached = attached
        self._frames = _read_frames(attached)
        self._rest = memoryview(b"")
        self.errors = b""

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what it printed; what it said as errors is kept aside."""
        while not self._rest:
            number, data = next(self._frames, (0, b""))
            if not number:
                return 0
            if number == 1:
                self._rest = memoryview(data)
            else:
                self.errors += data
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def send(self, data: bytes) -> None:
        """Give it input."""
        _raw(self._attached).sendall(data)


@contextmanager
def session(
    container: Container, argv: Sequence[str], *, name: str, timeout: float
) -> Iterator[Session]:
    """Talk with a command in a container, bounded in time; it ends with its input.

    Raises:
        UnreachableError: It could not be started, or the time was up.

    """
    try:
        _, attached = _started(container, argv, stdin=True)
    except _NOT_ANSWERING as error:
        raise UnreachableError(
            f"cannot run {argv[0]}: {_explained(error)}", where=f"container {container.name}"
        ) from None
    with _closing_at(attached, timeout) as expired:
        try:
            yield Session(attached)
        except Exception:
            if expired.is_set():
                raise _too_slow(name, timeout, container) from None
            raise


def _too_slow(name: str, timeout: float, container: Container) -> UnreachableError:
    return UnreachableError(
        f"{name} did not end within {timeout:.0f} s",
        where=f"container {container.name}",
        hint="look at the load of the host, or raise the deadline",
    )


def _explained(error: BaseException) -> str:
    return str(getattr(error, "explanation", None) or error)


@contextmanager
def _closing_at(stream: Any, timeout: float) -> Iterator[threading.Event]:
    """Shut the stream down when the time is up; reading it then ends."""
    expired = threading.Event()

    def hang_up() -> None:
        with suppress(OSError):  # The other side may have done so already.
            _raw(stream).shutdown(socket.SHUT_RDWR)

    def expire() -> None:
        expired.set()
        hang_up()

    timer = threading.Timer(max(timeout, 0.1), expire)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
        hang_up()
        stream.close()


def _raw(stream: Any) -> Any:
    return getattr(stream, "_sock", stream)


def _send(stream: Any, stdin: bytes) -> None:
    if stdin:
        raw = _raw(stream)
        raw.sendall(stdin)
        raw.shutdown(socket.SHUT_WR)


def _read_frames(stream: Any) -> Iterator[tuple[int, bytes]]:
    """Yield Docker's frames: stream number, three zeros, a length, then that many bytes.

    Frames that came in one packet with the answer's head wait in the buffer that
    the head was read through, so they are read through it, too.
    """
    buffered = stream._response.raw._fp.fp  # noqa: SLF001  (docker-py offers no other way to it)
    with suppress(OSError):
        while len(head := buffered.read(8)) == 8:  # noqa: PLR2004  (the frame's header)
            number, size = struct.unpack(">BxxxL", head)
            yield number, buffered.read(size)


def put_files(container: Container, files: Iterable[File]) -> None:
    """Put files into a container, parents included, with their mode and owner.

    Raises:
        UnreachableError: The engine refused.

    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in files:
            entry = tarfile.TarInfo(file.path.lstrip("/"))
            entry.size, entry.mode = len(file.content), file.mode
            entry.uid, entry.gid, entry.mtime = file.uid, file.gid, int(time.time())
            archive.addfile(entry, io.BytesIO(file.content))
    try:
        container.put_archive("/", buffer.getvalue())
    except _NOT_ANSWERING as error:
        raise UnreachableError(
            f"cannot put files: {_explained(error)}", where=f"container {container.name}"
        ) from None


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
) -> Iterator[Container]:
    """Run a container of the image that only waits, without network, and remove it.

    It ends and is removed by itself after ``lifetime`` seconds, or where another command
    to wait with is given, at the end of that; the next one sweeps what
    a killed program left before its start.

    Raises:
        UnreachableError: The image is not there, or the engine refused.

    """
    _sweep(client)
    try:
        container = client.containers.create(
            image,
            entrypoint=list(waiting) or ["sleep", str(lifetime)],
            command=[],
            name=f"mailcrypt-{purpose}-{secrets.token_hex(4)}",
            network_mode="none",
            mounts=list(mounts),
            labels={THROWAWAY_LABEL: str(int(time.time()) + lifetime)},
            healthcheck={"test": ["NONE"]},
            init=True,
            auto_remove=True,
        )
    except docker.errors.ImageNotFound:
        raise UnreachableError(
            f"the image {image} is not there",
            where="image",
            expected="an image that the Docker host has or can pull",
            hint=f"docker pull {image}",
        ) from None
    except _NOT_ANSWERING as error:
        raise UnreachableError(_explained(error), where=f"image {image}") from None
    try:
        put_files(container, files)
        container.start()
        yield container
    finally:
        _remove(container)


def _remove(container: Container) -> None:
    try:
        container.remove(force=True, v=True)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code != HTTPStatus.CONFLICT:  # It is being removed already.
            raise


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
    """Return for how many seconds a container has been there."""
    return time.time() - moment(container.attrs["Created"]).timestamp()


def moment(text: str) -> datetime:
    """Return an engine's own statement of time (RFC 3339 with nanoseconds), to the second.

    >>> moment("2026-11-25T02:57:02.589031318Z")
    datetime.datetime(2026, 11, 25, 2, 57, 2, tzinfo=datetime.timezone.utc)
    """
    return datetime.fromisoformat(text.partition(".")[0].rstrip("Z")).replace(tzinfo=UTC)
