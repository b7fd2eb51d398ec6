"""Checks the probe mails' files: each one is encrypted to the current key alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailcrypt_component.dcrypt.header import NotEncrypted, parse_header
from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import (
    FormatError,
    ProofError,
    UnreachableError,
    UnsafeError,
)
from mailcrypt_component.model.words import counted
from mailcrypt_component.store.agent.reader import MAIL
from mailcrypt_component.store.maildir import shown
from mailcrypt_component.store.volume.census import read_mails

if TYPE_CHECKING:
    from mailcrypt_component.checks.proof.context import Context
    from mailcrypt_component.store.maildir import Mail

_CIPHER: Final = "aes-256-gcm"
_SETTINGS: Final = {
    Dialect.V2_3: ("mail_location",),
    Dialect.V2_4: ("mail_driver", "mail_path"),
}
"""What says where mail lies."""


def files_of(context: Context) -> list[Mail]:
    """Return the mails below the probe's Maildir, in every folder."""
    found = read_mails(context.container, root_of(context), timeout=context.left)
    return [mail for mail in found if mail.kind == MAIL]


def check_files(context: Context, expected: int) -> str:
    """Check each file of the probe's Maildir; return what was seen.

    Args:
        context: The proof.
        expected: How many mails were stored.

    Raises:
        UnsafeError: A file lies in clear, or is encrypted to another key, or is not there.
        ProofError: A file is encrypted in an old format or by a weak cipher.

    """
    files = files_of(context)
    if len(files) < expected:
        raise _elsewhere(context, expected, len(files))
    for mail in files:
        _check_file(context, mail)
    number = counted(len(files), "file")
    return f"{number} encrypted ({_CIPHER}, version 2) to {context.target.key_id}"


def _check_file(context: Context, mail: Mail) -> None:
    path, key_id = shown(mail.path), context.target.key_id
    expected = f"encrypted (version 2, AEAD, {_CIPHER}) to key {key_id} alone"
    try:
        header = parse_header(mail.prefix)
    except NotEncrypted:
        raise UnsafeError(
            "a mail that was just stored lies in clear",
            where=path,
            expected=expected,
            hint="look for mail_plugins and mail_crypt_save_version in dovecot.cf "
            "and in files mounted into conf.d",
        ) from None
    except FormatError as error:
        raise ProofError(str(error), where=path, expected=expected) from None
    if not header.is_aead or header.cipher != _CIPHER:
        integrity = "" if header.is_aead else ", which leaves changes unnoticed"
        raise ProofError(
            f"weakly encrypted: {header.cipher}, format version {header.version}{integrity}",
            where=path,
            expected=expected,
            hint="remove mail_crypt_save_version and crypt_write_algorithm from dovecot.cf and "
            "from files mounted into conf.d",
        )
    ids = [recipient.key_id for recipient in header.recipients]
    if ids != [key_id]:
        raise UnsafeError(
            f"encrypted to {', '.join(ids)}",
            where=path,
            expected=expected,
            hint="the public key in the container is not the declared ring's; "
            f"{context.target.command('repair')} brings that back",
        )


def _elsewhere(context: Context, expected: int, found: int) -> UnsafeError:
    """Return the error for a mailbox that does not lie where it has to."""
    try:
        argv = ["doveconf", *_SETTINGS[context.target.dialect]]
        said = context.run(argv).stdout.decode(errors="replace")
    except UnreachableError as error:
        said = error.found
    return UnsafeError(
        f"Dovecot has stored {counted(expected, 'probe mail')}, {found} of them in "
        f"the mail volume ({', '.join(said.strip().splitlines())})",
        where=root_of(context),
        expected="a Maildir there, with an encrypted file for each mail",
        hint="remove mail_location, mail_driver and mail_path from dovecot.cf",
    )


def root_of(context: Context) -> str:
    """Return the probe's Maildir."""
    return f"{dms.MAIL_DIR}/{context.target.mail_folder}"
