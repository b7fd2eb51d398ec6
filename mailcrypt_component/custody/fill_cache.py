"""Puts the newest mails of each mailbox into Dovecot's index cache; runs in the server's container.

The cache lies in memory and is empty after a reboot.  This program lists each mailbox as mail
programs do, before its owner does.  EXAMINE and PEEK change no flag.

Standard library only; run as root with the cache's folder and the number of mails per mailbox.
The program does nothing if the folder is no mount, stops when the folder is three quarters full,
and ends at once if another run is under way.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAP = "/usr/lib/dovecot/imap"
LOCK = "/run/dovecot/mailcrypt-fill-cache"
SECONDS = 900.0
FULL = 0.75
NICENESS = 10
HEADERS = (
    "DATE SUBJECT FROM SENDER REPLY-TO TO CC BCC IN-REPLY-TO MESSAGE-ID REFERENCES CONTENT-TYPE"
    " PRIORITY X-PRIORITY IMPORTANCE NEWSGROUPS LIST-ID LIST-UNSUBSCRIBE LIST-POST"
    " CONTENT-TRANSFER-ENCODING DISPOSITION-NOTIFICATION-TO RETURN-RECEIPT-TO MIME-VERSION"
)
ITEMS = (
    "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE PREVIEW"
    f" BODY.PEEK[HEADER.FIELDS ({HEADERS})])"
)
"""The items that mail programs fetch to list a mailbox."""


class Session:
    """An IMAP process of one user, already logged in."""

    def __init__(self, user: str) -> None:
        self._process: Any = subprocess.Popen(  # noqa: S603
            [IMAP, "-u", user],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._number = 0

    def ask(self, command: bytes) -> Iterator[bytes]:
        """Yield the lines that answer a command; the last one has its tag and its result."""
        self._number += 1
        tag = b"t%d" % self._number
        self._process.stdin.write(tag + b" " + command + b"\r\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            yield line
            if line.startswith(tag + b" "):
                return

    def end(self) -> None:
        """End the process in any state."""
        self._process.kill()
        self._process.wait()


def mailbox_of(line: bytes) -> bytes | None:
    """Return the mailbox in a line of LIST, quoted as it came; None if it cannot hold mail."""
    found = re.fullmatch(rb'\* LIST \(([^)]*)\) (?:NIL|"(?:\\.|[^"])*") ([^{].*?)\r?\n', line)
    if found is None or b"\\noselect" in found[1].lower():
        return None
    return found[2]


def number_of_mails(lines: list[bytes]) -> int:
    """Return the number of mails in the answer to EXAMINE; 0 if EXAMINE was refused."""
    for line in lines:
        if found := re.match(rb"\* (\d+) EXISTS", line):
            return int(found[1])
    return 0


def is_full(folder: str) -> bool:
    """Tell whether too little room is left for new mail."""
    room = os.statvfs(folder)
    return room.f_bfree < (1 - FULL) * room.f_blocks


def fill(user: str, folder: str, newest: int, end: float) -> None:
    """Fill the cache of each mailbox of a user."""
    session = Session(user)
    try:
        listed = list(session.ask(b'LIST "" "*"'))
        for name in filter(None, map(mailbox_of, listed)):
            if is_full(folder) or time.monotonic() > end:
                return
            total = number_of_mails(list(session.ask(b"EXAMINE " + name)))
            if total:
                first = max(1, total - newest + 1)
                for _ in session.ask(b"FETCH %d:%d %s" % (first, total, ITEMS.encode())):
                    pass
    finally:
        session.end()


def main(folder: str, newest: int) -> None:
    """Fill the cache of each user, one after the other."""
    if not os.path.ismount(folder):
        return
    os.nice(NICENESS)
    end = time.monotonic() + SECONDS
    with Path(LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        argv = ["doveadm", "user", "*"]
        listed = subprocess.run(argv, capture_output=True, text=True, check=True)  # noqa: S603
        for user in listed.stdout.split():
            fill(user, folder, newest, end)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
