"""Bring stored mail under the current key, while Dovecot runs.

A mail that is in clear, or encrypted to a retired key, is encrypted anew under the very same
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

The store is a directory of this machine (``files``) or a volume of a Docker host
(``volume_files``): the keys stay here, mail goes there and back.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.dcrypt.decrypt import NoKey, decrypt_bytes
from mailcrypt_component.dcrypt.encrypt import encrypt
from mailcrypt_component.dcrypt.header import NotEncrypted, parse_header
from mailcrypt_component.model.errors import FormatError, KeyFault, MailCryptError
from mailcrypt_component.store.local.files import TRIES, Ready, Seen, base_of, cannot_write
from mailcrypt_component.store.maildir import is_dbox, is_mail_folder, place_of, shown
from mailcrypt_component.store.workers import cores, in_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mailcrypt_component.dcrypt.keys import PrivateKey
    from mailcrypt_component.store.local.files import Facts, Files, Identity

LARGEST: Final = 128 << 20
"""Bytes; a larger mail is left alone, so that memory stays bounded."""

LISTED: Final = 20
PASSES: Final = 3
"""How often the store is looked at again where mail was moved or removed meanwhile."""

BATCH: Final = 256
_BATCH_BYTES: Final = 16 << 20


@dataclass(slots=True)
class Encryption:
    """What was done or, in a dry run, is to be done."""

    encrypted: int = 0
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

    def merge(self, other: Encryption) -> None:
        """Add all of another one."""
        self.encrypted += other.encrypted
        self.were_clear += other.were_clear
        self.current += other.current
        self.gone += other.gone
        for reason, number in other.left.items():
            self.left[reason] = self.left.get(reason, 0) + number
        self.examples = (self.examples + other.examples)[:LISTED]

    def follow(self, later: Encryption) -> None:
        """Add a later pass over the same store: what it encrypted had been moved meanwhile."""
        self.encrypted += later.encrypted
        self.were_clear += later.were_clear
        self.gone = max(0, self.gone - later.encrypted)
        self.left, self.examples = later.left, later.examples

    def as_json(self) -> dict[str, Any]:
        """Return it as ``schemas/encrypt.schema.json`` describes it."""
        return {
            "encrypted": self.encrypted,
            "were_in_clear": self.were_clear,
            "current": self.current,
            "gone": self.gone,
            "left_alone": self.left,
            "examples": [{"file": path, "reason": why} for path, why in self.examples],
        }


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done.

    ``keys`` are the private keys by key id, the current one among them: what is written
    is opened again before it takes the old mail's place.  Without ``apply`` only what
    would be done is counted.  ``users`` (``domain/user``) empty means all, ``rate`` is
    mails a second at the most.
    """

    keys: Mapping[str, PrivateKey] = field(repr=False)
    current: str
    apply: bool
    users: Collection[str] = ()
    rate: float | None = None


