"""IMAP by a command in the server's container, which connects to Dovecot there.

No port of the mail server has to be reachable from here, and the password travels inside the
connection only.
"""

from __future__ import annotations

import imaplib
import io
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.checks.proof import logs
from mailcrypt_component.docker_api.run import session
from mailcrypt_component.model.errors import ProofError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mailcrypt_component.checks.health import Listener
    from mailcrypt_component.checks.proof.context import Context
    from mailcrypt_component.docker_api.run import Session

INBOX: Final = "INBOX"
TAINT: Final = (
    "was the account changed or deleted by hand? To write it again: pulumi stack --show-urns, "
    "pulumi state taint URN with the URN that ends in -accounts, then pulumi up"
)
"""What helps if the probe's account is not as it was written."""
_ENDED: Final = "socket error"
"""How imaplib's message begins if the connection ended and the server did not say why."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to reach IMAP: a command that speaks it, and whether a login has to follow."""

    name: str
    argv: tuple[str, ...]
    needs_login: bool = True


def way_to(listeners: Sequence[Listener], account: str) -> Way:
    """Return how to reach IMAP: by TLS if possible, else in clear within the container.

    Dovecot takes a password in clear on the loopback interface.  If every listener expects a
    proxy's header, only Dovecot's own command remains, which opens a session without a login.
    """
    direct = [listener for listener in listeners if not listener.haproxy]
    for listener in sorted(direct, key=lambda found: not found.tls):
        if listener.tls:
            address = f"127.0.0.1:{listener.port}"
            return Way("IMAPS", ("openssl", "s_client", "-quiet", "-connect", address))
        relay = f"exec 3<>/dev/tcp/127.0.0.1/{listener.port}; cat <&3 & cat >&3"
        return Way("IMAP", ("bash", "-c", relay))
    return Way(
        "doveadm exec imap; its ports take connections of a proxy only",
        ("doveadm", "exec", "imap", "-u", account),
        needs_login=False,
    )


class LoginRefused(ProofError):  # noqa: N818  (a finding, named after what it finds)
    """Dovecot does not know the account, or not with this password."""


class _Client(imaplib.IMAP4):
    """An IMAP client that talks with a command in a container."""

    def __init__(self, talk: Session) -> None:
        self._talk = talk
        self._reader = io.BufferedReader(talk)
        super().__init__()

    def open(self, host: str = "", port: int = 0, timeout: float | None = None) -> None:
        """Do nothing: the command connects."""

    def read(self, size: int) -> bytes:
        return self._reader.read(size)

    def readline(self) -> bytes:
        return self._reader.readline()

    def send(self, data: Any) -> None:
        self._talk.send(data)

    def shutdown(self) -> None:
        """Do nothing: the command ends with its input."""


@contextmanager
def opened(context: Context, way: Way) -> Iterator[imaplib.IMAP4]:
    """Open a session with the probe's inbox selected.

    Raises:
        LoginRefused: The account or its password is wrong.
        ProofError: IMAP did not do what it was told.
        UnreachableError: The connection broke or the time was up.

    """
    with session(context.container, way.argv, name="IMAP", timeout=context.left) as talk:
        try:
            client = _Client(talk)
            if way.needs_login:
                _login(client, context)
            select(client, context, INBOX)
            yield client
            client.logout()
        except imaplib.IMAP4.abort as error:
            if _ENDED in str(error):
                said = talk.errors.decode(errors="replace").strip().rpartition("\n")[2]
                raise UnreachableError(
                    f"the connection broke: {said or error}", where=way.name
                ) from None
            raise ProofError(
                f"IMAP ended the session: {error}{logs.last_lines(context.container)}",
                where=way.name,
            ) from None
        except (imaplib.IMAP4.error, OSError) as error:
            raise UnreachableError(str(error), where=way.name) from None


def _login(client: imaplib.IMAP4, context: Context) -> None:
    account = context.target.account
    try:
        client.login(account, context.target.password)
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error as error:
        raise LoginRefused(
            f"the login of {account} was refused: {_text(error.args)}",
            where="IMAP",
            expected="the probe account with its own password",
            hint=TAINT,
        ) from None


def select(client: imaplib.IMAP4, context: Context, folder: str) -> None:
    """Select a folder, named as LIST prints it."""
    expect(client.select(folder), "SELECT", context)


def expect(answer: tuple[str, Any], command: str, context: Context) -> Any:
    """Return the data of an answer.

    Raises:
        ProofError: The answer is not OK; the message has the server's log lines.

    """
    status, data = answer
    if status != "OK":
        raise ProofError(
            f"{command} answered {status}: {_text(data)}{logs.last_lines(context.container)}",
            where="IMAP",
        )
    return data


def uids_of(client: imaplib.IMAP4, context: Context, *criteria: str) -> list[str]:
    """Return the UIDs in the selected folder that a search finds."""
    expect(client.noop(), "NOOP", context)
    found: bytes = expect(client.uid("SEARCH", *criteria), "SEARCH", context)[0] or b""
    return found.decode().split()


def _text(args: Sequence[Any]) -> str:
    first = args[0] if args else ""
    return first.decode(errors="replace") if isinstance(first, bytes) else str(first)
