"""Recovery against a loop of ``doveadm fs get crypt``, and against the format's own limit.

Store and output lie in memory, so that the disk is not measured.  The limit: PBKDF2 of
2,048 rounds, one ECDH and AES-GCM a mail, bare, on the same cores in the same run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mailcrypt_component.store.workers import cores, in_processes
from tests.store import Key, Store

PAIRS = 5
IMAGE = "mailcrypt-dms-dev:12"
LOOPED = 60
MEMORY = "/dev/shm"  # noqa: S108


def bare(mails: int, size: int) -> float:
    """Return how long what the format asks for takes, on all cores."""
    key = ec.generate_private_key(ec.SECP256R1())
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    cipher, sealed = AESGCM(bytes(32)), AESGCM(bytes(32)).encrypt(bytes(12), bytes(size), b"")

    def share(_: int, number: int, tell: object) -> int:
        del tell
        for _ in range(mails // number):
            secret = key.exchange(ec.ECDH(), other)
            hashlib.pbkdf2_hmac("sha256", secret, b"x" * 65, 2048, 48)
            cipher.decrypt(bytes(12), sealed, b"")
        return 0

    begin = time.perf_counter()
    in_processes(share, cores())
    return time.perf_counter() - begin


def ours(store: Path, pem: Path) -> float:
    """Return how long ``mailcrypt recover`` takes, as a whole process."""
    out = Path(tempfile.mkdtemp(dir=store.parent))
    argv = ["recover", str(store), "--key", str(pem), "--out", str(out), "--json"]
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "mailcrypt_component.cli", *argv],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    took = time.perf_counter() - begin
    shutil.rmtree(out)
    return took


def doveadm(store: Path, pem: Path) -> float:
    """Return how long one mail takes in a loop of doveadm, in seconds."""
    loop = (
        f"for f in $(find /store -type f | head -n {LOOPED}); do doveadm fs get crypt"
        " private_key_path=/key.pem:posix:prefix=/ ${f#/} >/dev/null || exit 1; done"
    )
    timed = f"s=$(date +%s%N); {loop}; e=$(date +%s%N); echo $((e - s))"
    argv = ["docker", "run", "--rm", "--entrypoint", "sh", "-v", f"{store}:/store:ro"]
    argv += ["-v", f"{pem}:/key.pem:ro", IMAGE, "-c", timed]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1e9 / LOOPED


def compare(mails: int, size: int) -> None:
    """Print one comparison."""
    folder = Path(tempfile.mkdtemp(prefix="mailcrypt-bench-", dir=MEMORY))
    try:
        key, store = Key(), Store(folder / "store")
        for number in range(mails):
            store.seal(os.urandom(size), key, name=f"{number}.M1P1.mail")
        pem = folder / "key.pem"
        pem.write_text(key.pem)
        ours(store.root, pem)
        rows = [
            (ours(store.root, pem), bare(mails, size), doveadm(store.root, pem))
            for _ in range(PAIRS)
        ]
    finally:
        shutil.rmtree(folder)
    limits = sorted(limit / mine for mine, limit, _ in rows)
    loops = sorted(loop * mails / mine for mine, _, loop in rows)
    print(
        f"{mails} mails of {size:,} bytes: {statistics.median(row[0] for row in rows):.2f} s, "
        f"{100 * statistics.median(limits):.0f} % of the limit "
        f"({100 * limits[0]:.0f}-{100 * limits[-1]:.0f}), {statistics.median(loops):.1f} times "
        f"a loop of doveadm ({loops[0]:.1f}-{loops[-1]:.1f})"
    )


if __name__ == "__main__":
    compare(8000, 3000)
    compare(1500, 1 << 20)
