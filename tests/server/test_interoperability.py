"""Real Dovecots encrypt and we decrypt, and the other way round, byte for byte, at any size."""

import hashlib
import io
import lzma
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailcrypt_component.dcrypt.compression import decompress, method_of
from mailcrypt_component.dcrypt.decrypt import decrypt
from mailcrypt_component.dcrypt.encrypt import encrypt
from mailcrypt_component.dcrypt.header import parse_header
from mailcrypt_component.dcrypt.key_id import key_id
from mailcrypt_component.dcrypt.keys import load_private_key
from mailcrypt_component.dialects.dialect import Dialect
from tests.dovecot import COMPRESSIONS, dovecot
from tests.vectors.generate import CAN, keys

pytestmark = pytest.mark.server

SIZES = (1, 15, 16, 17, 4096, 65_535, 65_536, 65_537, 1_000_003, 100 << 20)
"""Bytes of a mail's body; the last one is 100 MiB."""
CURVES = ("p256", "p384", "p521")
VECTORS = Path(__file__).parents[1] / "vectors/encrypted"


def mail(size):
    """Return a mail with a body of this many bytes, text lines that do not compress away."""
    lines = random.Random(size).randbytes(min(size, 1 << 20)).hex().encode()
    text = b"\n".join(lines[start : start + 76] for start in range(0, len(lines), 76))
    return b"Subject: size\n\n" + (text * (size // len(text) + 1))[:size]


@pytest.fixture(scope="module", params=Dialect, ids=lambda dialect: dialect.value)
def writers(request):
    """A Dovecot of one version for each curve."""
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
    """Return size and SHA-256 of the plaintext, without holding it in memory."""
    digest, size = hashlib.sha256(), 0
    for piece in decompress(decrypt(io.BytesIO(stored), ring(name))):
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


@pytest.mark.parametrize("size", SIZES)
def test_any_size_is_decrypted_byte_for_byte(writers, size):
    """Every size is tried with a P-256 key, and one size with each other curve."""
    _, made = writers
    plain = mail(size)
    for name in CURVES if size == 4096 else CURVES[:1]:
        stored = made[name].write(plain)
        assert parse_header(stored).recipients[0].key_id == next(iter(ring(name)))
        assert opened(stored, name) == (len(plain), hashlib.sha256(plain).hexdigest())


def test_an_empty_mail_is_decrypted(writers):
    """Dovecot stores it as one line end."""
    _, made = writers
    stored = made["p256"].write(b"\n")
    assert opened(stored, "p256")[0] == 1


def test_each_compression_of_this_version_is_undone(writers):
    """Dovecot compresses first and then encrypts."""
    dialect, made = writers
    plain = mail(1_000_003)
    for method in COMPRESSIONS[dialect]:
        stored = made["p256"].write(plain, method)
        inner = b"".join(decrypt(io.BytesIO(stored), ring("p256")))
        assert method_of(inner) == method
        assert opened(stored, "p256") == (len(plain), hashlib.sha256(plain).hexdigest())


def read_by(reader, stored):
    """Return the mail that a Dovecot reads, without the line ends that doveadm adds."""
    return reader.read(stored).replace(b"\r\n", b"\n").rstrip(b"\f\n")


def test_dovecot_decrypts_a_mail_that_is_encrypted_here(writers):
    """It does so for each curve."""
    _, made = writers
    plain = mail(5000)
    for name in CURVES:
        stored = encrypt(plain, load_private_key(keys()[name]).public_key())
        assert read_by(made[name], stored) == plain.rstrip(b"\n")


def test_dovecot_and_this_program_read_the_same_levels_of_xz(writers):
    """2.3 reads every level, as we do; it cannot write xz, and 2.4 no longer reads it."""
    dialect, made = writers
    plain, public = mail(5000), load_private_key(keys()["p256"]).public_key()
    for level in range(10):
        stored = encrypt(lzma.compress(plain, preset=level), public)
        assert opened(stored, "p256") == (len(plain), hashlib.sha256(plain).hexdigest())
        reads = read_by(made["p256"], stored) == plain.rstrip(b"\n")
        assert reads is (dialect is Dialect.V2_3), level


@pytest.mark.parametrize("dialect", Dialect, ids=lambda dialect: dialect.value)
def test_a_retired_key_of_each_kind_opens_its_old_mail(dialect):
    """RSA, X448 and the further curves decrypt, behind a current key on P-256.

    Mail of format version 1 is read by both versions of Dovecot.
    """
    made = keys()
    current = load_private_key(made["stranger"]).public_key()
    public = current.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    retired = [made[name] for name in CAN[dialect]]
    old = [f"{dialect.value}-{name}-small" for name in CAN[dialect]]
    old += [path.name for path in VECTORS.glob("2.3-*-version-1-small")]
    assert len(old) > len(retired)
    with dovecot(dialect, made["stranger"], public, retired) as reader:
        for name in old:
            plain = read_by(reader, (VECTORS / name).read_bytes())
            assert plain.startswith(b"From: a@example.test\nSubject: "), name
