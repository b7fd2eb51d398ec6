"""Any bytes give a clear result: never a crash, and no plaintext whose tag does not fit."""

import bz2
import gzip
import io
import lzma
from pathlib import Path

import lz4.block
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mailcrypt_component.dcrypt.compression import LZ4_MAGIC, decompress
from mailcrypt_component.dcrypt.decrypt import decrypt, decrypt_bytes
from mailcrypt_component.dcrypt.encrypt import encrypt
from mailcrypt_component.dcrypt.header import MAGIC, NotEncrypted, Unsupported
from mailcrypt_component.dcrypt.key_id import key_id
from mailcrypt_component.dcrypt.keys import load_private_key
from mailcrypt_component.model.errors import FormatError
from mailcrypt_component.model.key_ring import Curve, make_key

VECTORS = Path(__file__).parents[1] / "vectors"
PEM = (VECTORS / "keys/p256.pem").read_bytes()
KEY = load_private_key(PEM)
KEYS = {key_id(KEY.public_key()): KEY}
GOOD = (VECTORS / "encrypted/2.4-p256-small").read_bytes()
PLAIN = decrypt_bytes(GOOD, KEYS)


def opened(data):
    """Return the plaintext, or None if it was refused with an error of ours."""
    try:
        streamed = b"".join(decrypt(io.BytesIO(data), KEYS))
    except FormatError:
        with pytest.raises(FormatError):
            decrypt_bytes(data, KEYS)
        return None
    assert decrypt_bytes(data, KEYS) == streamed
    return streamed


def test_a_file_cut_at_any_byte_is_refused():
    """Only the whole file gives a mail."""
    assert [size for size in range(len(GOOD)) if opened(GOOD[:size]) is not None] == []


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_never_gives_another_mail(bit):
    """The file is refused, or gives the original mail."""
    for offset in range(len(GOOD)):
        spoiled = bytearray(GOOD)
        spoiled[offset] ^= 1 << bit
        if 40 <= offset < 44:
            continue  # The number of rounds: thousands of them are tried by the vectors.
        assert opened(bytes(spoiled)) in {None, PLAIN}, offset


@given(st.binary(max_size=600))
@example(MAGIC)
def test_garbage_behind_the_magic_is_refused(garbage):
    """Without the magic it is reported as in clear."""
    assert opened(MAGIC + garbage) is None
    if not garbage.startswith(MAGIC[:1]):
        with pytest.raises(NotEncrypted):
            decrypt_bytes(garbage, KEYS)


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=200_000), st.sampled_from([*Curve]))
def test_a_file_encrypted_here_is_decrypted_here(plain, kind):
    """Each kind of current key and any size of mail works."""
    key = make_key(kind)
    keys = {key_id(key.public_key()): key}
    encrypted = encrypt(plain, key.public_key())
    assert decrypt_bytes(encrypted, keys) == plain
    assert b"".join(decrypt(io.BytesIO(encrypted), keys)) == plain


def by_lz4(data):
    """Compress in the frames that Dovecot writes."""
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
def test_each_compression_is_undone(method, size):
    """The size of the chunks does not matter."""
    packed = METHODS[method](MAIL)
    assert b"".join(decompress(pieces(packed, size))) == MAIL


@pytest.mark.parametrize("extreme", [0, lzma.PRESET_EXTREME])
@pytest.mark.parametrize("level", range(10))
def test_every_level_of_xz_is_read(level, extreme):
    """The memory limit is Dovecot's own; level 9 needs 65 MiB of its 80 MiB."""
    packed = lzma.compress(MAIL, preset=level | extreme)
    assert b"".join(decompress([packed])) == MAIL


def by_wide_xz(data):
    """Compress so that decompressing needs 256 MiB."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 28}]
    return lzma.compress(data, filters=filters)


def by_wide_zstd(data):
    """Compress with a window of 256 MiB."""
    wide = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    engine = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    return engine.compress(data) + engine.flush()


@pytest.mark.parametrize(("pack", "limit"), [(by_wide_xz, "80 MiB"), (by_wide_zstd, "128 MiB")])
def test_data_that_need_more_memory_than_dovecot_gives_are_unsupported(pack, limit):
    """They are not reported as damaged, and the message names the limit."""
    with pytest.raises(Unsupported, match="more memory than Dovecot allows") as found:
        list(decompress([pack(MAIL)]))
    assert limit in str(found.value)


@pytest.mark.parametrize("method", METHODS)
def test_a_compressed_stream_that_ends_early_is_damaged(method):
    """A cut mail never passes for a whole one."""
    packed = METHODS[method](MAIL)
    for end in (17, len(packed) // 2, len(packed) - 1):
        with pytest.raises(FormatError):
            list(decompress([packed[:end]]))


@pytest.mark.parametrize("method", METHODS)
def test_a_bomb_is_decompressed_in_small_pieces(method):
    """The memory in use is bounded, whatever the compression ratio."""
    packed = METHODS[method](bytes(20_000_000))
    largest = max(len(piece) for piece in decompress(pieces(packed, 65536)))
    assert largest <= 1 << 24


@given(
    st.sampled_from([b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", LZ4_MAGIC]),
    st.binary(max_size=300),
)
def test_garbage_behind_a_compressions_magic_is_refused(magic, garbage):
    """It raises an error of ours, or is not the start of that format."""
    try:
        list(decompress([magic + garbage]))
    except FormatError:
        return
