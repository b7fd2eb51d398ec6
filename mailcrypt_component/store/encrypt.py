"""Encrypts stored mail to the current key, while Dovecot runs.

A mail that is in clear, or encrypted to a retired key, is replaced by an encrypted one with the
same name.  For each batch of mails: the new files are written into the Maildir's ``tmp``, with
the owner, mode and times of the old ones (a mail's mtime is INTERNALDATE), read back, decrypted
and compared; everything is flushed to the disk; then each new file changes places with the old
one (``renameat2`` with ``RENAME_EXCHANGE``), and the old one, now in ``tmp``, is removed.

Why no mail is lost or doubled, wherever the run is killed: before the exchange the mail is
untouched, after it the mail is the new file, and the exchange is one step of the file system.
What is left in ``tmp`` is a copy of a stored mail, so the next run may remove it.  If Dovecot
has renamed the mail meanwhile (a changed flag) or removed it, there is nothing to change places
with: the exchange fails, and the mail is looked for under its new name.  Names stay as they
are, and with them ``S=``, flags and UIDs.

The store is a directory of this machine (``local_files``) or a volume of a Docker host
(``volume_files``); the keys stay here, mail goes there and back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailcrypt_component.model.errors import KeyFault
from mailcrypt_component.store.encrypt_worker import HardLinkWorker, Worker
from mailcrypt_component.store.encryption import Encryption, EncryptionJob
from mailcrypt_component.store.workers import cores, in_processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailcrypt_component.store.files import OpenFiles

PASSES: Final = 3
"""How often to go over the store again because mail was moved or removed meanwhile."""


def encrypt_store(
    opened: OpenFiles,
    job: EncryptionJob,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Encryption:
    """Encrypt every mail of a store to the current key.

    Args:
        opened: Opens the store's files; ``local_files`` and ``volume_files`` yield it.
        job: What to do.
        workers: How many processes; one for each core by default.
        progress: Called ten times a second with the number of mails so far.

    Raises:
        KeyFault: The current key is not among the keys.
        UnreachableError: The store cannot be read.
        MailCryptError: The store cannot be written.

    """
    if job.current not in job.keys:
        raise KeyFault(
            f"no private key {job.current}",
            where="the current key",
            expected="the current key among the given keys: each new file is decrypted again, to "
            "compare it",
        )

    total = last = _once(opened, job, workers, progress)
    for _ in range(PASSES):
        # Mail that is gone may have been moved to a folder that was done already.
        if not (job.apply and last.gone):
            break
        last = _once(opened, job, workers, progress)
        total.follow(last)
    return total


def _once(
    opened: OpenFiles,
    job: EncryptionJob,
    workers: int | None,
    progress: Callable[[int], None] | None,
) -> Encryption:
    def share(index: int, number: int, tell: Callable[[int], None]) -> Encryption:
        with opened() as files:
            return Worker(files, job, index, number).run(tell)

    total = Encryption()
    for part in in_processes(share, workers or cores(), progress):
        total.merge(part)
    with opened() as files:
        total.merge(HardLinkWorker(files, job).run())
    return total


__all__ = ["Encryption", "EncryptionJob", "encrypt_store"]
