"""What custody in memory costs: an up, an unlock, and the first look at a large mailbox.

Two stacks, one with keys and index cache in memory and one with both on disk, are deployed and
destroyed in turn.  Then a mailbox of 10,000 mails is listed right after an unlock, with an empty
cache and once its newest mails are back in it.

Run: make bench (or python -m benchmarks.custody [RUNS])
"""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from mailcrypt_component.custody.index_cache import NEWEST
from mailcrypt_component.dcrypt.encrypt import encrypt
from mailcrypt_component.dialects.dialect import CACHE_DIR
from tests.stacks import Stack

SETTINGS = {"image": "mailcrypt-dms-dev:13", "dialect": "2.4"}
ON_DISK = {"keyCustody": "disk", "indexCache": "disk"}
MAILS = 10_000
USER = "user@example.test"
LOOK = f"""
import subprocess, time
imap = subprocess.Popen(["/usr/lib/dovecot/imap", "-u", "{USER}"],
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
begin = time.perf_counter()
imap.stdin.write(b"a EXAMINE INBOX\\r\\n"
                 b"b FETCH {MAILS - NEWEST + 1}:{MAILS} (UID FLAGS ENVELOPE BODYSTRUCTURE)\\r\\n")
imap.stdin.flush()
for line in imap.stdout:
    if line.startswith(b"b "):
        break
print(time.perf_counter() - begin)
imap.kill()
"""


def seconds_of_up(folder: Path, name: str, settings: dict[str, str]) -> float:
    """Return how long the first update of a stack takes; the stack is destroyed."""
    stack = Stack(folder, name)
    try:
        begin = time.perf_counter()
        stack.green(**SETTINGS, **settings)
        return time.perf_counter() - begin
    finally:
        stack.destroy()


def compare_ups(runs: int) -> None:
    """Print what custody adds to a warm up."""
    pairs = []
    for run in range(runs):
        took = []
        for name, settings in (("memory", {}), ("disk", ON_DISK)):
            with tempfile.TemporaryDirectory() as folder:
                took.append(seconds_of_up(Path(folder), f"bench-{name}{run}", settings))
        pairs.append(took)
    extra = sorted(memory - disk for memory, disk in pairs)
    memory, disk = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"warm up: in memory {memory:.1f} s, on disk {disk:.1f} s, "
        f"{statistics.median(extra):+.1f} s ({extra[0]:+.1f} to {extra[-1]:+.1f})"
    )


def fill(stack: Stack) -> None:
    """Put 10,000 encrypted mails into the inbox."""
    public = load_pem_public_key(stack.outputs()["publicKey"].encode())
    if not isinstance(public, EllipticCurvePublicKey):
        raise SystemExit(f"a key of the type {type(public)}")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number in range(MAILS):
            head = f"From: a{number}@example.test\r\nTo: {USER}\r\nSubject: mail {number}\r\n\r\n"
            mail = (head + "text\r\n" * 300).encode()
            stored = encrypt(mail, public)
            name = f"example.test/user/cur/{1_700_000_000 + number}.M{number}P1.x,S={len(mail)}:2,"
            entry = tarfile.TarInfo(name)
            entry.size, entry.uid, entry.gid, entry.mode = len(stored), 5000, 5000, 0o600
            archive.addfile(entry, io.BytesIO(stored))
    argv = ["docker", "exec", "-i", stack.container, "tar", "-xf", "-", "-C", "/var/mail"]
    subprocess.run(argv, input=buffer.getvalue(), check=True)


def look(stack: Stack) -> float:
    """Return how long it takes to list the newest mails of the inbox, in seconds."""
    return float(stack.run("python3 -I -", stdin=LOOK))


def unlock(stack: Stack) -> float:
    """Lock and unlock a server whose cache is empty; return how long the unlock takes."""
    stack.mailcrypt("lock")
    stack.run(f"find {CACHE_DIR} -name dovecot.index.cache -delete")
    begin = time.perf_counter()
    done = stack.mailcrypt("unlock")
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - begin


def filled(stack: Stack) -> None:
    """Wait until the program that fills the cache has ended."""
    stack.run("while pgrep -f [m]ailcrypt-cache >/dev/null; do sleep 0.1; done")


def compare_looks(runs: int) -> None:
    """Print how long an unlock takes, and the first look right after it and a moment later."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), "bench-look")
        try:
            stack.green(**SETTINGS)
            fill(stack)
            look(stack)  # Dovecot finds the mails.
            rows = []
            for _ in range(runs):
                took, first = unlock(stack), look(stack)
                filled(stack)
                rows.append((took, first, look(stack)))
        finally:
            stack.destroy()
    names = ("mailcrypt unlock", f"newest {NEWEST} of {MAILS:,}, at once", "a moment later")
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        print(f"{name:<30} {statistics.median(column):6.2f} s  {min(column):.2f}-{max(column):.2f}")


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    compare_looks(number)
    compare_ups(number)
