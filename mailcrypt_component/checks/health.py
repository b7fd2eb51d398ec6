"""Ask a mail server whether it takes and hands out mail; the container's health check.

This file is copied into the container and runs there by itself, so it imports nothing but
the standard library::

    python3 -I health.py [PRIVATE_CONF]

It greets Dovecot's LMTP and IMAP and looks whether Postfix takes local mail.  With
``PRIVATE_CONF`` it tells a locked server, whose private keys are missing, from an unlocked
one; both are healthy, since a locked server takes and encrypts mail.  Exit codes: 0 healthy,
1 not, with the reason on standard output.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

LMTP: Final = "/run/dovecot/lmtp"
PICKUP: Final = "/var/spool/postfix/public/pickup"
"""A FIFO in DMS's master.cf, a socket in Debian's."""
LOOPBACK: Final = "127.0.0.1"
IMAP: Final = 143
IMAPS: Final = 993
SECONDS: Final = 4.0


class UnhealthyError(Exception):
    """A service does not answer; the message says which and how."""


class Listener(NamedTuple):
    """A TCP port of Dovecot's IMAP; port 0 is closed."""

    port: int
    tls: bool
    haproxy: bool


def listeners(printed: str) -> list[Listener]:
    """Return the listeners in the output of ``doveconf service/imap-login``."""
    found = []
    for block in re.findall(r"inet_listener \S+ \{(.*?)\}", printed, re.DOTALL):
        values = dict(re.findall(r"(\w+) = (\w*)", block))
        port = int(values.get("port") or 0)
        found.append(Listener(port, values.get("ssl") == "yes", values.get("haproxy") == "yes"))
    return found


def main(arguments: list[str]) -> int:
    """Look at each service; return the exit code."""
    try:
        greet_lmtp()
        greet_imap()
        reach_postfix()
    except UnhealthyError as error:
        print(error)
        return 1
    locked = bool(arguments) and not Path(arguments[0]).exists()
    print("LMTP, IMAP and Postfix answer" + (f"; locked: no {arguments[0]}" if locked else ""))
    return 0


def greet_lmtp() -> None:
    """Raise UnhealthyError unless LMTP greets."""
    try:
        with socket.socket(socket.AF_UNIX) as lmtp:
            lmtp.settimeout(SECONDS)
            lmtp.connect(LMTP)
            _expect(b"220", _line(lmtp))
            lmtp.sendall(b"QUIT\r\n")
    except OSError as error:
        raise UnhealthyError(f"LMTP does not answer: {_shown(error)}") from None


def greet_imap() -> None:
    """Raise UnhealthyError unless IMAP greets, or takes connections behind a proxy."""
    try:
        _greet_imap_at(Listener(IMAP, tls=False, haproxy=False))
    except OSError as error:
        if not any(map(_answers, _configured())):
            raise UnhealthyError(f"IMAP does not answer: {_shown(error)}") from None


def reach_postfix() -> None:
    """Raise UnhealthyError unless somebody listens where Postfix takes local mail."""
    try:
        if stat.S_ISFIFO(Path(PICKUP).stat().st_mode):
            os.close(os.open(PICKUP, os.O_WRONLY | os.O_NONBLOCK))
        else:
            with socket.socket(socket.AF_UNIX) as pickup:
                pickup.connect(PICKUP)
    except OSError as error:
        raise UnhealthyError(f"Postfix does not take mail: {_shown(error)}") from None


def _configured() -> list[Listener]:
    """Return the open listeners that Dovecot is configured with."""
    argv = ["doveconf", "service/imap-login"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
    return [listener for listener in listeners(done.stdout) if listener.port]


def _answers(listener: Listener) -> bool:
    try:
        _greet_imap_at(listener)
    except OSError:
        return False
    return True


def _greet_imap_at(listener: Listener) -> None:
    with socket.create_connection((LOOPBACK, listener.port), SECONDS) as plain:
        if listener.haproxy:  # Dovecot greets a proxy only, so an open port has to do.
            return
        if listener.tls:
            _greet_encrypted(plain)
        else:
            _expect(b"* OK", _line(plain))
            plain.sendall(b"a LOGOUT\r\n")


def _greet_encrypted(plain: socket.socket) -> None:
    import ssl  # noqa: PLC0415  (slow, and seldom needed)

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(plain) as imaps:
        _expect(b"* OK", _line(imaps))
        imaps.sendall(b"a LOGOUT\r\n")


def _line(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as file:
        return file.readline(1024)


def _expect(start: bytes, line: bytes) -> None:
    if not line.startswith(start):
        raise ConnectionError(repr(line.decode(errors="replace")) if line else "no greeting")


def _shown(error: OSError) -> str:
    return error.strerror or str(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
