"""Looks at a mail server from inside its container; sent there as text, standard library only.

Reads a question as JSON from standard input: ``changed`` (paths that differ from the image),
``places`` (folders by name) and ``settings`` (names of Dovecot's and Postfix's settings).
Prints one JSON object.  No content of any file leaves the container; for a private key it prints
only the SHA-256 of its public key in DER.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Mounts = list[tuple[str, str, str]]

MEMORY = {"tmpfs", "ramfs", "devtmpfs", "proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts"}
MARK = b"PRIVATE KEY-----"
LARGEST_KEY_FILE = 1 << 16
LARGEST_CHANGED_FILE = 1 << 26
LARGEST_OPEN_FILE = 1 << 22
MAIL_FOLDERS = {"cur", "new", "tmp"}
SECONDS = 20


def read_mounts() -> Mounts:
    """Return every mount: path, file system and options; the last one at a path counts."""
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [(fields[1].replace("\\040", " "), fields[2], fields[3]) for fields in lines]


def mount_of(path: str, mounts: Mounts) -> tuple[str, str, str]:
    """Return the mount that holds a path."""
    holding = [m for m in mounts if m[0] == "/" or path == m[0] or path.startswith(m[0] + "/")]
    return max(reversed(holding), key=lambda mount: len(mount[0]))


def on_disk(path: str, mounts: Mounts) -> bool:
    """Tell whether a path lies on a file system that outlives the power."""
    return mount_of(path, mounts)[1] not in MEMORY


def files_below(root: str) -> Iterator[str]:
    """Yield every regular file below a folder except mails; follow no links."""
    for folder, folders, names in os.walk(root):
        if "dovecot-uidlist" in names:
            folders[:] = [name for name in folders if name not in MAIL_FOLDERS]
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path) and os.path.isfile(path):
                yield path


def candidates(changed: Sequence[str], mounts: Mounts) -> Iterator[tuple[str, int]]:
    """Yield files on a disk that could hold a key, each with its largest size.

    A changed file of the layer may be a core dump; those of a volume are small.
    """
    for path in changed:
        if os.path.isfile(path) and on_disk(path, mounts):
            yield path, LARGEST_CHANGED_FILE
    for path, kind, _ in mounts:
        if kind not in MEMORY and path != "/" and os.path.isdir(path):
            yield from ((file, LARGEST_KEY_FILE) for file in files_below(path))


def holds_mark(path: str, limit: int) -> bool:
    """Tell whether a file of at most ``limit`` bytes holds a private key in PEM."""
    with suppress(OSError), open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size <= limit:
            return MARK in file.read(limit)
    return False


def public_digests(path: str | Path) -> list[str]:
    """Return the SHA-256 of the public key of each private key in a file; "" if it is encrypted."""
    blocks = re.findall(
        rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----",
        Path(path).read_bytes(),
        re.DOTALL,
    )
    return [_public_digest(block) for block in blocks]


def _public_digest(block: bytes) -> str:
    argv = ["openssl", "pkey", "-pubout", "-outform", "DER", "-passin", "pass:"]
    done = subprocess.run(argv, input=block, capture_output=True, check=False, timeout=SECONDS)
    return hashlib.sha256(done.stdout).hexdigest() if done.stdout else ""


def keys_on_disk(changed: Sequence[str], mounts: Mounts) -> list[dict[str, Any]]:
    """Return the files on a disk that hold private keys, with the digests of those keys."""
    paths = {path for path, limit in candidates(changed, mounts) if holds_mark(path, limit)}
    return [{"path": path, "digests": public_digests(path)} for path in sorted(paths)]


def deleted_with_key(mounts: Mounts) -> list[str]:
    """Return deleted files on a disk that a process holds open and that hold a private key."""
    found = set()
    for link in _open_files():
        with suppress(OSError):
            target = os.readlink(link)
            path = target.removesuffix(" (deleted)")
            if path == target or not path.startswith("/") or not on_disk(path, mounts):
                continue
            if holds_mark(str(link), LARGEST_OPEN_FILE):
                found.add(path)
    return sorted(found)


def _open_files() -> Iterator[Path]:
    """Yield the links to the open files of every process; one may end meanwhile."""
    for process in os.listdir("/proc"):
        if process.isdecimal():
            with suppress(OSError):
                yield from map(
                    Path(f"/proc/{process}/fd").joinpath, os.listdir(f"/proc/{process}/fd")
                )


def count(root: str, pattern: str) -> int:
    """Return the number of non-empty files that match a pattern below a folder."""
    name = re.compile(pattern)
    return sum(1 for path in _walk(root) if name.search(path) and os.path.getsize(path) > 0)


def _walk(root: str) -> Iterator[str]:
    real = os.path.realpath(root)  # DMS moves folders into the state volume and links them.
    for folder, _, names in os.walk(real):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def ask(argv: Sequence[str]) -> str | None:
    """Return the output of a command; None if it fails or does not exist."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def core_limit() -> str | None:
    """Return the largest size of Dovecot's core dumps, as the kernel writes it."""
    for pid in (ask(["pidof", "dovecot"]) or "").split():
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
                if line.startswith("Max core file size"):
                    return line.split()[4]
    return None


def look(question: dict[str, Any]) -> dict[str, Any]:
    """Answer the question."""
    mounts = read_mounts()
    places = question["places"]
    swaps = Path("/proc/swaps").read_text().splitlines()[1:]
    return {
        "mounts": mounts,
        "swaps": [line.split()[0] for line in swaps],
        "corePattern": Path("/proc/sys/kernel/core_pattern").read_text().strip(),
        "coreLimit": core_limit(),
        "keys": keys_on_disk(question["changed"], mounts),
        "certs": [d for path in sorted(Path("/certs").glob("*.pem")) for d in public_digests(path)],
        "deletedWithKey": deleted_with_key(mounts),
        "places": {
            name: {
                "files": count(place["path"], place["pattern"]),
                "onDisk": on_disk(os.path.realpath(place["path"]), mounts),
            }
            for name, place in places.items()
        },
        "dovecot": ask(["doveconf"]),
        "postfix": ask(["postconf", *question["postfix"]]),
    }


if __name__ == "__main__":
    json.dump(look(json.load(sys.stdin)), sys.stdout)
