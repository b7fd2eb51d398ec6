"""Walks a mail store and reads the first bytes of each mail.

This file runs in two places: imported on this machine, and in a container of a Docker host as
``python3 -c``, where it prints what it found.  So it is one file, needs the standard library of
Python 3.11 and nothing else, and never sees a key.

Paths are bytes, relative to the store's root: a mail's name need not be UTF-8.
"""

from __future__ import annotations

import json
import os
import re
import struct
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

BATCH: Final = 2000
"""The most file names in a ``Listing``."""
READ: Final = 512
"""Bytes read of each mail at first; a header has 255 for P-256, 325 for P-521."""
LONGEST_HEADER: Final = 8192
"""Bytes read at most, of a mail whose header says that it is longer than ``READ``."""
MAGIC: Final = b"CRYPTED\x03\x07"
_FIXED_HEADER: Final = 18

MAIL: Final = "mail"
DBOX: Final = "dbox"
MBOX: Final = "mbox"
LINK: Final = "link"
UNREADABLE: Final = "unreadable"
UNREADABLE_FOLDER: Final = "unreadable_folder"

_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MAIL_FOLDERS: Final = (b"cur", b"new")
_DBOX: Final = re.compile(rb"[um]\.[0-9]+")
_LARGEST_HEAD: Final = 1 << 28


class Listing(NamedTuple):
    """The files of one directory, or a batch of them; its directories get listings of their own."""

    directory: bytes
    is_mail_folder: bool
    mails: list[bytes]
    others: list[bytes]
    links: list[bytes]
    """Symbolic links that lead out of the store; they are not followed."""
    fault: str
    """Why the directory cannot be read; empty if it can."""


class Mail(NamedTuple):
    """A file that holds mail, or something that could not be looked at; ``kind`` says which."""

    path: bytes
    prefix: bytes
    size: int
    arrived: int
    """Seconds since 1970."""
    kind: str = MAIL


class Reader:
    """A store below a directory of the machine that this code runs on."""

    def __init__(self, root: bytes) -> None:
        self._root = root

    def listings(self, index: int = 0, number: int = 1) -> Iterator[Listing]:
        """Yield every directory with its files.

        Args:
            index: Which share to list: the files whose inode number leaves this remainder.
            number: The number of shares.

        """
        waiting = [b""]
        while waiting:
            directory = waiting.pop()
            try:
                yield from self._listings_of(directory, waiting, index, number)
            except FileNotFoundError:  # It was removed meanwhile.
                continue
            except OSError as error:
                if index == 0:
                    yield Listing(directory, False, [], [], [], reason_of(error))

    def _listings_of(
        self, directory: bytes, waiting: list[bytes], index: int, number: int
    ) -> Iterator[Listing]:
        path = self.path(directory)
        is_mail = os.path.basename(path) in MAIL_FOLDERS
        # An account may be called new@ or cur@: such a directory holds folders and control files.
        is_account = is_mail and any(os.path.isdir(path + b"/" + name) for name in MAIL_FOLDERS)
        names: list[bytes] = []
        links: list[bytes] = []
        first = index == 0
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(directory + b"/" + entry.name if directory else entry.name)
                elif entry.inode() % number != index:
                    continue
                elif entry.is_file(follow_symlinks=False):
                    names.append(entry.name)
                    if len(names) == BATCH:
                        yield _listing(directory, is_mail, is_account, names, links)
                        names, links, first = [], [], False
                elif entry.is_symlink() and self._hides_something(entry):
                    links.append(entry.name)
        if names or links or (is_mail and first):
            yield _listing(directory, is_mail, is_account, names, links)

    def _hides_something(self, link: os.DirEntry[bytes]) -> bool:
        """Tell whether a link may lead to mail that is not found in the store itself."""
        if link.name.endswith(b".sieve"):  # Each user's active script is a link.
            return False
        root, target = os.path.realpath(self._root), os.path.realpath(link.path)
        return not (os.path.exists(target) and os.path.commonpath([root, target]) == root)

    def mails(self) -> Iterator[list[Mail]]:
        """Yield everything that holds mail or could hold mail, in batches."""
        for listing in self.listings():
            yield list(self._entries(listing))

    def _entries(self, listing: Listing) -> Iterator[Mail]:
        directory = listing.directory
        if listing.fault:
            yield Mail(directory + b"/", b"", -1, 0, UNREADABLE_FOLDER)
        for name in listing.links:
            yield Mail(join(directory, name), b"", -1, 0, LINK)
        for name in listing.mails:
            if mail := self._mail(join(directory, name)):
                yield mail
        for name in listing.others:
            path = join(directory, name)
            if kind := self.foreign_kind(path):
                yield Mail(path, b"", -1, 0, kind)

    def _mail(self, path: bytes) -> Mail | None:
        try:
            with self.open(path) as file:
                stat = os.fstat(file.fileno())
                return Mail(path, prefix_of(file), stat.st_size, int(stat.st_mtime))
        except FileNotFoundError:
            return None
        except OSError:
            return Mail(path, b"", -1, 0, UNREADABLE)

    def foreign_kind(self, path: bytes) -> str:
        """Return DBOX, MBOX or UNREADABLE for a file outside of Maildirs that may hold mail."""
        if is_dbox(os.path.basename(path)):
            return DBOX
        try:
            with self.open(path) as file:
                return MBOX if file.read(5) == b"From " else ""
        except FileNotFoundError:
            return ""
        except OSError:
            return UNREADABLE

    def holds_mail(self) -> bool:
        """Tell whether there is any Maildir, mail file, or a folder that cannot be read."""
        return any(
            listing.is_mail_folder
            or listing.fault
            or any(self.foreign_kind(join(listing.directory, name)) for name in listing.others)
            for listing in self.listings()
        )

    def number_of_files(self) -> int:
        """Return how many files there are, by their names alone."""
        return sum(len(listing.mails) + len(listing.others) for listing in self.listings())

    def open(self, path: bytes) -> FileIO:
        """Open a regular file for reading; links are not followed and pipes do not block."""
        return os.fdopen(os.open(self.path(path), _OPEN), "rb", buffering=0)

    def path(self, relative: bytes) -> bytes:
        """Return the full path."""
        return self._root + b"/" + relative if relative else self._root


