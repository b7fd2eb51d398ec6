"""Encrypts one process's share of a store, in batches; ``encrypt`` explains the procedure."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.dcrypt.decrypt import NoKey, decrypt_bytes
from mailcrypt_component.dcrypt.encrypt import encrypt
from mailcrypt_component.dcrypt.header import NotEncrypted, parse_header
from mailcrypt_component.dcrypt.key_id import version_1_id
from mailcrypt_component.model.errors import FormatError, MailCryptError
from mailcrypt_component.store.agent.reader import is_dbox, join
from mailcrypt_component.store.agent.writer import TRIES, Replacement, base_of
from mailcrypt_component.store.encryption import Encryption
from mailcrypt_component.store.files import cannot_write
from mailcrypt_component.store.maildir import described, mailbox_of, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mailcrypt_component.store.agent.reader import Listing
    from mailcrypt_component.store.agent.writer import FileStat, Identity, MailHead
    from mailcrypt_component.store.encryption import EncryptionJob
    from mailcrypt_component.store.files import Files

LARGEST: Final = 128 << 20
"""Bytes; a larger mail is left alone, so that memory stays bounded."""

BATCH: Final = 256
_BATCH_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class _Task:
    """A mail to encrypt."""

    name: bytes
    stat: FileStat
    was_clear: bool


class Worker:
    """Encrypts its share of the mails that have one name."""

    def __init__(self, files: Files, job: EncryptionJob, index: int = 0, number: int = 1) -> None:
        self._files, self._job = files, job
        self._index, self._number = index, number
        self._public: Any = job.keys[job.current].public_key()
        old = {version_1_id(key.public_key()) for key in job.keys.values()}
        self._readable = {*job.keys, *old}
        self._rate = job.rate / number if job.rate else None
        self._found = Encryption()
        self._written = 0
        self._start = time.monotonic()

    def run(self, tell: Callable[[int], None] = lambda _: None) -> Encryption:
        """Encrypt, and tell how many mails were looked at so far."""
        done = 0
        try:
            for listing in self._files.listings():
                users = self._job.users
                if users and mailbox_of(listing.directory).user not in users:
                    continue
                if not self._index:
                    self._prepare_folder(listing)
                mine = [
                    name for name in listing.mails if _share(name) % self._number == self._index
                ]
                for batch in _batches(mine, BATCH):
                    self._encrypt_names(listing.directory, batch)
                    done += len(batch)
                    tell(done)
        except OSError as error:
            raise cannot_write(self._files.where, error.strerror or "cannot be written") from None
        return self._found

    def _prepare_folder(self, listing: Listing) -> None:
        """Clean up after a killed run, and count what is not mail of a Maildir."""
        if listing.is_mail_folder and self._job.apply:
            self._files.clean(listing.directory)
        if listing.fault:
            self._leave(listing.directory, b"", f"unreadable directory: {listing.fault}")
        for name in listing.links:
            self._leave(listing.directory, name, "a symbolic link that leads out of the store")
        for name in listing.others:
            if is_dbox(name):
                self._leave(listing.directory, name, "sdbox or mdbox")

    def _encrypt_names(self, directory: bytes, names: list[bytes]) -> None:
        """Encrypt mails, also those that Dovecot renames meanwhile."""
        waiting = [(directory, names)]
        for _ in range(TRIES):
            missing = [name for folder, some in waiting for name in self._pass(folder, some)]
            if not missing:
                return
            waiting = self._files.renamed(directory, missing)
            self._found.gone += len(missing) - sum(len(some) for _, some in waiting)
        self._found.gone += sum(len(some) for _, some in waiting)

    def _pass(self, directory: bytes, names: list[bytes]) -> list[bytes]:
        """Encrypt mails; return the names that do not exist any more."""
        missing: list[bytes] = []
        tasks: list[_Task] = []
        for name, head in zip(names, self._files.look(directory, names), strict=True):
            if head is None:
                missing.append(name)
            elif isinstance(head, str):
                self._leave_unreadable(directory, name, head)
            elif self._is_ours(head.stat) and (task := self._task(directory, name, head)):
                tasks.append(task)
        for some in self._portions(tasks):
            missing += self._encrypt(directory, some)
        return missing

    def _is_ours(self, stat: FileStat) -> bool:
        return stat.links == 1

    def _task(self, directory: bytes, name: bytes, head: MailHead) -> _Task | None:
        """Decide by a mail's first bytes whether to encrypt it."""
        if not 0 < head.stat.size <= LARGEST:
            why = f"larger than {LARGEST >> 20} MiB" if head.stat.size else "empty"
            self._leave(directory, name, why)
            return None
        try:
            recipients = {one.key_id for one in parse_header(head.prefix).recipients}
        except NotEncrypted:
            return _Task(name, head.stat, True)
        except FormatError as error:
            self._leave(directory, name, described(error))
            return None
        if recipients == {self._job.current}:
            self._found.current += 1
            return None
        if not recipients & self._readable:
            self._leave(directory, name, NoKey(tuple(sorted(recipients))).found)
            return None
        return _Task(name, head.stat, False)

    def _portions(self, tasks: list[_Task]) -> Iterator[list[_Task]]:
        """Split tasks so that the memory they take stays bounded."""
        some: list[_Task] = []
        size = 0
        for task in tasks:
            if some and (self._rate or size + task.stat.size > _BATCH_BYTES):
                yield some
                some, size = [], 0
            some.append(task)
            size += task.stat.size
        if some:
            yield some

    def _encrypt(self, directory: bytes, tasks: list[_Task]) -> list[bytes]:
        """Encrypt mails; return the names that do not exist any more."""
        missing: list[bytes] = []
        opened: list[tuple[_Task, bytes]] = []
        found = self._files.read(directory, [task.name for task in tasks])
        for task, data in zip(tasks, found, strict=True):
            if data is None:
                missing.append(task.name)
            elif isinstance(data, str):
                self._leave(directory, task.name, data)
            elif (plain := self._decrypt(directory, task, data)) is not None:
                opened.append((task, plain))
        if self._job.apply:
            self._replace(directory, opened)
        else:
            for task, _ in opened:
                self._count(task)
        return missing

    def _decrypt(self, directory: bytes, task: _Task, data: bytes) -> bytes | None:
        if len(data) != task.stat.size:
            self._leave(directory, task.name, "it changed while it was read")
            return None
        try:
            return data if task.was_clear else decrypt_bytes(data, self._job.keys)
        except FormatError as error:
            self._leave(directory, task.name, described(error))
            return None

    def _replace(self, directory: bytes, opened: list[tuple[_Task, bytes]]) -> None:
        new = self._write(directory, opened)
        self._written += len(new)
        self._wait()
        settled = self._files.settle(new) if new else []
        for (task, _), path in zip(opened, settled, strict=True):
            if path is None:
                self._found.gone += 1
            else:
                self._settled(task, path)
                self._count(task)

    def _write(self, directory: bytes, opened: list[tuple[_Task, bytes]]) -> list[Replacement]:
        """Write the new files into ``tmp``, read them back and compare what they decrypt to."""
        new = [(task.stat, encrypt(plain, self._public)) for task, plain in opened]
        written = self._files.write(directory, new)
        for (_, plain), (temporary, held) in zip(opened, written, strict=True):
            self._compare(held, plain, temporary)
        return [
            Replacement(temporary, directory, task.name, task.stat.identity)
            for (task, _), (temporary, _) in zip(opened, written, strict=True)
        ]

    def _compare(self, held: bytes, plain: bytes, path: bytes) -> None:
        try:
            same = decrypt_bytes(held, self._job.keys) == plain
        except FormatError:
            same = False
        if not same:
            raise MailCryptError(
                "the new file does not decrypt to the same mail",
                where=shown(path),
                expected="the bytes that were written",
                hint="check the disk and the memory of this machine; the old mail is untouched",
            )

    def _settled(self, task: _Task, path: bytes) -> None:
        """Remember a mail that is encrypted."""

    def _count(self, task: _Task) -> None:
        self._found.encrypted += 1
        self._found.were_clear += task.was_clear

    def _leave_unreadable(self, directory: bytes, name: bytes, reason: str) -> None:
        self._leave(directory, name, reason)

    def _leave(self, directory: bytes, name: bytes, reason: str) -> None:
        self._found.leave(shown(join(directory, name)), reason)

    def _wait(self) -> None:
        if self._rate:
            due = self._start + self._written / self._rate
            time.sleep(max(0.0, due - time.monotonic()))


