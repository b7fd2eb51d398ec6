"""IMAP through the Docker API: the connection is made in the server's container.

No port of the mail server has to be reachable from here, and the password
travels inside the connection only.
"""

from __future__ import annotations

import imaplib
import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.model.errors import ProofError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailcrypt_component.docker_api.shell import Connection

_ENDED: Final = "socket error"
# How imaplib's words begin where a connection ends and the server has not said why.


class _ContainerImap(imaplib.IMAP4):
    """An IMAP client whose connection comes from inside a container."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reader = io.BufferedReader(connection)
        super().__init__()

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        """Do nothing: it is connected."""

    def read(self, size: int) -> bytes:
        return self._reader.read(size)

    def readline(self) -> bytes:
        return self._reader.readline()

    def send(self, data: Any) -> None:
        self._connection.send(data)

    def shutdown(self) -> None:
        """Leave it to the shell."""


@contextmanager
def speaking(connection: Connection, log_tail: Callable[[], str]) -> Iterator[imaplib.IMAP4]:
    """Speak IMAP over a connection.

    Args:
        connection: To the IMAP port, in the server's container.
        log_tail: Tells what the log says of a fault.

    Raises:
        ProofError: IMAP did not do what it was told.
        UnreachableError: The connection broke or the time was up.

    """
    try:
        client = _ContainerImap(connection)
        yield client
        client.logout()
    except imaplib.IMAP4.abort as error:
        if _ENDED in str(error):
            raise UnreachableError(f"the connection broke: {error}", where="IMAP") from None
        raise ProofError(f"IMAP ended it: {error}{log_tail()}", where="IMAP") from None
    except imaplib.IMAP4.error as error:
        raise ProofError(str(error), where="IMAP") from None


class LoginRefused(ProofError):  # noqa: N818  (a finding, named after what it finds)
    """Dovecot does not know the account, or not with this password."""


def log_in(client: imaplib.IMAP4, account: str, password: str, log_tail: Callable[[], str]) -> None:
    """Log in and select the inbox.

    Raises:
        LoginRefused: The account or its password is not right.
        ProofError: There is no inbox to be had.

    """
    _login(client, account, password)
    status, data = client.select("INBOX")
    if status != "OK":
        raise ProofError(f"SELECT answered {status}: {_text(data)}{log_tail()}", where="IMAP")


def _login(client: imaplib.IMAP4, account: str, password: str) -> None:
    try:
        client.login(account, password)
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error as error:
        raise LoginRefused(
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
