"""IMAP through the Docker API: a relay runs in the server's container.

No port of the mail server has to be reachable from here, and the password
travels inside the connection only.
"""

from __future__ import annotations

import imaplib
import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.docker_host import Session, session
from mailcrypt_component.errors import ProofError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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


_ENDED: Final = "socket error"
# How imaplib's words begin where a connection ends and the server has not said why.


class _ContainerImap(imaplib.IMAP4):
    """An IMAP client whose connection is a command in a container."""

    def __init__(self, relay: Session) -> None:
        self._relay = relay
        self._reader = io.BufferedReader(relay)
        super().__init__()

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        """Do nothing: the relay is connected."""

    def read(self, size: int) -> bytes:
        return self._reader.read(size)

    def readline(self) -> bytes:
        return self._reader.readline()

    def send(self, data: Any) -> None:
        self._relay.send(data)

    def shutdown(self) -> None:
        """Leave it to the session."""


@contextmanager
def logged_in(
    container: Container,
    account: str,
    password: str,
    seconds: float,
    log_of: Callable[[Container], str],
) -> Iterator[imaplib.IMAP4]:
    """Log in over IMAP in the container, bounded in time, and select the inbox.

    Args:
        container: The server.
        account: The mailbox's address.
        password: Its password.
        seconds: How long it may take from the login to the end.
        log_of: Tells what the log says of a fault.

    Raises:
        ProofError: The login was refused, or IMAP did not do what it was told.
        UnreachableError: The connection broke or the time was up.

    """
    where = f"IMAP in {container.name}"
    with session(container, ["perl", "-e", _RELAY], name="IMAP", timeout=seconds) as relay:
        try:
            client = _ContainerImap(relay)
            _login(client, account, password)
            status, data = client.select("INBOX")
            if status != "OK":
                refusal = f"SELECT answered {status}: {_text(data)}"
                raise ProofError(f"{refusal}{log_of(container)}", where=where)
            yield client
            client.logout()
        except (imaplib.IMAP4.abort, OSError) as error:
            said = f"{relay.errors.decode(errors='replace').strip() or error}"
            if _ENDED in said or isinstance(error, OSError):
                raise UnreachableError(f"the IMAP connection broke: {said}", where=where) from None
            raise ProofError(f"IMAP ended it: {said}{log_of(container)}", where=where) from None
        except imaplib.IMAP4.error as error:
            raise ProofError(str(error), where=where) from None


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


def _text(args: Sequence[Any]) -> str:
    first = args[0] if args else ""
    return first.decode(errors="replace") if isinstance(first, bytes) else str(first)


def done(answer: tuple[str, Any], command: str) -> Any:
    """Return the data of an answer, or raise ProofError where it is not OK."""
    status, data = answer
    if status != "OK":
        raise ProofError(f"{command} answered {status}: {data!r}", where="IMAP")
    return data
