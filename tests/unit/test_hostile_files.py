"""Whatever the bytes are: a clear result, never a crash, and no plaintext that failed its tag."""

import bz2
import gzip
import io
import lzma
from pathlib import Path

import lz4.block
import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailcrypt_component.dcrypt.compression import LZ4_MAGIC, decompress
from mailcrypt_component.dcrypt.decrypt import decrypt, decrypt_bytes
from mailcrypt_component.dcrypt.encrypt import encrypt
from mailcrypt_component.dcrypt.header import MAGIC, NotEncrypted
from mailcrypt_component.dcrypt.key_id import key_id
from mailcrypt_component.dcrypt.keys import load_private_key
from mailcrypt_component.model.errors import FormatError

VECTORS = Path(__file__).parents[1] / "vectors"
PEM = (VECTORS / "keys/p256.pem").read_bytes()
KEY = load_private_key(PEM)
KEYS = {key_id(KEY.public_key()): KEY}
GOOD = (VECTORS / "encrypted/2.4-p256-small").read_bytes()
PLAIN = decrypt_bytes(GOOD, KEYS)


def opened(data):
    """Return the plaintext, or None where it was refused with an error of ours."""
    try:
        streamed = b"".join(decrypt(io.BytesIO(data), KEYS))
    except FormatError:
        with pytest.raises(FormatError):
            decrypt_bytes(data, KEYS)
        return None
    assert decrypt_bytes(data, KEYS) == streamed
    return streamed


def test_a_file_cut_at_any_byte_is_refused():
    """No length but the whole one gives a mail."""
    assert [size for size in range(len(GOOD)) if opened(GOOD[:size]) is not None] == []


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_never_gives_another_mail(bit):
    """It is refused, or what comes out is what was encrypted (the tag covers it)."""
    for offset in range(len(GOOD)):
        spoiled = bytearray(GOOD)
        spoiled[offset] ^= 1 << bit
        if 40 <= offset < 44:
            continue  # The number of rounds: thousands of them are tried by the vectors.
        assert opened(bytes(spoiled)) in {None, PLAIN}, offset


@given(st.binary(max_size=600))
@example(MAGIC)
def test_anything_behind_the_magic_is_refused(garbage):
    """And without the magic it is told as in clear."""
    assert opened(MAGIC + garbage) is None
    if not garbage.startswith(MAGIC[:1]):
        with pytest.raises(NotEncrypted):
            decrypt_bytes(garbage, KEYS)


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=200_000), st.sampled_from(["P256", "P384", "P521", "X25519"]))
def test_what_is_encrypted_here_comes_back(plain, kind):
    """For each kind of key and any size."""
    make = {
        "P256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "P384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "P521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "X25519": x25519.X25519PrivateKey.generate,
    }
    key = make[kind]()
    keys = {key_id(key.public_key()): key}
    encrypted = encrypt(plain, key.public_key())
    assert decrypt_bytes(encrypted, keys) == plain
    assert b"".join(decrypt(io.BytesIO(encrypted), keys)) == plain


def by_lz4(data):
    """Compress as Dovecot frames it."""
    chunks = [data[start : start + 65536] for start in range(0, len(data), 65536)]
    blocks = [lz4.block.compress(chunk, store_size=False) for chunk in chunks]
    framed = b"".join(len(block).to_bytes(4) + block for block in blocks)
    return LZ4_MAGIC + (65536).to_bytes(4) + framed


METHODS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
    "lz4": by_lz4,
}
MAIL = b"Subject: x\n\n" + bytes(range(256)) * 2000 + bytes(300_000)


def pieces(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [1000, 65536, 10**7])
def test_each_compression_comes_back_whole(method, size):
    """However the chunks fall."""
    packed = METHODS[method](MAIL)
    assert b"".join(decompress(pieces(packed, size))) == MAIL


@pytest.mark.parametrize("method", METHODS)
def test_a_compressed_stream_that_ends_early_is_damaged(method):
    """A shorter mail is never taken for the whole one."""
    packed = METHODS[method](MAIL)
    for end in (17, len(packed) // 2, len(packed) - 1):
        with pytest.raises(FormatError):
            list(decompress([packed[:end]]))


@pytest.mark.parametrize("method", METHODS)
def test_a_bomb_comes_out_in_small_pieces(method):
    """What is in memory at a time is bounded, whatever the ratio."""
    packed = METHODS[method](bytes(20_000_000))
    largest = max(len(piece) for piece in decompress(pieces(packed, 65536)))
    assert largest <= 1 << 24


@given(
    st.sampled_from([b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", LZ4_MAGIC]),
    st.binary(max_size=300),
)
def test_garbage_behind_a_compressions_magic_is_refused(magic, garbage):
    """With an error of ours."""
    try:
        list(decompress([magic + garbage]))
    except FormatError:
        return
