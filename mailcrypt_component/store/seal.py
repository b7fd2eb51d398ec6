"""Bring stored mail under the current key, while Dovecot runs.

A mail that is in clear, or sealed to a retired key, is sealed anew under the very same
name.  For a batch of mails: the new file is written into the Maildir's ``tmp``, with
owner, mode and times of the old one (its mtime is INTERNALDATE), read back, opened and
compared; all are flushed to the disk; then each changes places with the old file
(``renameat2`` with ``RENAME_EXCHANGE``), and the old one, now in ``tmp``, is removed.

Why nothing is lost or doubled, wherever it is killed: before the exchange the mail is
untouched, after it the mail is the new file, and the exchange is one step of the file
system.  What is left in ``tmp`` is a copy of a mail that has its place, so the next run
may remove it.  Where Dovecot has renamed the mail meanwhile (a changed flag) or removed
it, there is nothing to change places with: the exchange fails, and the mail is looked
for under its new name.  Names, and with them ``S=``, flags and UIDs, stay as they are.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.cryptfile.header import NotSealed, parse_header
from mailcrypt_component.cryptfile.seal import seal
from mailcrypt_component.cryptfile.unseal import unseal_bytes
from mailcrypt_component.errors import FormatError, KeyFault, MailCryptError
from mailcrypt_component.store.maildir import is_dbox, is_mail_folder, place_of, shown
from mailcrypt_component.store.walk import directory_of, share
from mailcrypt_component.store.workers import cores, in_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from mailcrypt_component.cryptfile.keys import PrivateKey

LARGEST: Final = 20 << 20
"""Bytes; a larger mail is left alone, so that memory stays bounded."""

LISTED: Final = 20
BATCH: Final = 256
TEMPORARY: Final = b"mailcrypt-seal."
_TRIES: Final = 20
_EXCHANGE: Final = 2
_HERE: Final = -100
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Sealing:
    """What was done or, in a dry run, is to be done."""

    sealed: int = 0
    """Mails brought under the current key."""
    were_clear: int = 0
    """Those of them that were in clear."""
    current: int = 0
    """Mails that were under it already."""
    gone: int = 0
    """Mails that were removed meanwhile."""
    left: dict[str, int] = field(default_factory=dict)
    """Mails left alone, by reason."""
    examples: list[tuple[str, str]] = field(default_factory=list)

    def merge(self, other: Sealing) -> None:
        """Add all of another one."""
        self.sealed += other.sealed
        self.were_clear += other.were_clear
        self.current += other.current
        self.gone += other.gone
        for reason, number in other.left.items():
            self.left[reason] = self.left.get(reason, 0) + number
        self.examples = (self.examples + other.examples)[:LISTED]

    def as_json(self) -> dict[str, Any]:
        """Return it as ``schemas/seal.schema.json`` describes it."""
        return {
            "sealed": self.sealed,
            "were_in_clear": self.were_clear,
            "current": self.current,
            "gone": self.gone,
            "left_alone": self.left,
            "examples": [{"file": path, "reason": why} for path, why in self.examples],
        }


def seal_store(
    store: str,
    keys: Mapping[str, PrivateKey],
    current: str,
    *,
    apply: bool,
    users: Collection[str] = (),
    rate: float | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Sealing:
    """Seal every mail of a store to the current key.

    Args:
        store: A Maildir or a directory of many, on this machine; Dovecot may run on it.
        keys: The private keys by key id, the current one among them: what is written
            is opened again before it takes the old mail's place.
        current: The current key's id.
        apply: Whether to change anything; else only what would be done is counted.
        users: Only these (``domain/user``); default all.
        rate: Mails a second at the most.
        workers: How many processes; default one for each core.
        progress: Called ten times a second with the number of mails so far.

    Raises:
        KeyFault: The current key is not among the keys.
        UnreachableError: The store cannot be read.
        MailCryptError: The store cannot be written.

    """
    if current not in keys:
        raise KeyFault(
            f"no private key {current}",
            where="the current key",
            expected="it among the given keys: what is sealed is opened again to compare",
        )
    root, number = directory_of(store), workers or cores()

    def job(index: int, count: int, tell: Callable[[int], None]) -> Sealing:
        each = rate / count if rate else None
        worker = _Worker(root, keys, current, apply=apply, users=users, rate=each)
        return worker.run(index, count, tell)

    total = Sealing()
    try:
        for part in in_processes(job, number, progress):
            total.merge(part)
        total.merge(_Linked(root, keys, current, apply=apply, users=users, rate=rate).run(0, 1))
    except OSError as error:
        raise _cannot_write(root, error) from None
    return total


def _cannot_write(root: bytes, error: OSError) -> MailCryptError:
    return MailCryptError(
        error.strerror or "cannot be written",
        where=shown(root),
        expected="a store that can be written, on ext4, xfs, btrfs or tmpfs",
        hint="nothing is lost; mend it and run it again: it goes on where it stopped",
    )


@dataclass(frozen=True, slots=True)
class _Ready:
    """A new file that waits in ``tmp`` for its place."""

    temporary: bytes
    directory: bytes
    name: bytes
    old: tuple[int, int, int]
    """Inode, size and mtime of the file that it was made from."""
    was_clear: bool


class _Worker:
    """Seals its share of the mails that have one name."""

    def __init__(
        self,
        root: bytes,
        keys: Mapping[str, PrivateKey],
        current: str,
        *,
        apply: bool,
        users: Collection[str],
        rate: float | None,
    ) -> None:
        self._root, self._keys, self._current = root, keys, current
        self._apply, self._users, self._rate = apply, users, rate
        self._public: Any = keys[current].public_key()
        self._found = Sealing()
        self._ready: list[_Ready] = []
        self._number = 0
        self._start = time.monotonic()

    def run(self, index: int, number: int, tell: Callable[[int], None] = lambda _: None) -> Sealing:
        """Work on the names that fall to an index."""
        done = 0
        try:
            for directory, names in share(self._root, index, number, by=_by_name):
                if self._passed_over(directory):
                    continue
                if names is None:
                    self._leave(directory, b"", "the directory cannot be read")
                elif not is_mail_folder(directory):
                    self._others(directory, names)
                else:
                    if self._apply and not index:
                        _clean(directory)
                    for name in names:
                        self._mail(directory, name)
                        done += 1
                        tell(done)
                    self._settle()
        except OSError as error:
            raise _cannot_write(self._root, error) from None
        finally:
            for ready in self._ready:
                os.unlink(ready.temporary)
        return self._found

    def _passed_over(self, directory: bytes) -> bool:
        relative = directory[len(self._root) + 1 :]
        return bool(self._users) and place_of(relative).user not in self._users

    def _takes(self, facts: os.stat_result) -> bool:
        return facts.st_nlink == 1

    def _mail(self, directory: bytes, name: bytes) -> None:
        try:
            file = os.open(directory + b"/" + name, _READ)
        except FileNotFoundError:
            self._found.gone += 1
            return
        except OSError as error:
            self._leave(directory, name, error.strerror or "cannot be read")
            return
        with os.fdopen(file, "rb", buffering=0) as source:
            facts = os.fstat(source.fileno())
            if not self._takes(facts):
                return
            if facts.st_size > LARGEST:
                self._leave(directory, name, f"larger than {LARGEST >> 20} MiB")
                return
            data = source.read(facts.st_size + 1)
        if len(data) != facts.st_size or not data:
            self._leave(directory, name, "empty, or it changed while it was read")
            return
        self._look(directory, name, data, facts)

    def _look(self, directory: bytes, name: bytes, data: bytes, facts: os.stat_result) -> None:
        try:
            recipients = {one.key_id for one in parse_header(data).recipients}
            was_clear = False
        except NotSealed:
            recipients, was_clear = set(), True
        except FormatError as error:
            self._leave(directory, name, f"damaged: {error.found}")
            return
        if recipients == {self._current}:
            self._found.current += 1
            return
        try:
            inner = data if was_clear else unseal_bytes(data, self._keys)
        except FormatError as error:
            self._leave(directory, name, error.found)
            return
        if not self._apply:
            self._found.sealed += 1
            self._found.were_clear += was_clear
            return
        self._ready.append(self._prepare(directory, name, inner, facts, was_clear))
        self._wait()
        if len(self._ready) >= BATCH:
            self._settle()

    def _prepare(
        self, directory: bytes, name: bytes, inner: bytes, facts: os.stat_result, was_clear: bool
    ) -> _Ready:
        """Write the new file into ``tmp``, read it back and compare what it opens to."""
        new = seal(inner, self._public)
        temporary = self._temporary(directory)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.open(temporary, flags, 0o600)
        try:
            with os.fdopen(file, "r+b", buffering=0) as sink:
                rest = memoryview(new)
                while rest:
                    rest = rest[sink.write(rest) :]
                if _owner(os.fstat(sink.fileno())) != _owner(facts):
                    os.fchown(sink.fileno(), facts.st_uid, facts.st_gid)
                os.fchmod(sink.fileno(), facts.st_mode & 0o7777)
                sink.seek(0)
                self._compare(sink.read(len(new) + 1), inner, temporary)
                os.utime(sink.fileno(), ns=(facts.st_atime_ns, facts.st_mtime_ns))
        except BaseException:
            os.unlink(temporary)
            raise
        return _Ready(temporary, directory, name, _identity(facts), was_clear)

    def _compare(self, written: bytes, inner: bytes, path: bytes) -> None:
        if unseal_bytes(written, self._keys) != inner:
            raise MailCryptError(
                "what was written does not open to the same mail",
                where=shown(path),
                hint="look at the disk and the memory of this machine",
            )

    def _temporary(self, directory: bytes) -> bytes:
        self._number += 1
        folder = os.path.dirname(directory) + b"/tmp"
        if not os.path.isdir(folder):
            facts = os.stat(directory)
            os.mkdir(folder, facts.st_mode & 0o7777)
            os.chown(folder, facts.st_uid, facts.st_gid)
        return b"%s/%s%d.%d" % (folder, TEMPORARY, os.getpid(), self._number)

    def _settle(self) -> None:
        """Flush the batch to the disk; then let each new file take its place."""
        if not self._ready:
            return
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if _LIBC.syncfs(folder):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        finally:
            os.close(folder)
        while self._ready:
            if self._exchange(self._ready[-1]):
                self._found.sealed += 1
                self._found.were_clear += self._ready[-1].was_clear
            else:
                self._found.gone += 1
            os.unlink(self._ready.pop().temporary)

    def _exchange(self, ready: _Ready) -> bytes | None:
        """Put the new file in the old one's place, wherever Dovecot has moved that to.

        Returns the path, or None where the mail has gone.
        """
        path: bytes | None = ready.directory + b"/" + ready.name
        for _ in range(_TRIES):
            if path is None:
                return None
            try:
                if _identity(os.stat(path, follow_symlinks=False)) == ready.old:
                    _exchange(ready.temporary, path)
                    if _identity(os.stat(ready.temporary, follow_symlinks=False)) == ready.old:
                        return path
                    _exchange(ready.temporary, path)
            except FileNotFoundError:
                pass
            path = _renamed(ready.directory, ready.name)
        return None

    def _others(self, directory: bytes, names: list[bytes]) -> None:
        for name in names:
            if is_dbox(name):
                self._leave(directory, name, "sdbox or mdbox")

    def _leave(self, directory: bytes, name: bytes, reason: str) -> None:
        kind = reason.partition(":")[0] if reason.startswith("damaged") else reason
        self._found.left[kind] = self._found.left.get(kind, 0) + 1
        if len(self._found.examples) < LISTED:
            relative = directory[len(self._root) + 1 :] + b"/" + name
            self._found.examples.append((shown(relative), reason))

    def _wait(self) -> None:
        if self._rate:
            due = self._start + (self._number / self._rate)
            time.sleep(max(0.0, due - time.monotonic()))


class _Linked(_Worker):
    """Seals the mails that have more than one name, and keeps them one file."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._made: dict[tuple[int, int, int], bytes] = {}

    def _takes(self, facts: os.stat_result) -> bool:
        return facts.st_nlink > 1 or _identity(facts) in self._made

    def _others(self, directory: bytes, names: list[bytes]) -> None:
        """Leave them: the other workers have told of them."""

    def _prepare(
        self, directory: bytes, name: bytes, inner: bytes, facts: os.stat_result, was_clear: bool
    ) -> _Ready:
        sealed = self._made.get(_identity(facts))
        if sealed is not None:
            temporary = self._temporary(directory)
            try:
                os.link(sealed, temporary)
            except FileNotFoundError:  # It has been renamed meanwhile: a file of its own.
                pass
            else:
                return _Ready(temporary, directory, name, _identity(facts), was_clear)
        return super()._prepare(directory, name, inner, facts, was_clear)

    def _exchange(self, ready: _Ready) -> bytes | None:
        path = super()._exchange(ready)
        if path is not None:
            self._made[ready.old] = path
        return path

    def _look(self, directory: bytes, name: bytes, data: bytes, facts: os.stat_result) -> None:
        super()._look(directory, name, data, facts)
        self._settle()


