"""Real Dovecots write, we open; we encrypt, real Dovecots open: byte for byte, any size."""

import hashlib
import io
import random

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailcrypt_component.dcrypt.compression import decompress, method_of
from mailcrypt_component.dcrypt.decrypt import decrypt
from mailcrypt_component.dcrypt.encrypt import encrypt
from mailcrypt_component.dcrypt.header import parse_header
from mailcrypt_component.dcrypt.key_id import key_id
from mailcrypt_component.dcrypt.keys import load_private_key
from mailcrypt_component.model.dialects import Dialect
from tests.dovecot import COMPRESSIONS, dovecot
from tests.vectors.generate import keys

pytestmark = pytest.mark.server

SIZES = (1, 15, 16, 17, 4096, 65_535, 65_536, 65_537, 1_000_003, 100 << 20)
"""Bytes of a mail's body; the last one is 100 MiB."""
CURVES = ("p256", "p384", "p521")


def mail(size):
    """Return a mail with a body of this many bytes, text lines that do not compress away."""
    lines = random.Random(size).randbytes(min(size, 1 << 20)).hex().encode()
    text = b"\n".join(lines[start : start + 76] for start in range(0, len(lines), 76))
    return b"Subject: size\n\n" + (text * (size // len(text) + 1))[:size]


@pytest.fixture(scope="module", params=Dialect, ids=lambda dialect: dialect.value)
def writers(request):
    """Every curve's Dovecot of one version."""
    made = {}
    stack = []
    for name in CURVES:
        pem = keys()[name]
        public = load_private_key(pem).public_key()
        text = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        manager = dovecot(request.param, pem, text)
        made[name] = manager.__enter__()
        stack.append(manager)
    yield request.param, made
    for manager in stack:
        manager.__exit__(None, None, None)


def ring(name):
    key = load_private_key(keys()[name])
    return {key_id(key.public_key()): key}


def opened(stored, name):
    """Return size and SHA-256 of what comes out, without holding it."""
    digest, size = hashlib.sha256(), 0
    for piece in decompress(decrypt(io.BytesIO(stored), ring(name))):
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


@pytest.mark.parametrize("size", SIZES)
def test_any_size_is_opened_byte_for_byte(writers, size):
    """By P-256, and one mail by each other curve."""
    _, made = writers
    plain = mail(size)
    for name in CURVES if size == 4096 else CURVES[:1]:
        stored = made[name].write(plain)
        assert parse_header(stored).recipients[0].key_id == next(iter(ring(name)))
        assert opened(stored, name) == (len(plain), hashlib.sha256(plain).hexdigest())


def test_an_empty_mail(writers):
    """Dovecot adds nothing to it, or refuses it; what is stored is opened to what it reads."""
    _, made = writers
    stored = made["p256"].write(b"\n")
    assert opened(stored, "p256")[0] == 1


def test_each_compression_of_this_version(writers):
    """Compressed, then encrypted."""
    dialect, made = writers
    plain = mail(1_000_003)
    for method in COMPRESSIONS[dialect]:
        stored = made["p256"].write(plain, method)
        inner = b"".join(decrypt(io.BytesIO(stored), ring("p256")))
        assert method_of(inner) == method
        assert opened(stored, "p256") == (len(plain), hashlib.sha256(plain).hexdigest())


def test_dovecot_opens_what_is_encrypted_here(writers):
    """By each curve."""
    _, made = writers
    plain = mail(5000)
    for name in CURVES:
        stored = encrypt(plain, load_private_key(keys()[name]).public_key())
        said = made[name].read(stored).replace(b"\r\n", b"\n")
        assert said.rstrip(b"\f\n") == plain.rstrip(b"\n")
