"""Fuzz the file format: ``python -m tests.fuzz.decrypt [SECONDS]``.

The corpus is ``tests/vectors``.  An input is one of its files with bytes flipped,
lengths replaced, parts cut out, repeated or combined.  Each must give an error of ours
or, if its tag still fits, the original plaintext; within a second of processor time; and
with no more than 64 MiB above the start.  Format version 1 has no tag, so
any content may come out of it.  An input that breaks a promise is written to ``tests/fuzz/found``.
"""

import io
import random
import resource
import sys
import time
from pathlib import Path

from mailcrypt_component.dcrypt.compression import decompress
from mailcrypt_component.dcrypt.decrypt import decrypt, decrypt_bytes
from mailcrypt_component.dcrypt.header import parse_header
from mailcrypt_component.dcrypt.key_id import key_id
from mailcrypt_component.dcrypt.keys import load_private_key
from mailcrypt_component.model.errors import FormatError
from mailcrypt_component.store.tally import Shapes, state_of

VECTORS = Path(__file__).parents[1] / "vectors"
FOUND = Path(__file__).parent / "found"
LENGTHS = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
MEMORY_MIB = 64


def keys():
    made = [load_private_key(path.read_bytes()) for path in sorted(VECTORS.glob("keys/*.pem"))]
    return {key_id(key.public_key()): key for key in made}


def flip(data, chance):
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def number(data, chance):
    at = chance.randrange(min(len(data), 400) + 1)
    data[at : at + 4] = chance.choice(LENGTHS).to_bytes(4)


def cut(data, chance):
    start = chance.randrange(len(data) + 1)
    del data[start : start + chance.choice((1, 4, 16, 10**9))]


def repeat(data, chance):
    start = chance.randrange(len(data) + 1)
    data[start:start] = data[start : start + chance.randrange(300)]


def spoil(seed, chance, corpus):
    data = bytearray(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        chance.choice((flip, number, cut, repeat))(data, chance)
    if chance.random() < 0.05:
        data[len(data) // 2 :] = chance.choice(corpus)
    return bytes(data)


def attempt(data, ring, shapes, plains):
    """Raise AssertionError if a promise is broken."""
    outcomes = []
    for opened in (
        lambda: decrypt_bytes(data, ring),
        lambda: b"".join(decrypt(io.BytesIO(data), ring)),
    ):
        try:
            outcomes.append(opened())
        except FormatError as error:
            outcomes.append(type(error))
    if isinstance(outcomes[0], type) != isinstance(outcomes[1], type):
        raise AssertionError(f"at once and in a stream differ: {outcomes}")
    plain = outcomes[0]
    if isinstance(plain, bytes) and plain not in plains and parse_header(data).is_protected:
        raise AssertionError("a plaintext came out that nobody encrypted")
    found = shapes.match(data)
    if found and shapes.state(found) != state_of(data, len(data)):
        raise AssertionError("the audit's fast path and the parser differ")
    try:
        for _ in decompress([data]):
            pass
    except FormatError:
        pass


def fuzz(seconds, at_least=1, seed=None):
    """Try inputs for so long, and so many at least; return how many were tried."""
    chance = random.Random(seed)
    files = [path.read_bytes() for path in sorted(VECTORS.glob("*/*")) if "keys" not in path.parts]
    small = [data for data in files if len(data) < 100_000]
    ring, shapes = keys(), Shapes()
    plains = set()
    for data in small:
        shapes.learn(data)
        try:
            plains.add(decrypt_bytes(data, ring))
        except FormatError:
            continue
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seeds = small + sorted(plains)
    end, tried = time.monotonic() + seconds, 0
    while time.monotonic() < end or tried < at_least:
        data = spoil(chance.choice(seeds), chance, seeds)
        begin = time.process_time()
        try:
            attempt(data, ring, shapes, plains)
            taken = time.process_time() - begin
            if taken > 1:
                raise AssertionError(f"it took {taken:.1f} s")
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - baseline) / 1024
            if grown > MEMORY_MIB:
                raise AssertionError(f"{grown:.0f} MiB more than at the start")
        except Exception:
            FOUND.mkdir(exist_ok=True)
            path = FOUND / f"{abs(hash(data)):x}"
            path.write_bytes(data)
            print(f"found: {path}", file=sys.stderr)
            raise
        tried += 1
    return tried


if __name__ == "__main__":
    wanted = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    print(f"{fuzz(wanted):,} inputs tried in {wanted:.0f} s; every promise held")
