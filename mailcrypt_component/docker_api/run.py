"""Runs commands in a container, with a limit on their time.

Secrets travel as standard input, never as arguments or environment.
"""

from __future__ import annotations

import io
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mailcrypt_component.docker_api.connect import NOT_ANSWERING, api_of, explained
from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from docker.models.containers import Container


@dataclass(frozen=True, slots=True)
class Result:
    """The output of a command in a container, and its exit code."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def complaint(self) -> str:
        """What a failed command printed to standard error, or its exit code if nothing."""
        return self.stderr.decode(errors="replace").strip() or f"exit code {self.exit_code}"

    def checked(self, *, where: str, expected: str = "", hint: str = "") -> bytes:
        """Return standard output of a command that has to succeed.

        Raises:
            UnreachableError: It failed; the message is its complaint.

        """
        if self.exit_code:
            raise UnreachableError(self.complaint, where=where, expected=expected, hint=hint)
        return self.stdout


def execute(
    container: Container,
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    user: str = "",
    timeout: float,
) -> Result:
    """Run a command in a container, with a limit on its time.

    Args:
        container: A running container.
        argv: The command; it is visible to others, so it holds no secret.
        stdin: The input of the command; the place for secrets.
        user: The user who runs it; empty for the container's user.
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


def start_detached(container: Container, argv: Sequence[str]) -> None:
    """Start a command in a container without waiting for it; its output is discarded.

    Raises:
        UnreachableError: It could not be started.

    """
    api = api_of(container)
    try:
        api.exec_start(api.exec_create(container.id, list(argv))["Id"], detach=True)
    except NOT_ANSWERING as error:
        raise UnreachableError(
            f"cannot start {argv[0]}: {explained(error)}", where=f"container {container.name}"
        ) from None


def stream(container: Container, argv: Sequence[str], *, timeout: float) -> Iterator[bytes]:
    """Run a command in a container and yield its output as it comes.

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
    """Yield 1 or 2 (output or errors) with the data; at the end 0 with the exit code."""
    try:
        command, attached = _started(container, argv, stdin=bool(stdin), user=user)
        with _closing_at(attached, timeout) as expired:
            _send(attached, stdin)
            yield from _read_frames(attached)
        if expired.is_set():
            raise _too_slow(argv[0], timeout, container)
        code = api_of(container).exec_inspect(command)["ExitCode"]
    except NOT_ANSWERING as error:
        raise UnreachableError(
            f"cannot run {argv[0]}: {explained(error)}", where=f"container {container.name}"
        ) from None
    yield 0, b"-1" if code is None else str(code).encode()


def _started(
    container: Container, argv: Sequence[str], *, stdin: bool, user: str = ""
) -> tuple[str, Any]:
    """Start a command; return its id and the connection to it, which never times out."""
    api = api_of(container)
    command: str = api.exec_create(container.id, list(argv), stdin=stdin, user=user)["Id"]
    attached: Any = api.exec_start(command, socket=True)
    _raw(attached).settimeout(None)
    return command, attached


class Session(io.RawIOBase):
    """A running command in a container; reading returns its output."""

    def __init__(self, attached: Any) -> None:
        self._attached = attached
        self._frames = _read_frames(attached)
        self._rest = memoryview(b"")
        self.errors = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read from standard output; standard error is collected in ``errors``."""
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
        """Write to the command's standard input."""
        _raw(self._attached).sendall(data)


@contextmanager
def session(
    container: Container, argv: Sequence[str], *, name: str, timeout: float
) -> Iterator[Session]:
    """Run an interactive command in a container, with a limit on its time.

    The command ends at the end of its input.

    Raises:
        UnreachableError: It could not be started, or the time was up.

    """
    try:
        _, attached = _started(container, argv, stdin=True)
    except NOT_ANSWERING as error:
        raise UnreachableError(
            f"cannot run {argv[0]}: {explained(error)}", where=f"container {container.name}"
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
        hint="check the load of the host, or raise the deadline",
    )


@contextmanager
def _closing_at(stream: Any, timeout: float) -> Iterator[threading.Event]:
    """Shut down the stream when the time is up, which ends any reading."""
    expired = threading.Event()

    def hang_up() -> None:
        with suppress(OSError):  # The other side may have hung up already.
            _raw(stream).shutdown(socket.SHUT_RDWR)

    def expire() -> None:
        expired.set()
        hang_up()

    timer = threading.Timer(max(timeout, 0.0), expire)
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

    Frames that came in one packet with the head of the answer are in the buffer that the head
    was read through, so everything is read through that buffer.
    """
    buffered = stream._response.raw._fp.fp  # noqa: SLF001  (docker-py offers no other way to it)
    with suppress(OSError):
        while len(head := buffered.read(8)) == 8:  # noqa: PLR2004  (the frame's header)
            number, size = struct.unpack(">BxxxL", head)
            yield number, buffered.read(size)
