"""Searches a raw disk image, free blocks included, for words and for a private key."""

import base64
import os
import re
import subprocess
from collections import Counter
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

CHUNK = 1 << 24
BLOCK = 4096
OVERLAP = 256
CONTEXT = 60


def key_patterns(pem):
    """Return what betrays a private key: its PEM's lines, its DER and its raw scalar."""
    key = load_pem_private_key(pem.encode(), None)
    lines = [line for line in pem.splitlines() if line and not line.startswith("-")]
    numbers = key.private_numbers()
    size = (key.key_size + 7) // 8
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    sec1 = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return {
        **{f"key, PEM line {n}": line.encode() for n, line in enumerate(lines, 1) if len(line) > 9},
        "key, DER": der,
        "key, SEC1": sec1,
        "key, scalar": numbers.private_value.to_bytes(size, "big"),
        "key, scalar reversed": numbers.private_value.to_bytes(size, "little"),
    }


def word_patterns(mark):
    """Return what betrays a mail: its mark as text and in an attachment's base64."""
    assert len(mark) % 3 == 0
    return {"mark": mark.encode(), "mark in base64": base64.b64encode(mark.encode())}


@dataclass(frozen=True)
class Hit:
    """A pattern that was found: its name, where in the image, and the bytes before and after."""

    name: str
    offset: int
    before: bytes
    after: bytes


def chunks(path):
    """Yield offset and bytes of everything in a file that is no hole, with some overlap."""
    with open(path, "rb", buffering=0) as file:
        end = os.fstat(file.fileno()).st_size
        start = 0
        while start < end:
            try:
                start = os.lseek(file.fileno(), start, os.SEEK_DATA)
            except OSError:  # Nothing but a hole is left.
                return
            stop = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            for offset in range(start, stop, CHUNK):
                size = min(CHUNK, stop - offset) + OVERLAP
                yield offset, os.pread(file.fileno(), size, offset)
            start = stop


def search(path, patterns):
    """Return every hit of every pattern (bytes by name) in a file."""
    words = {pattern: name for name, pattern in patterns.items()}
    found = {}
    for offset, data in chunks(path):
        for word, name in words.items():
            at = data.find(word)
            while at >= 0:
                end = at + len(word)
                before, after = data[max(0, at - CONTEXT) : at], data[end : end + CONTEXT]
                found[name, offset + at] = Hit(name, offset + at, before, after)
                at = data.find(word, end)
    return sorted(found.values(), key=lambda hit: hit.offset)


def kinds(hits):
    """Return how often each kind of word was found; the kind follows the mark."""
    return Counter(
        re.match(rb"[a-z]*", hit.after)[0].decode() if hit.name == "mark" else hit.name
        for hit in hits
    )


def owners(path, hits):
    """Return the file that each hit lies in, None for a free block."""
    blocks = {hit.offset // BLOCK for hit in hits}
    inodes = dict(_debugfs(path, "icheck", blocks))
    used = {inode for inode in inodes.values() if inode.isdigit()}
    names = dict(_debugfs(path, "ncheck", used))
    return {
        hit: names.get(inode, f"inode {inode}") if inode.isdigit() else None
        for hit in hits
        for inode in [inodes[str(hit.offset // BLOCK)]]
    }


def shown(path, hits):
    """Say where the first hits lie, for a failure's message."""
    first = owners(path, hits[:12])
    lines = [
        f"{hit.name} in {file or 'a free block'}: {hit.around!r}" for hit, file in first.items()
    ]
    return "\n".join([f"{len(hits)} hits", *lines])


def _debugfs(path, request, numbers):
    """Yield the two columns that debugfs prints for these numbers."""
    argv = ["debugfs", "-c", "-R", f"{request} {' '.join(map(str, sorted(numbers)))}", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines()[1:]:
        number, _, said = line.partition("\t")
        yield number.strip(), said.strip()
