"""Delivers mails to one mailbox by LMTP and reads them by IMAP; runs in a server's container.

Standard library only; prints the seconds of each phase as JSON.  What the operating system has
in its cache is the same for each server that is compared.
"""

from __future__ import annotations

import json
import smtplib
import subprocess
import sys
import time
from typing import Any

USER = "user@example.test"
LINE = "0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMN\n"
LISTED = "(UID FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE)"


def deliver(mails: int, size: int) -> float:
    """Return how long it takes to deliver mails over one connection, in seconds."""
    body = LINE * (size // len(LINE))
    client = smtplib.LMTP("/run/dovecot/lmtp")
    begin = time.perf_counter()
    for number in range(mails):
        head = f"From: <{USER}>\nTo: <{USER}>\nSubject: mail {number}\nMessage-ID: <{number}@x>\n\n"
        client.sendmail(USER, USER, head + body)
    took = time.perf_counter() - begin
    client.quit()
    return took


class Session:
    """An IMAP process without network and TLS, which would be the same for each server."""

    def __init__(self) -> None:
        argv = ["/usr/lib/dovecot/imap", "-u", USER]
        pipe = subprocess.PIPE
        self._process: Any = subprocess.Popen(argv, stdin=pipe, stdout=pipe)
        self.ask("SELECT INBOX")

    def ask(self, command: str) -> float:
        """Return how long a command takes, in seconds."""
        begin = time.perf_counter()
        self._process.stdin.write(f"t {command}\r\n".encode())
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith(b"t "):
                if not line.startswith(b"t OK"):
                    raise SystemExit(line.decode())
                return time.perf_counter() - begin
        raise SystemExit(f"no answer to {command}")


def main(mails: int, size: int) -> None:
    """Print the seconds of each phase."""
    found = {"deliver": deliver(mails, size)}
    session = Session()
    found["list"] = session.ask(f"FETCH 1:* {LISTED}")
    found["list again"] = session.ask(f"FETCH 1:* {LISTED}")
    found["read"] = session.ask("FETCH 1:* (BODY.PEEK[])")
    session.ask("STORE 1:* +FLAGS.SILENT (\\Deleted)")
    session.ask("EXPUNGE")
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