def _by_name(entry: os.DirEntry[bytes]) -> int:
    """Return a number that stays when flags and inode of a mail change."""
    return zlib.crc32(entry.name.partition(b":")[0])


def _identity(facts: os.stat_result) -> tuple[int, int, int]:
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _owner(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_uid, facts.st_gid


def _renamed(directory: bytes, name: bytes) -> bytes | None:
    """Return where a mail is now that had this name; None where it has gone."""
    base = name.partition(b":2,")[0]
    for beside in (b"cur", b"new"):
        folder = os.path.dirname(directory) + b"/" + beside
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.partition(b":2,")[0] == base:
                        return entry.path
        except FileNotFoundError:
            continue
    return None


def _exchange(one: bytes, other: bytes) -> None:
    """Let two files change places, in one step."""
    if _LIBC.renameat2(_HERE, one, _HERE, other, _EXCHANGE):
        number = ctypes.get_errno()
        if number == errno.ENOENT:
            raise FileNotFoundError(number, os.strerror(number))
        raise OSError(number, os.strerror(number))


def _clean(directory: bytes) -> None:
    """Remove what a killed run left; runs that are alive are recognised by their process."""
    folder = os.path.dirname(directory) + b"/tmp"
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        if name.startswith(TEMPORARY):
            process = name[len(TEMPORARY) :].partition(b".")[0]
            if not os.path.exists(b"/proc/" + process):
                os.unlink(folder + b"/" + name)
