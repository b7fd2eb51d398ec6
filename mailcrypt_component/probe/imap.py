"""IMAP through the Docker API: a relay runs in the server's container.

No port of the mail server has to be reachable from here, and the password
travels inside the connection only.
"""

from __future__ import annotations

import imaplib
import io
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.docker_host import api_of
from mailcrypt_component.errors import ProofError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker.models.containers import Container

_RELAY: Final = r"""
use strict; use IO::Socket::INET; use IO::Select;
my $imap = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => 143) or die "IMAP: $!\n";
my %to = (fileno(STDIN) => $imap, fileno($imap) => \*STDOUT);
my $select = IO::Select->new(\*STDIN, $imap);
while (my @ready = $select->can_read(600)) { for my $from (@ready) {
  my $size = sysread($from, my $data, 65536) or exit 0;
  my $out = $to{fileno($from)};
  while (length $data) { my $n = syswrite($out, $data) or exit 0; substr($data, 0, $n) = ""; }
} }
"""


class _Frames(io.RawIOBase):
    """Reads what the relay prints, out of Docker's framing; its errors are kept."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._left = 0
        self._stream = 1
        self.errors = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if not self._left and not self._next_frame():
                return 0
            data = self._raw.recv(min(self._left, len(buffer)))
            self._left -= len(data)
            if not data or self._stream == 1:
                buffer[: len(data)] = data
                return len(data)
            self.errors += data

    def _next_frame(self) -> bool:
        head = b""
        while len(head) < 8:  # noqa: PLR2004  (the frame's header)
            more = self._raw.recv(8 - len(head))
            if not more:
                return False
            head += more
        self._stream, self._left = struct.unpack(">BxxxL", head)
        return True


class _ContainerImap(imaplib.IMAP4):
    """An IMAP client whose connection is a command in a container."""

    def __init__(self, container: Container) -> None:
        self._container = container
        super().__init__()

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:  # noqa: ARG002
        api = api_of(self._container)
        made = api.exec_create(self._container.id, ["perl", "-e", _RELAY], stdin=True)
        stream: Any = api.exec_start(made["Id"], socket=True)
        self._stream = stream
        self.sock = getattr(stream, "_sock", stream)
        self._frames = _Frames(self.sock)
        self._reader = io.BufferedReader(self._frames)

    def read(self, size: int) -> bytes:
        return self._reader.read(size)

    def readline(self) -> bytes:
        return self._reader.readline()

    def send(self, data: Any) -> None:
        self.sock.sendall(data)

    def shutdown(self) -> None:
        self._reader.close()
        self._stream.close()


@contextmanager
def logged_in(
    container: Container, account: str, password: str, seconds: float
) -> Iterator[imaplib.IMAP4]:
    """Log in over IMAP in the container, bounded in time, and select the inbox.

    Raises:
        ProofError: The login was refused, or IMAP did not do what it was told.
        UnreachableError: The connection broke or the time was up.

    """
    try:
        client = _ContainerImap(container)
    except (OSError, imaplib.IMAP4.error) as error:
        raise UnreachableError(str(error), where=f"IMAP in {container.name}") from None
    timer = threading.Timer(seconds, lambda: client.sock.shutdown(2))
    timer.daemon = True
    timer.start()
    try:
        _login(client, account, password)
        done(client.select("INBOX"), "SELECT")
        yield client
        client.logout()
    except imaplib.IMAP4.abort as error:
        raise UnreachableError(
            f"the IMAP connection broke: {error}", where=f"IMAP in {container.name}"
        ) from None
    except imaplib.IMAP4.error as error:
        raise ProofError(str(error), where=f"IMAP in {container.name}") from None
    finally:
        timer.cancel()
        client.shutdown()


def _login(client: imaplib.IMAP4, account: str, password: str) -> None:
    try:
        client.login(account, password)
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error as error:
        raise ProofError(
            f"the login of {account} was refused: {_text(error.args)}",
            where="IMAP",
            expected="the probe account with its own password",
            hint="run 'pulumi up' again after 'pulumi state taint' of the accounts, "
            "or look whether the account was deleted by hand",
        ) from None


def _text(args: tuple[Any, ...]) -> str:
    first = args[0] if args else ""
    return first.decode(errors="replace") if isinstance(first, bytes) else str(first)


def done(answer: tuple[str, Any], command: str) -> Any:
    """Return the data of an answer, or raise ProofError where it is not OK."""
    status, data = answer
    if status != "OK":
        raise ProofError(f"{command} answered {status}: {data!r}", where="IMAP")
    return data
