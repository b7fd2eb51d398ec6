"""Bring the mail of a store back in the clear, without Dovecot.

Each mail is opened, checked by its tag, decompressed, written under a temporary name
and only then given its own, so that a killed run leaves whole mails alone.  A further
run does what is missing: what is not there, or is not as long as its name says (``S=``),
as after a power failure.  Nothing in the source is changed: files are opened for
reading, without a trace in their access times where the system allows that.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import signal
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.dcrypt.compression import LONGEST_MAGIC, decompress, method_of
from mailcrypt_component.dcrypt.decrypt import NoKey, decrypt, decrypt_into
from mailcrypt_component.dcrypt.header import MAGIC
from mailcrypt_component.model.errors import FormatError, MailCryptError
from mailcrypt_component.store.local.walk import directory_of, share
from mailcrypt_component.store.maildir import is_dbox, is_mail_folder, place_of, shown
from mailcrypt_component.store.workers import WorkerDied, cores, in_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mailcrypt_component.dcrypt.keys import PrivateKey


class Layout(StrEnum):
    """How the recovered mail lies."""

    MAILDIR = "maildir"
    """As in the store: names, flags, times, subscriptions and UIDs kept."""
    EML = "eml"
    """``user/folder/name.eml``."""
    MBOX = "mbox"
    """One file a folder (mboxrd), ``user/folder.mbox``; made anew by each run."""


SMALL: Final = 8 << 20
"""Bytes up to which a mail is opened in memory; a larger one goes in a stream."""

LISTED: Final = 20
_CONTROL: Final = re.compile(
    rb"dovecot-uidlist|dovecot-uidvalidity.*|dovecot-keywords|subscriptions|maildirfolder|.*\.sieve"
)
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK: Final = 1 << 16
_WORTH_MAPPING: Final = 1 << 18


@dataclass(slots=True)
class Recovery:
    """What came of it; ``missing`` counts mails by the key ids that they want."""

    recovered: int = 0
    there_already: int = 0
    copied_clear: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    """Mails that did not come back for another reason, by that reason."""
    examples: list[tuple[str, str]] = field(default_factory=list)
    """Paths that did not come back, with the reason; the first 20 of each worker."""

    @property
    def lost(self) -> int:
        """Return how many mails did not come back."""
        return sum(self.missing.values()) + sum(self.failed.values())

    def merge(self, other: Recovery) -> None:
        """Add all of another one."""
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


def recover(
    store: str,
    out: str,
    keys: Mapping[str, PrivateKey],
    *,
    layout: Layout = Layout.MAILDIR,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Recovery:
    """Write every mail of a store that the keys open, in the clear.

    Args:
        store: A Maildir or a directory of many; it is only read.
        out: A directory outside of it; made where it is not there.
        keys: Private keys by key id.
        layout: How the mail lies in the output.
        workers: How many processes; default one for each core.
        progress: Called ten times a second with the number of mails so far.

    Raises:
        UnreachableError: The store cannot be read.
        MailCryptError: The output cannot be written, or lies in the store.

    """
    source, target = directory_of(store), os.fsencode(os.path.realpath(out))
    _keep_apart(source, target)
    os.umask(0o077)
    _make(target)

    parent = os.getpid()

    def work(*, mapped: bool) -> list[Recovery]:
        def job(index: int, number: int, tell: Callable[[int], None]) -> Recovery:
            worker = _Worker(source, target, keys, layout, mapped=mapped and os.getpid() != parent)
            try:
                return worker.run(share(source, index, number), tell)
            except OSError as error:
                raise _cannot_write(target, error) from None

        return in_processes(job, 1 if layout is Layout.MBOX else workers or cores(), progress)

    try:
        parts = work(mapped=True)
    except WorkerDied as died:
        if died.signal != signal.SIGBUS:
            raise
        # A mapped file became shorter, or its disk failed: once more, by reading, which says so.
        parts = work(mapped=False)
    total = Recovery()
    for part in parts:
        total.merge(part)
    return total


def _keep_apart(source: bytes, target: bytes) -> None:
    store = os.path.realpath(source)
    if os.path.commonpath([store, target]) in {store, target}:
        raise MailCryptError(
            f"{shown(target)} and {shown(store)} lie in each other",
            where="--out",
            expected="a directory outside of the store",
        )


def _make(directory: bytes) -> None:
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise _cannot_write(directory, error) from None


def _cannot_write(target: bytes, error: OSError) -> MailCryptError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return MailCryptError(
        error.strerror or "cannot be written",
        where=shown(target),
        expected="room for the mail in the clear" if full else "a directory that can be written",
        hint="make room and run it again: it goes on where it stopped" if full else "",
    )


class _Worker:
    """Recovers the mails that it is told of."""

    def __init__(
        self,
        source: bytes,
        target: bytes,
        keys: Mapping[str, PrivateKey],
        layout: Layout,
        *,
        mapped: bool,
    ) -> None:
        self._source, self._target, self._mapped = source, target, mapped
        self._keys, self._layout = keys, layout
        self._found = Recovery()
        self._mboxes: set[bytes] = set()
        self._buffer = memoryview(bytearray(SMALL + 1))
        self._plain = memoryview(bytearray(SMALL + 17))
        self._temporary = b"%s%d" % (_TEMPORARY, os.getpid())

    def run(
        self,
        directories: Iterator[tuple[bytes, list[bytes] | None]],
        tell: Callable[[int], None],
    ) -> Recovery:
        done = 0
        for directory, names in directories:
            relative = directory[len(self._source) + 1 :]
            if names is None:
                self._lost(relative, "the directory cannot be read")
            elif is_mail_folder(directory):
                self._mails(directory, relative, names)
            else:
                self._others(directory, relative, names)
            done += len(names or ())
            tell(done)
        for mbox in self._mboxes:
            os.rename(mbox + _UNFINISHED, mbox)
        return self._found

    def _mails(self, directory: bytes, relative: bytes, names: list[bytes]) -> None:
        place = self._place(relative)
        there = self._there(place)
        for name in names:
            if _is_whole(name, there):
                self._found.there_already += 1
                continue
            try:
                file = _open(directory + b"/" + name)
            except FileNotFoundError:  # It was moved or removed meanwhile.
                continue
            except OSError as error:
                self._lost(relative + b"/" + name, error.strerror or "cannot be read")
                continue
            with os.fdopen(file, "rb", buffering=0) as source:
                self._mail(source, relative + b"/" + name, place, name)

    def _mail(self, source: Any, path: bytes, place: bytes, name: bytes) -> None:
        facts = os.fstat(source.fileno())
        final = place if self._layout is Layout.MBOX else place + b"/" + self._name(name)
        try:
            chunks, was_clear = self._content(source, facts.st_size)
            self._write(final, chunks, facts)
        except NoKey as missing:
            wanted = "+".join(missing.wanted)
            self._found.missing[wanted] = self._found.missing.get(wanted, 0) + 1
            self._example(path, f"wants key {wanted}")
        except FormatError as error:
            self._lost(path, f"damaged: {error.found}")
        else:
            self._found.recovered += 1
            self._found.copied_clear += was_clear

    def _content(
        self, source: Any, size: int
    ) -> tuple[Iterator[bytes] | Iterator[bytes | memoryview], bool]:
        """Return the plain mail in chunks, and whether it was in clear."""
        if size > SMALL:
            start = source.read(len(MAGIC))
            source.seek(0)
            clear = start != MAGIC
            buffered = os.fdopen(os.dup(source.fileno()), "rb", buffering=_CHUNK)
            chunks = _pieces(buffered) if clear else decrypt(buffered, self._keys)
            return decompress(chunks), clear
        data = self._bytes_of(source, size)
        if not data:
            raise FormatError("an empty file")
        clear = bytes(data[: len(MAGIC)]) != MAGIC
        plain = data if clear else decrypt_into(data, self._keys, self._plain)
        if method_of(bytes(plain[:LONGEST_MAGIC])):
            return decompress([bytes(plain)]), clear
        return iter([plain]), clear

    def _bytes_of(self, source: Any, size: int) -> memoryview:
        """Return a whole file; a larger one is mapped, which saves a third of opening it."""
        if not self._mapped or size < _WORTH_MAPPING:
            return self._buffer[: source.readinto(self._buffer)]
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        return memoryview(mmap.mmap(source.fileno(), size, flags=flags, prot=mmap.PROT_READ))

    def _place(self, relative: bytes) -> bytes:
        """Return the directory of the output (for mbox, the file) for a directory of mails."""
        if self._layout is Layout.MAILDIR:
            return self._target + b"/" + relative
        place = place_of(relative)
        user = b"/".join(part for part in os.fsencode(place.user).split(b"/") if part != b"..")
        folder = os.fsencode(place.folder).replace(b"/", b"_")
        whole = b"/".join((self._target, user, folder))
        return whole + b".mbox" if self._layout is Layout.MBOX else whole

    def _there(self, place: bytes) -> dict[bytes, int]:
        """Return the size of each mail that is there, by what stays of its name."""
        if self._layout is Layout.MBOX:
            _make(os.path.dirname(place))
            return {}
        _make(place)
        if self._layout is Layout.MAILDIR:
            for beside in (b"cur", b"new", b"tmp"):
                _make(os.path.dirname(place) + b"/" + beside)
        with os.scandir(place) as entries:
            return {
                _base(entry.name): entry.stat().st_size
                for entry in entries
                if not entry.name.startswith(_TEMPORARY)
            }

    def _name(self, name: bytes) -> bytes:
        return name if self._layout is Layout.MAILDIR else name + b".eml"

    def _write(
        self,
        final: bytes,
        chunks: Iterator[bytes] | Iterator[bytes | memoryview],
        facts: os.stat_result,
    ) -> None:
        if self._layout is Layout.MBOX:
            self._append(final, b"".join(chunks), facts)
            return
        temporary = os.path.dirname(final) + b"/" + self._temporary
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(file, "wb", buffering=0) as sink:
                for chunk in chunks:
                    _write_all(sink, chunk)
                os.utime(sink.fileno(), ns=(facts.st_atime_ns, facts.st_mtime_ns))
            os.rename(temporary, final)
        except BaseException:
            os.unlink(temporary)
            raise

    def _append(self, path: bytes, mail: bytes, facts: os.stat_result) -> None:
        if path not in self._mboxes:
            self._mboxes.add(path)
            open(path + _UNFINISHED, "wb").close()
        quoted = re.sub(rb"(?m)^(>*From )", rb">\1", mail)
        from time import asctime, gmtime  # noqa: PLC0415

        head = f"From MAILER-DAEMON {asctime(gmtime(facts.st_mtime))}\n".encode()
        with open(path + _UNFINISHED, "ab") as sink:
            sink.write(head + quoted + (b"\n" if quoted.endswith(b"\n") else b"\n\n"))

    def _others(self, directory: bytes, relative: bytes, names: list[bytes]) -> None:
        for name in names:
            path = (relative + b"/" + name).lstrip(b"/")
            if is_dbox(name):
                self._lost(path, "sdbox or mdbox, which is not read here")
            elif self._layout is Layout.MAILDIR and _CONTROL.fullmatch(name):
                self._copy(directory + b"/" + name, self._target + b"/" + path)

    def _copy(self, path: bytes, final: bytes) -> None:
        if os.path.lexists(final):
            return
        try:
            file = _open(path)
        except OSError:
            return
        _make(os.path.dirname(final))
        with os.fdopen(file, "rb") as source:
            self._write(final, _pieces(source), os.fstat(source.fileno()))

    def _lost(self, path: bytes, reason: str) -> None:
        kind = reason.partition(":")[0]
        self._found.failed[kind] = self._found.failed.get(kind, 0) + 1
        self._example(path, reason)

    def _example(self, path: bytes, reason: str) -> None:
        if len(self._found.examples) < LISTED:
            self._found.examples.append((shown(path), reason))


_TEMPORARY: Final = b".mailcrypt-"
_UNFINISHED: Final = b".unfinished"
_SIZE: Final = re.compile(rb",S=([0-9]+)")


def _base(name: bytes) -> bytes:
    """Return what stays of a mail's name when its flags change."""
    return name.removesuffix(b".eml").partition(b":2,")[0]


def _is_whole(name: bytes, there: Mapping[bytes, int]) -> bool:
    said = _SIZE.search(name)
    return said is not None and there.get(_base(name)) == int(said.group(1))


def _open(path: bytes) -> int:
    try:
        return os.open(path, _READ | os.O_NOATIME)
    except PermissionError:
        return os.open(path, _READ)


def _pieces(source: Any) -> Iterator[bytes]:
    while piece := source.read(_CHUNK):
        yield piece


def _write_all(sink: Any, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[sink.write(rest) :]