def is_dbox(name: bytes) -> bool:
    """Tell whether a file is one of Dovecot's own formats, sdbox or mdbox."""
    return _DBOX.fullmatch(name) is not None


def _listing(
    directory: bytes, is_mail: bool, is_account: bool, names: list[bytes], links: list[bytes]
) -> Listing:
    if is_account:  # The name of every mail begins with a digit; that of a control file does not.
        mails = [name for name in names if name[:1].isdigit()]
        others = [name for name in names if not name[:1].isdigit()]
        return Listing(directory, bool(mails), mails, others, links, "")
    if is_mail:
        return Listing(directory, True, names, [], links, "")
    return Listing(directory, False, [], names, links, "")


def prefix_of(file: FileIO) -> bytes:
    """Return a file's header; of mail in clear no more than it takes to see that."""
    prefix = file.read(READ)
    if not prefix.startswith(MAGIC) or len(prefix) < _FIXED_HEADER:
        return prefix[:_FIXED_HEADER]
    length = int.from_bytes(prefix[_FIXED_HEADER - 4 : _FIXED_HEADER])
    if READ < length <= LONGEST_HEADER:
        prefix += file.read(length - READ)
    return prefix


def reason_of(error: OSError) -> str:
    """Return an error as text."""
    return error.strerror or "cannot be read"


def join(directory: bytes, name: bytes) -> bytes:
    """Return a file's path, relative to the root."""
    return directory + b"/" + name if directory else name


class NotAMessage(Exception):  # noqa: N818  (an event, named after what happened)
    """Something else than the other side speaks; its text is the argument."""


def packed(value: Any) -> bytes:
    """Return a JSON value that may contain bytes as a message.

    The JSON comes first, with its length in front; in place of bytes it has their length.  The
    bytes themselves follow in the same order.
    """
    parts: list[bytes] = []

    def by_length(data: bytes) -> dict[str, int]:
        parts.append(data)
        return {"bytes": len(data)}

    head = json.dumps(value, default=by_length).encode()
    return b"".join((struct.pack(">L", len(head)), head, *parts))


def receive(source: BinaryIO) -> Any:
    """Read a message and return its value; tuples arrive as lists.

    Raises:
        EOFError: The input ended.
        NotAMessage: It is something else.

    """
    start = _exactly(source, 4)
    (size,) = struct.unpack(">L", start)
    if size > _LARGEST_HEAD:
        raise NotAMessage((start + source.read()).decode(errors="replace").strip())
    return json.loads(
        _exactly(source, size), object_hook=lambda found: _exactly(source, found["bytes"])
    )


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) < size:
        raise EOFError
    return data


def main(root: str) -> None:
    """Print every mail below a directory, in batches; an empty one comes last."""
    for batch in Reader(os.fsencode(root)).mails():
        if batch:
            sys.stdout.buffer.write(packed(batch))
    sys.stdout.buffer.write(packed([]))


if __name__ == "__main__":
    main(*sys.argv[1:])
