"""Reloads Dovecot while no delivery is under way; runs in the mail server's container.

A plain ``doveadm reload`` under load duplicates mail: LMTP has stored a mail and answers 421, so
Postfix delivers it again minutes later.  This program stops Postfix's queue manager for a
moment.  Postfix goes on accepting mail, and a guard continues the queue manager even if this
program is killed.

Standard library only; sent to ``python3 -`` as text.  With the argument ``kick`` it ends every
session, too.  It prints nothing; it exits with 1 and a message on standard error if Dovecot does
not come back.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LMTP = "/run/dovecot/lmtp"
CONNECTED = "03"
"""The state of a connected socket in ``/proc/net/unix``."""
OLD = ("dovecot/lmtp", "dovecot/config", "dovecot/imap-login", "dovecot/pop3-login")
"""The processes that a reload replaces, and that could still answer with the old settings."""
PATIENCE = 5.0
"""Seconds that deliveries under way, and old processes, may take to end."""
GUARD_SECONDS = 15
START_SECONDS = 10.0
MASTER = "/run/dovecot/master.pid"


def processes(*commands: str) -> list[int]:
    """Return the ids of the processes whose command line begins with one of these words."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cmdline").read_text().startswith(commands):
                found.append(int(entry.name))
    return found


def runs(pid: int) -> bool:
    """Tell whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def deliveries() -> int:
    """Return how many connections to Dovecot's LMTP socket are open."""
    fields = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return sum(f[-1].endswith(LMTP) and f[5] == CONNECTED for f in fields if len(f) > 7)  # noqa: PLR2004


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; tell whether it became true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def queue_manager_stopped() -> Iterator[None]:
    """Stop Postfix's queue manager for a moment."""
    pids = processes("qmgr\0")
    wake = f"sleep {GUARD_SECONDS}; kill -CONT {' '.join(map(str, pids))}"
    guard = subprocess.Popen(["sh", "-c", wake]) if pids else None  # noqa: S603, S607
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        if guard:
            guard.kill()
            guard.wait()


def lmtp_greets() -> bool:
    """Tell whether Dovecot's LMTP answers a new connection."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2)
            client.connect(LMTP)
            if not client.recv(200).startswith(b"220"):
                return False
            client.sendall(b"QUIT\r\n")
            client.recv(200)
            return True
    except OSError:
        return False


def reload(*, kick: bool) -> bool:
    """Reload Dovecot; tell whether it came back.  One that is starting is waited for first."""
    wait_until(Path(MASTER).exists, START_SECONDS)
    with queue_manager_stopped():
        wait_until(lambda: not deliveries(), PATIENCE)
        old = processes(*OLD)
        subprocess.run(["doveadm", "reload"], check=True)  # noqa: S607
        if kick:  # The command fails if there is no session to end.
            subprocess.run(["doveadm", "kick", "*"], check=False, capture_output=True)  # noqa: S607
        wait_until(lambda: not any(map(runs, old)), PATIENCE)
        return wait_until(lmtp_greets, START_SECONDS)


if __name__ == "__main__":
    try:
        if not reload(kick="kick" in sys.argv[1:]):
            sys.exit(f"LMTP does not answer {START_SECONDS:.0f} s after the reload")
    except subprocess.CalledProcessError as error:
        sys.exit(f"doveadm reload failed with exit code {error.returncode}")
