"""Open one stored mail of each retired key, as Dovecot does for the mail's owner.

Nothing of a mail leaves the container but how many bytes it has.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from mailcrypt_component.dcrypt.header import parse_header
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import FormatError, ProofError, UnreachableError
from mailcrypt_component.store.maildir import is_mail_folder, place_of
from mailcrypt_component.store.volume.census import read_mails

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from docker.models.containers import Container

    from mailcrypt_component.store.maildir import Mail

    Candidates = dict[str, dict[str, str]]

_OWNERS: Final = 5
"""From so many mailboxes a mail is tried: one may be of an account that was deleted."""

_NO_USER: Final = 67
# doveadm's exit code, and how many bytes it could read.
_SCRIPT: Final = '{ doveadm fetch -u "$1" text mailbox "*" guid "$2"; echo "exit $?" >&2; } | wc -c'


def open_retired(container: Container, key_ids: Sequence[str], *, timeout: float) -> str:
    """Let Dovecot open a stored mail for each of these keys that is in use.

    Args:
        container: The running server.
        key_ids: The retired keys' ids.
        timeout: Seconds for all of it; half of them at most to look for such mails.

    Returns:
        What was seen, as a sentence's part.

    Raises:
        ProofError: Dovecot could not open a mail that is encrypted to one of them.
        UnreachableError: It could not be found out.

    """
    start = time.monotonic()
    looked, found = _candidates(container, key_ids, timeout=timeout)
    seen = []
    for key in key_ids:
        owners = found.get(key, {})
        left = timeout - (time.monotonic() - start)
        opened = any(
            _opens(container, user, guid, key, timeout=left) for user, guid in owners.items()
        )
        if opened:
            seen.append(f"one mail encrypted to {key[:12]} opened")
        elif owners:
            seen.append(f"mail encrypted to {key[:12]} is in no account's mailbox")
        else:
            seen.append(f"none encrypted to {key[:12]}")
    return f"{', '.join(seen)} ({looked})"


def _candidates(
    container: Container, key_ids: Sequence[str], *, timeout: float
) -> tuple[str, Candidates]:
    """Return how much was looked at, and by key and user a mail that is encrypted to it."""
    found: Candidates = {}
    number = 0
    until = time.monotonic() + timeout / 2
    for mail in read_mails(container, dms.MAIL_DIR, timeout=timeout):
        number += 1
        for key, user, guid in _of(mail):
            owners = found.setdefault(key, {})
            if key in key_ids and len(owners) < _OWNERS:
                owners.setdefault(user, guid)
        if all(len(found.get(key, {})) for key in key_ids):
            return f"after {number} mails", found
        if time.monotonic() > until:
            return f"the first {number} mails; there was no time for more", found
    return f"all {number} mails", found


def _of(mail: Mail) -> Iterator[tuple[str, str, str]]:
    """Yield the keys of a mail with its user's address and Dovecot's id of it."""
    directory, _, name = mail.path.removeprefix(dms.MAIL_DIR.encode() + b"/").rpartition(b"/")
    domain, _, user = place_of(directory).user.partition("/")
    if not is_mail_folder(directory) or not user or "/" in user or not mail.path.isascii():
        return
    try:
        header = parse_header(mail.prefix)
    except FormatError:
        return
    for recipient in header.recipients:
        yield recipient.key_id, f"{user}@{domain}", _guid_of(name.decode())


def _guid_of(name: str) -> str:
    """Return Dovecot's own id of a mail in a Maildir: its name without sizes and flags."""
    return name.partition(":")[0].partition(",")[0]


def _opens(container: Container, user: str, guid: str, key: str, *, timeout: float) -> bool:
    """Tell whether Dovecot opens a mail; False where there is no such account or mail."""
    argv = ["sh", "-c", _SCRIPT, "sh", user, guid]
    done = execute(container, argv, timeout=timeout)
    said, _, code = done.stderr.decode(errors="replace").rpartition("exit ")
    if not code.strip().isdecimal():
        raise UnreachableError(said.strip(), where=f"doveadm in {container.name}")
    size = int(done.stdout)
    if int(code) == _NO_USER or (int(code) == 0 and not size):
        return False
    if int(code):
        raise ProofError(
            f"Dovecot cannot open a mail of {user}: {said.strip()}",
            where=f"the mail {guid}, encrypted to {key}",
            expected="each key of the ring to open what is encrypted to it",
            hint="compare the ring's private keys with the key ids that 'mailcrypt audit' lists",
        )
    return True