class HardLinkWorker(Worker):
    """Encrypts the mails that have more than one name, one by one, and keeps them one file."""

    def __init__(self, files: Files, job: EncryptionJob) -> None:
        super().__init__(files, job)
        self._made: dict[Identity, bytes] = {}

    def _prepare_folder(self, listing: Listing) -> None:
        """Do nothing: another worker did it."""

    def _is_ours(self, stat: FileStat) -> bool:
        return stat.links > 1 or stat.identity in self._made

    def _leave_unreadable(self, directory: bytes, name: bytes, reason: str) -> None:
        """Do nothing: another worker counted it."""

    def _portions(self, tasks: list[_Task]) -> Iterator[list[_Task]]:
        return ([task] for task in tasks)

    def _write(self, directory: bytes, opened: list[tuple[_Task, bytes]]) -> list[Replacement]:
        for task, _ in opened:
            encrypted = self._made.get(task.stat.identity)
            temporary = self._files.link(encrypted, directory) if encrypted else None
            if temporary is not None:
                return [Replacement(temporary, directory, task.name, task.stat.identity)]
            # It is the first name, or was renamed meanwhile: it becomes a file of its own.
        return super()._write(directory, opened)

    def _settled(self, task: _Task, path: bytes) -> None:
        self._made[task.stat.identity] = path


def _share(name: bytes) -> int:
    """Return a number that stays when the flags and the inode of a mail change."""
    return zlib.crc32(base_of(name))


def _batches(names: Sequence[bytes], size: int) -> Iterator[list[bytes]]:
    return (list(names[start : start + size]) for start in range(0, len(names), size))
