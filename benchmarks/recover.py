"""Recovery against Dovecot's tools, and against the format's own limit: ``make bench``.

Dovecot's: a loop of ``doveadm fs get crypt``, and ``doveadm backup`` of a mailbox in one process.

The limit: PBKDF2 of 2,048 rounds, one ECDH and AES-GCM a mail, bare, on the same cores, once
with the PBKDF2 of Python's hashlib and once with that of cryptography, whose OpenSSL is a newer
one and takes half the time.  Store and output are in memory, so that the disk is not measured.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from benchmarks import doveadm
from benchmarks.measure import MEMORY, folder, mailcrypt, ratio, seconds, span
from mailcrypt_component.store.workers import cores, in_processes
from tests.store import Key, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROUNDS = 5
LOOPED = 60
COPIED = 200
LOOP = (
    f"for f in $(find /bench/store -type f | head -n {LOOPED}); do doveadm fs get crypt"
    " private_key_path=/bench/key.pem:posix:prefix=/ ${f#/} >/dev/null || exit 1; done"
)


def by_hashlib(secret: bytes) -> bytes:
    """Derive as Python does."""
    return hashlib.pbkdf2_hmac("sha256", secret, b"x" * 65, 2048, 48)


def by_cryptography(secret: bytes) -> bytes:
    """Derive as mailcrypt does."""
    return PBKDF2HMAC(SHA256(), 48, b"x" * 65, 2048).derive(secret)


def bare(derive: Callable[[bytes], bytes], mails: int, size: int) -> float:
    """Return how long the format's own work takes, on all cores."""
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


def ours(place: Path) -> float:
    """Return how long ``mailcrypt recover`` takes, as a whole process.

    What the run before has written is freed at the last moment: a virtual machine gives
    memory that is free for seconds back to its host, and getting it again is slow.
    """
    out, key = place / "out", place / "key.pem"
    shutil.rmtree(out, ignore_errors=True)
    return seconds(mailcrypt("recover", place / "store", "--key", key, "--out", out, "--json"))


def fill(place: Path, mails: int, size: int) -> None:
    """Write a mailbox, a small one for ``doveadm backup``, and their keys."""
    key = Key()
    (place / "key.pem").write_text(key.pem)
    (place / "public.pem").write_text(key.public_pem)
    write(Store(place / "store"), key, mails, size)
    write(Store(place / "copied"), key, COPIED, size)


def write(store: Store, key: Key, mails: int, size: int) -> None:
    """Write encrypted mails."""
    head = b"Subject: recover\r\n\r\n"
    for number in range(mails):
        mail = head + os.urandom(size // 2).hex().encode()[: size - len(head) - 2] + b"\r\n"
        name = f"{number}.M1P1.mail,S={len(mail)},W={len(mail)}:2,S"
        store.encrypt(mail, key, user="u", name=name)


def compare(mails: int, size: int) -> None:
    """Print one comparison."""
    with folder(MEMORY) as place:
        fill(place, mails, size)
        doveadm.own(place)
        ours(place)
        rows = [
            (
                ours(place),
                bare(by_hashlib, mails, size),
                bare(by_cryptography, mails, size),
                doveadm.timed(place, LOOP) / LOOPED * mails,
                doveadm.backup(place, "copied/u", encrypt=False) / COPIED * mails,
            )
            for _ in range(ROUNDS)
        ]
    took, hashlib_limit, cryptography_limit, looped, copied = zip(*rows, strict=True)
    print(f"recover {mails:,} mails of {size:,} bytes: {span(took)} s")
    print(f"  {ratio(hashlib_limit, took, '.0%')} of the limit with hashlib's PBKDF2")
    print(f"  {ratio(cryptography_limit, took, '.0%')} of the limit with cryptography's PBKDF2")
    print(f"  {ratio(looped, took, '.1f')} x as fast as a loop of doveadm")
    print(f"  {ratio(copied, took, '.1f')} x as fast as doveadm backup")


if __name__ == "__main__":
    compare(8000, 3000)
    compare(1500, 1 << 20)
