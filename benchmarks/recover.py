"""Recovery against a loop of ``doveadm fs get crypt``, and against the format's own limit.

The limit: PBKDF2 of 2,048 rounds, one ECDH and AES-GCM a mail, bare, on the same cores in
the same run, once with the PBKDF2 of Python's hashlib and once with that of cryptography,
whose OpenSSL is a newer one and takes half the time.  Store and output lie in memory, so that
the disk is not measured.
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
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from mailcrypt_component.store.workers import cores, in_processes
from tests.store import Key, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PAIRS = 5
IMAGE = "mailcrypt-dms-dev:12"
LOOPED = 60
MEMORY = "/dev/shm"  # noqa: S108


def by_hashlib(secret: bytes) -> bytes:
    """Derive as Python does."""
    return hashlib.pbkdf2_hmac("sha256", secret, b"x" * 65, 2048, 48)


def by_cryptography(secret: bytes) -> bytes:
    """Derive as we do."""
    return PBKDF2HMAC(SHA256(), 48, b"x" * 65, 2048).derive(secret)


def bare(derive: Callable[[bytes], bytes], mails: int, size: int) -> float:
    """Return how long what the format asks for takes, on all cores."""
    key = ec.generate_private_key(ec.SECP256R1())
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    cipher, encrypted = AESGCM(bytes(32)), AESGCM(bytes(32)).encrypt(bytes(12), bytes(size), b"")

    def share(_: int, number: int, tell: object) -> int:
        del tell
        for _ in range(mails // number):
            secret = key.exchange(ec.ECDH(), other)
            derive(secret)
            cipher.decrypt(bytes(12), encrypted, b"")
        return 0

    begin = time.perf_counter()
    in_processes(share, cores())
    return time.perf_counter() - begin


def ours(store: Path, pem: Path) -> float:
    """Return how long ``mailcrypt recover`` takes, as a whole process.

    What the run before has written is freed at the last moment: a virtual machine gives
    memory that is free for seconds back to its host, and getting it again is slow.
    """
    out = store.parent / "out"
    argv = ["recover", str(store), "--key", str(pem), "--out", str(out), "--json"]
    shutil.rmtree(out, ignore_errors=True)
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "mailcrypt_component.cli", *argv],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - begin


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
            mail = b"Subject: recover\n\n" + os.urandom(size)
            store.encrypt(mail[:size], key, name=f"{number}.M1P1.mail")
        pem = folder / "key.pem"
        pem.write_text(key.pem)
        ours(store.root, pem)
        rows = [
            (
                ours(store.root, pem),
                bare(by_hashlib, mails, size),
                bare(by_cryptography, mails, size),
                doveadm(store.root, pem) * mails,
            )
            for _ in range(PAIRS)
        ]
    finally:
        shutil.rmtree(folder)
    print(f"{mails} mails of {size:,} bytes: {statistics.median(row[0] for row in rows):.2f} s")
    for name, column in (("hashlib", 1), ("cryptography", 2)):
        print(f"  {ratio(rows, column, '.0%')} of the limit with {name}'s PBKDF2")
    print(f"  {ratio(rows, 3, '.1f')} times a loop of doveadm")


def ratio(rows: Sequence[Sequence[float]], column: int, form: str) -> str:
    """Return median, least and most of a column against ours."""
    found = sorted(row[column] / row[0] for row in rows)
    shown = [format(value, form) for value in (statistics.median(found), found[0], found[-1])]
    return "{} ({}-{})".format(*shown)


if __name__ == "__main__":
    compare(8000, 3000)
    compare(1500, 1 << 20)
