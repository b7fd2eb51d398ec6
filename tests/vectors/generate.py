"""Generate the vectors: ``python -m tests.vectors.generate`` (needs the development images).

``encrypted/`` holds files that real Dovecots stored; ``faults/`` holds such files, each
spoiled in one way; ``index.json`` says what each must give.  The keys are for these files
only, and existing keys are kept.
"""

import hashlib
import json
import shutil
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa, x448, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mailcrypt_component.dcrypt.decrypt import ROUNDS_LIMIT
from mailcrypt_component.dialects.dialect import Dialect
from tests.dovecot import COMPRESSIONS, dovecot

HERE = Path(__file__).parent
MAIL = b"From: a@example.test\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\nGr\xc3\xbc\xc3\x9fe\n"
LONG = MAIL + b"".join(b"line %05d of a longer mail\n" % number for number in range(3000))
MAKERS = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "x25519": x25519.X25519PrivateKey.generate,
    "x448": x448.X448PrivateKey.generate,
    "secp192r1": lambda: ec.generate_private_key(ec.SECP192R1()),
    "secp224r1": lambda: ec.generate_private_key(ec.SECP224R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "brainpoolP256r1": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
    "brainpoolP512r1": lambda: ec.generate_private_key(ec.BrainpoolP512R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "rsa4096": lambda: rsa.generate_private_key(65537, 4096),
    "stranger": lambda: ec.generate_private_key(ec.SECP256R1()),
}
_EC = (
    *("p256", "p384", "p521"),
    *("secp192r1", "secp224r1", "secp256k1", "brainpoolP256r1", "brainpoolP512r1"),
)
CAN = {
    Dialect.V2_3: (*_EC, "rsa", "rsa4096"),
    Dialect.V2_4: (*_EC, "x25519", "x448", "rsa", "rsa4096"),
}
"""Keys with which each Dovecot encrypts and decrypts; the other ones make it fail or crash."""
ALGORITHMS = (
    "aes-128-gcm-sha512",
    "aes-192-gcm-sha384",
    "aes-256-gcm-sha1",
    "aes-256-gcm-md5",
    "chacha20-poly1305-sha256",
)
"""What 2.4.1 writes besides its default; with AES in CBC mode it crashes."""
UNSUPPORTED = "aria-256-gcm-sha256"
LEVEL_22 = {
    Dialect.V2_3: "plugin/zlib_save_level=22",
    Dialect.V2_4: "compress_zstd_level=22",
}
VERSION_1 = "plugin/mail_crypt_save_version=1"


def keys():
    """Make the keys that do not exist; return their PEMs by name."""
    folder = HERE / "keys"
    folder.mkdir(exist_ok=True)
    for name, make in MAKERS.items():
        path = folder / f"{name}.pem"
        if not path.exists():
            pem = make().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            path.write_bytes(pem)
    return {name: (folder / f"{name}.pem").read_bytes() for name in MAKERS}


def encrypted():
    """Yield name, key's name, compression, plain mail and what a real Dovecot stored."""
    from mailcrypt_component.dcrypt.keys import load_private_key  # noqa: PLC0415

    pems = keys()
    for dialect, names in CAN.items():
        for name in names:
            public = load_private_key(pems[name]).public_key()
            pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            with dovecot(dialect, pems[name], pem) as writer:
                yield from written(writer, dialect, name)


def written(writer, dialect, name):
    """Yield what one Dovecot with one key stores."""
    head = f"{dialect.value}-{name}"
    yield f"{head}-small", name, None, MAIL, writer.write(MAIL)
    if dialect is Dialect.V2_3 and name in _EC:
        yield f"{head}-version-1-small", name, None, MAIL, writer.write(MAIL, options=[VERSION_1])
    if name != "p256":
        return
    yield f"{head}-long", name, None, LONG, writer.write(LONG)
    for method in COMPRESSIONS[dialect]:
        yield f"{head}-{method}", name, method, LONG, writer.write(LONG, method)
    stored = writer.write(LONG, "zstd", [LEVEL_22[dialect]])
    yield f"{head}-zstd-22", name, "zstd", LONG, stored
    if dialect is Dialect.V2_3:
        yield f"{head}-version-1-long", name, None, LONG, writer.write(LONG, options=[VERSION_1])
        stored = writer.write(LONG, "gz", [VERSION_1])
        yield f"{head}-version-1-gz", name, "gz", LONG, stored
        return
    for algorithm in (*ALGORITHMS, UNSUPPORTED):
        stored = writer.write(LONG, options=[f"crypt_write_algorithm={algorithm}"])
        yield f"{head}-{algorithm}", name, None, LONG, stored


def with_number(data, offset, number):
    return data[:offset] + number.to_bytes(4) + data[offset + 4 :]


def flipped(data, offset):
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


def faults(good):
    """Return every fault of version 2 by name: the spoiled file and the error it must give."""
    end = int.from_bytes(good[14:18])
    ephemeral, encrypted_key = 48 + 1 + 33, 48 + 1 + 33 + 4 + 65
    return {
        "empty": (b"", "NotEncrypted"),
        "in-clear": (MAIL, "NotEncrypted"),
        "half-a-magic": (good[:5], "Truncated"),
        "magic-alone": (good[:9], "Truncated"),
        "ends-in-the-header": (good[: end - 1], "Truncated"),
        "ends-behind-the-header": (good[:end], "Truncated"),
        "ends-in-the-tag": (good[: end + 15], "Truncated"),
        "last-byte-missing": (good[:-1], "Damaged"),
        "garbage-behind-the-magic": (good[:9] + hashlib.sha512(b"x").digest() * 8, "Unsupported"),
        "garbage-behind-the-end": (good + b"x", "Damaged"),
        "version-1-in-name-only": (good[:9] + b"\x01" + good[10:], "Damaged"),
        "version-3": (good[:9] + b"\x03" + good[10:], "Unsupported"),
        "header-length-0": (with_number(good, 14, 0), "Damaged"),
        "header-length-4-gib": (with_number(good, 14, 0xFFFFFFFF), "Damaged"),
        "header-length-1-more": (with_number(good, 14, end + 1), "Damaged"),
        "rounds-0": (with_number(good, 40, 0), "Damaged"),
        "rounds-above-the-limit": (with_number(good, 40, ROUNDS_LIMIT + 1), "Damaged"),
        "rounds-4-gib": (with_number(good, 40, 0xFFFFFFFF), "Damaged"),
        "key-data-4-gib": (with_number(good, 44, 0xFFFFFFFF), "Damaged"),
        "no-recipient": (good[:48] + b"\x00" + good[49:], "Damaged"),
        "255-recipients": (good[:48] + b"\xff" + good[49:], "Damaged"),
        "unknown-key-type": (good[:49] + b"\x09" + good[50:], "Damaged"),
        "another-recipient": (flipped(good, 50), "NoKey"),
        "ephemeral-key-4-gib": (with_number(good, ephemeral, 0xFFFFFFFF), "Damaged"),
        "ephemeral-key-off-the-curve": (flipped(good, ephemeral + 10), "Damaged"),
        "encrypted-key-4-gib": (with_number(good, encrypted_key, 0xFFFFFFFF), "Damaged"),
        "encrypted-key-altered": (flipped(good, encrypted_key + 10), "Damaged"),
        "content-altered": (flipped(good, end), "Damaged"),
        "tag-altered": (flipped(good, len(good) - 1), "Damaged"),
        "unknown-cipher": (good[:20] + b"\x55" + good[21:], "Unsupported"),
    }


def faults_of_version_1(good):
    """Return every fault of version 1 by name, as ``faults`` does."""
    end = 12 + int.from_bytes(good[10:12])
    digest, key_hash, encrypted_key = 12 + 2 + 65 + 2, 12 + 67 + 34 + 2, 12 + 67 + 34 + 34 + 2
    named = {
        "ends-before-the-length": (good[:11], "Truncated"),
        "ends-in-the-header": (good[: end - 1], "Truncated"),
        "length-0": (good[:10] + b"\x00\x00" + good[12:], "Damaged"),
        "length-64-kib": (good[:10] + b"\xff\xff" + good[12:], "Damaged"),
        "length-1-more": (flipped(good, 11), "Damaged"),
        "ephemeral-key-of-0-bytes": (good[:12] + b"\x00\x00" + good[14:], "Damaged"),
        "ephemeral-key-of-64-kib": (good[:12] + b"\xff\xff" + good[14:], "Damaged"),
        "ephemeral-key-off-the-curve": (flipped(good, 12 + 2 + 10), "Damaged"),
        "another-recipient": (flipped(good, digest), "NoKey"),
        "key-hash-altered": (flipped(good, key_hash), "Damaged"),
        "encrypted-key-altered": (flipped(good, encrypted_key), "Damaged"),
        "garbage-behind-the-magic": (good[:10] + hashlib.sha512(b"x").digest() * 8, "Damaged"),
    }
    return {f"version-1-{name}": fault for name, fault in named.items()}


def main():
    index = {"encrypted": {}, "faults": {}}
    for folder in ("encrypted", "faults"):
        shutil.rmtree(HERE / folder, ignore_errors=True)
        (HERE / folder).mkdir()
    spoiled = {}
    for name, key, compression, plain, stored in encrypted():
        if name.endswith(UNSUPPORTED):
            spoiled[name] = (stored, "Unsupported")
            continue
        (HERE / "encrypted" / name).write_bytes(stored)
        digest = hashlib.sha256(plain).hexdigest()
        index["encrypted"][name] = {"key": key, "compression": compression, "sha256": digest}
    spoiled |= faults((HERE / "encrypted/2.4-p256-small").read_bytes())
    spoiled |= faults_of_version_1((HERE / "encrypted/2.3-p256-version-1-small").read_bytes())
    for name, (data, error) in spoiled.items():
        (HERE / "faults" / name).write_bytes(data)
        index["faults"][name] = error
    (HERE / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    print(f"{len(index['encrypted'])} encrypted files and {len(index['faults'])} faults")


if __name__ == "__main__":
    main()
