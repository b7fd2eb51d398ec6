"""Recovers one process's share of a store; see ``recover``."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from mailcrypt_component.dcrypt.compression import LONGEST_MAGIC, decompress, method_of
from mailcrypt_component.dcrypt.decrypt import NoKey, decrypt, decrypt_into
from mailcrypt_component.dcrypt.header import MAGIC
from mailcrypt_component.model.errors import FormatError
from mailcrypt_component.store.agent.reader import is_dbox, join
from mailcrypt_component.store.maildir import described, shown
from mailcrypt_component.store.recover_output import Layout, Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mailcrypt_component.dcrypt.keys import PrivateKey
    from mailcrypt_component.store.agent.reader import Listing
    from mailcrypt_component.store.recover_output import Folder

SMALL: Final = 8 << 20
"""Bytes up to which a mail is decrypted in memory; a larger one is streamed."""

LISTED: Final = 20
_CONTROL: Final = re.compile(
    rb"dovecot-uidlist|dovecot-uidvalidity.*|dovecot-keywords|subscriptions|maildirfolder|.*\.sieve"
)
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK: Final = 1 << 16


@dataclass(slots=True)
class Recovery:
    """The result of a recovery."""

    recovered: int = 0
    there_already: int = 0
    copied_clear: int = 0
    """How many of the recovered mails were in clear."""
    missing: dict[str, int] = field(default_factory=dict)
    """Mails that could not be decrypted, by the key ids that they are encrypted to."""
    failed: dict[str, int] = field(default_factory=dict)
    """Mails that were not recovered for another reason, by reason."""
    examples: list[tuple[str, str]] = field(default_factory=list)
    """Paths that were not recovered, with the reason; the first 20 of each worker."""

    @property
    def lost(self) -> int:
        """Return how many mails were not recovered."""
        return sum(self.missing.values()) + sum(self.failed.values())

    def fail(self, path: str, reason: str) -> None:
        """Count a file that cannot be recovered."""
        kind = reason.partition(":")[0]
        self.failed[kind] = self.failed.get(kind, 0) + 1
        self._example(path, reason)

    def miss(self, path: str, wanted: str) -> None:
        """Count a mail for which there is no key."""
        self.missing[wanted] = self.missing.get(wanted, 0) + 1
        self._example(path, f"needs key {wanted}")

    def _example(self, path: str, reason: str) -> None:
        if len(self.examples) < LISTED:
            self.examples.append((path, reason))

    def merge(self, other: Recovery) -> None:
        """Add everything from another result."""
        self.recovered += other.recovered
        self.there_already += other.there_already
        self.copied_clear += other.copied_clear
        for mine, theirs in ((self.missing, other.missing), (self.failed, other.failed)):
            for name, number in theirs.items():
                mine[name] = mine.get(name, 0) + number
        self.examples = (self.examples + other.examples)[:LISTED]

    def as_json(self) -> dict[str, Any]:
        """Return it as ``schemas/recover.schema.json`` describes it."""
        return {
            "recovered": self.recovered,
            "there_already": self.there_already,
            "were_in_clear": self.copied_clear,
            "missing_keys": self.missing,
            "failed": self.failed,
            "examples": [{"file": path, "reason": why} for path, why in self.examples],
        }


class Worker:
    """Recovers the mails of listings."""

    def __init__(
        self, source: bytes, target: bytes, keys: Mapping[str, PrivateKey], layout: Layout
    ) -> None:
        self._source, self._keys, self._layout = source, keys, layout
        self._output = Output(target, layout)
        self._found = Recovery()
        self._buffer = memoryview(bytearray(SMALL + 1))
        self._plain = memoryview(bytearray(SMALL + 17))

    def run(self, listings: Iterable[Listing], tell: Callable[[int], None]) -> Recovery:
        """Recover, and tell how many files were looked at so far."""
        done = 0
        for listing in listings:
            if listing.fault:
                self._found.fail(shown(listing.directory), "the directory cannot be read")
            for name in listing.links:
                path = join(listing.directory, name)
                self._found.fail(shown(path), "a symbolic link that leads out of the store")
            if listing.mails:
                self._mails(listing)
            self._others(listing)
            done += len(listing.mails) + len(listing.others)
            tell(done)
        self._output.finish()
        return self._found

    def _mails(self, listing: Listing) -> None:
        folder = self._output.folder(listing.directory)
        for name in listing.mails:
            if folder.has(name):
                self._found.there_already += 1
                continue
            path = join(listing.directory, name)
            try:
                file = _open(self._source + b"/" + path)
            except FileNotFoundError:  # It was moved or removed meanwhile.
                continue
            except OSError as error:
                self._found.fail(shown(path), error.strerror or "cannot be read")
                continue
            with _Source(file) as source:
                self._mail(source, path, folder)

    def _mail(self, source: io.FileIO, path: bytes, folder: Folder) -> None:
        stat = os.fstat(source.fileno())
        try:
            plain, was_clear = self._content(source, stat.st_size)
            folder.write(path.rpartition(b"/")[2], plain, stat)
        except NoKey as missing:
            self._found.miss(shown(path), "+".join(missing.wanted))
        except FormatError as error:
            self._found.fail(shown(path), described(error))
        else:
            self._found.recovered += 1
            self._found.copied_clear += was_clear

    def _content(self, source: io.FileIO, size: int) -> tuple[Iterable[bytes | memoryview], bool]:
        """Return the plain mail in chunks, and whether it was in clear."""
        if size > SMALL:
            return self._streamed(source)
        data = self._buffer[: source.readinto(self._buffer)]
        if not data:
            raise FormatError("an empty file")
        was_clear = bytes(data[: len(MAGIC)]) != MAGIC
        plain = data if was_clear else decrypt_into(data, self._keys, self._plain)
        if method_of(bytes(plain[:LONGEST_MAGIC])):
            return decompress([bytes(plain)]), was_clear
        return [plain], was_clear

    def _streamed(self, source: io.FileIO) -> tuple[Iterable[bytes], bool]:
        was_clear = source.read(len(MAGIC)) != MAGIC
        source.seek(0)
        buffered = io.BufferedReader(source, _CHUNK)
        plain = _pieces(buffered) if was_clear else decrypt(buffered, self._keys)
        return decompress(plain), was_clear

    def _others(self, listing: Listing) -> None:
        for name in listing.others:
            path = join(listing.directory, name)
            if is_dbox(name):
                self._found.fail(shown(path), "sdbox or mdbox, which mailcrypt does not read")
            elif self._layout is Layout.MAILDIR and _CONTROL.fullmatch(name):
                self._copy(path)

    def _copy(self, path: bytes) -> None:
        try:
            file = _open(self._source + b"/" + path)
        except OSError:
            return
        with os.fdopen(file, "rb") as source:
            self._output.copy(path, _pieces(source), os.fstat(file))


class _Source(io.FileIO):
    """A file of the store: a disk that fails below it is a fault of this one mail."""

    def readinto(self, buffer: Any) -> int:
        """Read.

        Raises:
            FormatError: The system cannot read it.

        """
        try:
            return io.FileIO.readinto(self, buffer) or 0
        except OSError as error:
            raise FormatError(error.strerror or "cannot be read") from None


def _open(path: bytes) -> int:
    """Open a file for reading, without a trace in its access time if the system allows that."""
    try:
        return os.open(path, _READ | os.O_NOATIME)
    except PermissionError:
        return os.open(path, _READ)


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    while piece := source.read(_CHUNK):
        yield piece
