"""Looks at the probe mails as mail programs do, so that what they leave behind is searched, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.checks.proof.delivery import by_id
from mailcrypt_component.checks.proof.imap import INBOX, expect, select, uids_of
from mailcrypt_component.model.errors import ProofError

if TYPE_CHECKING:
    from imaplib import IMAP4

    from mailcrypt_component.checks.proof.context import Context
    from mailcrypt_component.checks.proof.delivery import Delivered
    from mailcrypt_component.checks.proof.probe import ProbeMail

_LISTED: Final = "UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE"
_HEADERS: Final = "BODY.PEEK[HEADER.FIELDS (FROM TO CC SUBJECT DATE REFERENCES)]"


def look_as_mail_programs(context: Context, client: IMAP4, delivered: Delivered) -> str:
    """List, preview and search each probe mail; return what was seen.

    Raises:
        ProofError: A search or a listing does not show the mail.

    """
    items = [_LISTED, _HEADERS]
    if b"PREVIEW" in expect(client.capability(), "CAPABILITY", context)[0].split():
        items.append("PREVIEW")
    probe = context.probe
    for folder, mail in ((delivered.folder, probe.delivered), (INBOX, probe.appended)):
        select(client, context, folder)
        _look(context, client, mail, " ".join(items))
    names = "ENVELOPE, BODYSTRUCTURE" + ", PREVIEW" * (len(items) > 2)  # noqa: PLR2004
    return f"listed ({names}) and searched (SUBJECT, BODY, TEXT), as mail programs do"


def _look(context: Context, client: IMAP4, mail: ProbeMail, items: str) -> None:
    uids = uids_of(client, context, *by_id(mail))
    if not uids:
        raise ProofError("a probe mail has disappeared", where="IMAP SEARCH")
    shown = expect(client.uid("FETCH", uids[0], f"({items})"), "FETCH", context)
    listed = _joined(shown).lower()
    for word in (mail.subject, mail.file_name):
        if word.encode() not in listed:
            raise ProofError(
                f"the listing of a probe mail lacks the word {word}: {listed[:200]!r}",
                where="IMAP FETCH",
                expected="its subject and its attachment's name",
            )
    for key, word in (("SUBJECT", mail.subject), ("BODY", mail.text), ("TEXT", mail.text)):
        if uids[0] not in uids_of(client, context, key, word):
            raise ProofError(
                f"the word {word} is not found in a probe mail",
                where=f"IMAP SEARCH {key}",
                expected="the mail that contains it",
            )


def _joined(data: Any) -> bytes:
    """Return a FETCH answer's parts as one text."""
    return b" ".join(b" ".join(part) if isinstance(part, tuple) else part for part in data if part)
