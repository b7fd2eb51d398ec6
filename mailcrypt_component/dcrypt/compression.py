"""Undoes the compression that Dovecot's zlib plugin applies before a mail is encrypted.

As in Dovecot, the first bytes tell the method.  lz4 is Dovecot's own framing:
``Dovecot-LZ4`` and four bytes, the largest size of a chunk (4, big-endian), then
chunks, each with its length (4) in front.  Memory is bounded for any input: the limits
for xz and zstd are Dovecot's own, so every level is read that Dovecot can read.  Mail in
xz is read here although Dovecot 2.4 no longer reads it.

Source: Dovecot, ``src/lib-compression``.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Final, Protocol

import lz4.block
import zstandard

from mailcrypt_component.dcrypt.header import Damaged, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    _Method = Callable[[Iterator[bytes]], Iterator[bytes]]

LZ4_MAGIC: Final = b"Dovecot-LZ4\x0d\x2a\x9b\xc5"
_LZ4_CHUNK_LIMIT: Final = 1 << 20
_XZ_MEMORY_LIMIT: Final = 80 << 20
"""Bytes; as Dovecot 2.3's ``istream-lzma.c``.  Level 9 wants 65 MiB."""
_ZSTD_WINDOW_LIMIT: Final = 1 << 27
"""Bytes; libzstd's own limit, which Dovecot keeps.  Level 22 wants all of it."""
_STEP: Final = 1 << 16
LONGEST_MAGIC: Final = len(LZ4_MAGIC)


def method_of(start: bytes) -> str | None:
    """Return gz, bz2, xz, zstd or lz4, as a mail's first bytes tell, or None if it is plain."""
    return next((name for magic, name in _MAGICS.items() if start.startswith(magic)), None)


def decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the plain mail; one that is not compressed passes through.

    Raises:
        Damaged: The compressed stream is broken or ends too early.
        Unsupported: It needs more memory than Dovecot itself would give it.

    """
    stream = iter(chunks)
    start = b""
    for chunk in stream:
        start += chunk
        if len(start) >= LONGEST_MAGIC:
            break
    method = method_of(start)
    whole = _chained(start, stream)
    yield from _METHODS[method](whole) if method else whole


def _chained(start: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if start:
        yield start
    yield from rest


class _Decompressor(Protocol):
    """The interface that zlib, bz2, lzma and ``_Zstd`` share."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Zstd:
    """zstd with the interface of the others; small steps bound what one call returns."""

    _TAKEN: Final = 256

    def __init__(self) -> None:
        self._engine = zstandard.ZstdDecompressor(
            max_window_size=_ZSTD_WINDOW_LIMIT
        ).decompressobj()
        self.unconsumed_tail = b""

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data + self.unconsumed_tail

    def decompress(self, data: bytes, _: int, /) -> bytes:
        self.unconsumed_tail = data[self._TAKEN :]
        try:
            return self._engine.decompress(data[: self._TAKEN])
        except zstandard.ZstdError as error:
            if "memory" in str(error):
                raise _too_large("zstd", _ZSTD_WINDOW_LIMIT) from None
            raise ValueError from None


def _by(make: Callable[[], _Decompressor], name: str) -> _Method:
    def run(chunks: Iterator[bytes]) -> Iterator[bytes]:
        engine = make()
        for chunk in chunks:
            data = chunk
            while data or not engine.eof:
                if engine.eof:
                    engine = make()
                plain = _guarded(engine, data, name)
                if plain:
                    yield plain
                # zlib returns the input that it did not use; the others keep it inside.
                data = engine.unused_data if engine.eof else getattr(engine, "unconsumed_tail", b"")
                if not data and len(plain) < _STEP:
                    break
        if not engine.eof:
            raise Damaged(f"{name} data that end too early")

    return run


def _guarded(engine: _Decompressor, data: bytes, name: str) -> bytes:
    try:
        return engine.decompress(data, _STEP)
    except lzma.LZMAError as error:
        if "Memory" in str(error):
            raise _too_large(name, _XZ_MEMORY_LIMIT) from None
        raise Damaged(f"broken {name} data") from None
    except (zlib.error, OSError, EOFError, ValueError):
        raise Damaged(f"broken {name} data") from None


def _too_large(name: str, limit: int) -> Unsupported:
    return Unsupported(
        f"{name} data that need more memory than Dovecot allows",
        expected=f"at most {limit >> 20} MiB",
    )


def _by_lz4(chunks: Iterator[bytes]) -> Iterator[bytes]:
    source = _Pieces(chunks)
    source.take(len(LZ4_MAGIC))
    limit = int.from_bytes(source.take(4))
    if limit > _LZ4_CHUNK_LIMIT:
        raise Damaged(f"lz4 chunks of {limit} bytes", expected=f"at most {_LZ4_CHUNK_LIMIT}")
    while head := source.take(4, at_end=True):
        size = int.from_bytes(head)
        if size > _LZ4_CHUNK_LIMIT + _STEP:
            raise Damaged(f"an lz4 chunk of {size} bytes")
        try:
            yield lz4.block.decompress(source.take(size), uncompressed_size=limit)
        except (lz4.block.LZ4BlockError, ValueError):
            raise Damaged("broken lz4 data") from None


class _Pieces:
    """Takes exact numbers of bytes off a stream of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._held = chunks, b""

    def take(self, size: int, *, at_end: bool = False) -> bytes:
        while len(self._held) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                if at_end and not self._held:
                    return b""
                raise Damaged("lz4 data that end too early")
            self._held += chunk
        taken, self._held = self._held[:size], self._held[size:]
        return taken


_MAGICS: Final = {
    b"\x1f\x8b": "gz",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    LZ4_MAGIC: "lz4",
}
_METHODS: Final[dict[str, _Method]] = {
    "gz": _by(lambda: zlib.decompressobj(31), "gzip"),
    "bz2": _by(bz2.BZ2Decompressor, "bzip2"),
    "xz": _by(lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY_LIMIT), "xz"),
    "zstd": _by(_Zstd, "zstd"),
    "lz4": _by_lz4,
}
