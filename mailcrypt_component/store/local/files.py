"""The files of a store in a directory of this machine, for encrypting."""

from __future__ import annotations

import secrets
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from mailcrypt_component.store.agent.writer import TEMPORARY, Writer
from mailcrypt_component.store.files import already_encrypting
from mailcrypt_component.store.local.walk import directory_of, require_maildir
from mailcrypt_component.store.maildir import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from mailcrypt_component.store.files import OpenFiles


class LocalFiles(Writer):
    """A store in a directory of this machine."""

    def __init__(self, root: bytes, mark: bytes) -> None:
        super().__init__(root, mark)
        self.where = shown(root)


@contextmanager
def local_files(store: str) -> Iterator[OpenFiles]:
    """Yield a function that opens a directory's files; other runs are kept out meanwhile.

    Raises:
        UnreachableError: The directory cannot be read, has no Maildir below it, or another
            run is working on it.

    """
    root, mark = directory_of(store), run_mark()
    require_maildir(root)

    def opened() -> AbstractContextManager[LocalFiles]:
        return closing(LocalFiles(root, mark))

    with opened() as keeper:
        if not keeper.lock():
            raise already_encrypting(keeper.where)
        yield opened


def run_mark() -> bytes:
    """Return the start of the names of one run's new files, the same in all its processes."""
    return TEMPORARY + secrets.token_hex(4).encode() + b"."