def encrypt_store(
    opened: Callable[[], AbstractContextManager[Files]],
    order: Order,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Encryption:
    """Encrypt every mail of a store to the current key.

    Args:
        opened: Opens the store's files, anew in each process (``local_files`` or
            ``volume_files`` give it).
        order: What is to be done.
        workers: How many processes; default one for each core.
        progress: Called ten times a second with the number of mails so far.

    Raises:
        KeyFault: The current key is not among the keys.
        UnreachableError: The store cannot be read.
        MailCryptError: The store cannot be written.

    """
    if order.current not in order.keys:
        raise KeyFault(
            f"no private key {order.current}",
            where="the current key",
            expected="it among the given keys: what is encrypted is opened again to compare",
        )

    total = last = _once(opened, order, workers, progress)
    for _ in range(PASSES):
        # What has gone may have been moved to a folder that was looked at before.
        if not (order.apply and last.gone):
            break
        last = _once(opened, order, workers, progress)
        total.follow(last)
    return total


def _once(
    opened: Callable[[], AbstractContextManager[Files]],
    order: Order,
    workers: int | None,
    progress: Callable[[int], None] | None,
) -> Encryption:
    def job(index: int, number: int, tell: Callable[[int], None]) -> Encryption:
        with opened() as files:
            return _Worker(files, order, number).run(index, tell)

    total = Encryption()
    for part in in_processes(job, workers or cores(), progress):
        total.merge(part)
    with opened() as files:
        total.merge(_Linked(files, order, 1).run(0))
    return total


@dataclass(frozen=True, slots=True)
class _Task:
    """A mail that is to be encrypted."""

    name: bytes
    facts: Facts
    was_clear: bool


class _Worker:
    """Encrypts its share of the mails that have one name."""

    batch = BATCH

    def __init__(self, files: Files, order: Order, number: int) -> None:
        self._files, self._order, self._number = files, order, number
        self._public: Any = order.keys[order.current].public_key()
        self._rate = order.rate / number if order.rate else None
        self._found = Encryption()
        self._written = 0
        self._start = time.monotonic()

    def run(self, index: int, tell: Callable[[int], None] = lambda _: None) -> Encryption:
        """Work on the names that fall to an index."""
        done = 0
        try:
            for directory, names in self._files.folders():
                if self._passed_over(directory):
                    continue
                if names is None:
                    if not index:
                        self._leave(directory, b"", "the directory cannot be read")
                    continue
                if is_mail_folder(directory) and self._order.apply and not index:
                    self._files.clean(directory)
                mine = [name for name in names if _share(name) % self._number == index]
                for batch in _batches(mine, self.batch):
                    self._some(directory, batch)
                    done += len(batch)
                    tell(done)
        except OSError as error:
            raise cannot_write(self._files.where, error.strerror or "cannot be written") from None
        return self._found

    def _passed_over(self, directory: bytes) -> bool:
        users = self._order.users
        return bool(users) and place_of(directory).user not in users

    def _some(self, directory: bytes, names: list[bytes]) -> None:
        """Work on mails, and on those that Dovecot has renamed meanwhile."""
        if not is_mail_folder(directory):
            self._others(directory, names)
            return
        waiting = [(directory, names)]
        for _ in range(TRIES):
            missing = [name for folder, some in waiting for name in self._pass(folder, some)]
            if not missing:
                return
            waiting = self._files.renamed(directory, missing)
            self._found.gone += len(missing) - sum(len(some) for _, some in waiting)
        self._found.gone += sum(len(some) for _, some in waiting)

    def _pass(self, directory: bytes, names: list[bytes]) -> list[bytes]:
        """Work on mails; return the names that are not there any more."""
        missing, tasks = [], []
        for name, seen in zip(names, self._files.look(directory, names), strict=True):
            if seen is None:
                missing.append(name)
            elif isinstance(seen, str):
                self._leave(directory, name, seen)
            elif self._takes(seen.facts):
                tasks += self._judge(directory, name, seen)
        for some in self._portions(tasks):
            missing += self._encrypt(directory, some)
        return missing

    def _takes(self, facts: Facts) -> bool:
        return facts.links == 1

    def _judge(self, directory: bytes, name: bytes, seen: Seen) -> list[_Task]:
        """Tell from a mail's first bytes whether there is something to do."""
        if not 0 < seen.facts.size <= LARGEST:
            why = f"larger than {LARGEST >> 20} MiB" if seen.facts.size else "empty"
            self._leave(directory, name, why)
            return []
        try:
            recipients = {one.key_id for one in parse_header(seen.head).recipients}
        except NotEncrypted:
            return [_Task(name, seen.facts, True)]
        except FormatError as error:
            self._leave(directory, name, f"damaged: {error.found}")
            return []
        if recipients == {self._order.current}:
            self._found.current += 1
            return []
        if not recipients & set(self._order.keys):
            self._leave(directory, name, NoKey(tuple(sorted(recipients))).found)
            return []
        return [_Task(name, seen.facts, False)]

    def _portions(self, tasks: list[_Task]) -> Iterator[list[_Task]]:
        """Split them so that what is held at a time stays bounded."""
        some: list[_Task] = []
        size = 0
        for task in tasks:
            if some and (self._rate or size + task.facts.size > _BATCH_BYTES):
                yield some
                some, size = [], 0
            some.append(task)
            size += task.facts.size
        if some:
            yield some

    def _encrypt(self, directory: bytes, tasks: list[_Task]) -> list[bytes]:
        """Encrypt mails; return the names that are not there any more."""
        missing, opened = [], []
        found = self._files.read(directory, [task.name for task in tasks])
        for task, data in zip(tasks, found, strict=True):
            if data is None:
                missing.append(task.name)
            elif (inner := self._open(directory, task, data)) is not None:
                opened.append((task, inner))
        if self._order.apply:
            self._replace(directory, opened)
        else:
            self._found.encrypted += len(opened)
            self._found.were_clear += sum(task.was_clear for task, _ in opened)
        return missing

    def _open(self, directory: bytes, task: _Task, data: bytes) -> bytes | None:
        if len(data) != task.facts.size:
            self._leave(directory, task.name, "it changed while it was read")
            return None
        try:
            return data if task.was_clear else decrypt_bytes(data, self._order.keys)
        except FormatError as error:
            self._leave(directory, task.name, f"damaged: {error.found}")
            return None

    def _replace(self, directory: bytes, opened: list[tuple[_Task, bytes]]) -> None:
        ready = self._prepare(directory, opened)
        self._written += len(ready)
        self._wait()
        for each, path in zip(ready, self._files.settle(ready) if ready else [], strict=True):
            if path is None:
                self._found.gone += 1
                continue
            self._settled(each, path)
            self._found.encrypted += 1
            self._found.were_clear += each.was_clear

    def _prepare(self, directory: bytes, opened: list[tuple[_Task, bytes]]) -> list[Ready]:
        """Write the new files beside the mails, read them back and compare what they open to."""
        new = [(task.facts, encrypt(inner, self._public)) for task, inner in opened]
        ready: list[Ready] = []
        written = self._files.write(directory, new)
        try:
            for (task, inner), (temporary, held) in zip(opened, written, strict=True):
                self._compare(held, inner, temporary)
                ready.append(
                    Ready(temporary, directory, task.name, task.facts.identity, task.was_clear)
                )
        except BaseException:
            self._files.discard([temporary for temporary, _ in written])
            raise
        return ready

    def _compare(self, held: bytes, inner: bytes, path: bytes) -> None:
        try:
            same = decrypt_bytes(held, self._order.keys) == inner
        except FormatError:
            same = False
        if not same:
            raise MailCryptError(
                "what was written does not open to the same mail",
                where=shown(path),
                hint="look at the disk and the memory of this machine",
            )

    def _settled(self, ready: Ready, path: bytes) -> None:
        """Take note of a mail that is encrypted."""

    def _others(self, directory: bytes, names: list[bytes]) -> None:
        for name in names:
            if is_dbox(name):
                self._leave(directory, name, "sdbox or mdbox")

    def _leave(self, directory: bytes, name: bytes, reason: str) -> None:
        kind = reason.partition(":")[0] if reason.startswith("damaged") else reason
        self._found.left[kind] = self._found.left.get(kind, 0) + 1
        if len(self._found.examples) < LISTED:
            self._found.examples.append((shown(directory + b"/" + name), reason))

    def _wait(self) -> None:
        if self._rate:
            due = self._start + self._written / self._rate
            time.sleep(max(0.0, due - time.monotonic()))


class _Linked(_Worker):
    """Encrypts the mails that have more than one name, one by one, and keeps them one file."""

    def __init__(self, files: Files, order: Order, number: int) -> None:
        super().__init__(files, order, number)
        self._made: dict[Identity, bytes] = {}

    def _takes(self, facts: Facts) -> bool:
        return facts.links > 1 or facts.identity in self._made

    def _portions(self, tasks: list[_Task]) -> Iterator[list[_Task]]:
        return ([task] for task in tasks)

    def _others(self, directory: bytes, names: list[bytes]) -> None:
        """Leave them: the other workers have told of them."""

    def _prepare(self, directory: bytes, opened: list[tuple[_Task, bytes]]) -> list[Ready]:
        for task, _ in opened:
            encrypted = self._made.get(task.facts.identity)
            temporary = self._files.link(encrypted, directory) if encrypted else None
            if temporary is not None:
                return [Ready(temporary, directory, task.name, task.facts.identity, task.was_clear)]
            # It is the first one, or has been renamed meanwhile: a file of its own.
        return super()._prepare(directory, opened)

    def _settled(self, ready: Ready, path: bytes) -> None:
        self._made[ready.old] = path


def _share(name: bytes) -> int:
    """Return a number that stays when flags and inode of a mail change."""
    return zlib.crc32(base_of(name))


def _batches(names: Sequence[bytes], size: int) -> Iterator[list[bytes]]:
    return (list(names[start : start + size]) for start in range(0, len(names), size))
