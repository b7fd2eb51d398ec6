"""Recovers the mail of a store in the clear, without Dovecot.

Each mail is decrypted, checked by its tag, decompressed, written under a temporary name and only
then renamed, so that a killed run leaves whole mails only.  The next run does the rest: mail that
is missing, or shorter than its name says (``S=``), as after a power failure.  Nothing in the
source is changed.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from mailcrypt_component.model.errors import MailCryptError
from mailcrypt_component.store.agent.reader import Reader
from mailcrypt_component.store.local.walk import directory_of, require_maildir
from mailcrypt_component.store.maildir import shown
from mailcrypt_component.store.recover_output import Layout
from mailcrypt_component.store.recover_worker import SMALL, Recovery, Worker
from mailcrypt_component.store.workers import cores, in_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailcrypt_component.dcrypt.keys import PrivateKey


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
        out: A directory outside of the store; it is made if it does not exist.
        keys: Private keys by key id.
        layout: How to store the recovered mail.
        workers: How many processes; one for each core by default.
        progress: Called ten times a second with the number of mails so far.

    Raises:
        UnreachableError: The store cannot be read, or has no Maildir.
        MailCryptError: The output cannot be written, or is inside the store.

    """
    source, target = directory_of(store), os.fsencode(os.path.realpath(out))
    _keep_apart(source, target)
    require_maildir(source)
    os.umask(0o077)
    try:
        os.makedirs(target, exist_ok=True)
    except OSError as error:
        raise _cannot_write(target, error) from None

    def share(index: int, number: int, tell: Callable[[int], None]) -> Recovery:
        try:
            listings = Reader(source).listings(index, number)
            return Worker(source, target, keys, layout).run(listings, tell)
        except OSError as error:
            raise _cannot_write(target, error) from None

    # An mbox is written by one process.
    number = 1 if layout is Layout.MBOX else workers or cores()
    total = Recovery()
    for part in in_processes(share, number, progress):
        total.merge(part)
    return total


def _keep_apart(source: bytes, target: bytes) -> None:
    store = os.path.realpath(source)
    if os.path.commonpath([store, target]) in {store, target}:
        raise MailCryptError(
            f"{shown(target)} and {shown(store)} contain one another",
            where="--out",
            expected="a directory outside of the store",
        )


def _cannot_write(target: bytes, error: OSError) -> MailCryptError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return MailCryptError(
        error.strerror or "cannot be written",
        where=shown(target),
        expected="room for the mail in the clear" if full else "a directory that can be written",
        hint="make room and run the command again: it continues where it stopped" if full else "",
    )


__all__ = ["SMALL", "Layout", "Recovery", "recover"]
