"""Fetches both probe mails and compares them, byte for byte, with what was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailcrypt_component.checks.proof.delivery import by_id
from mailcrypt_component.checks.proof.imap import INBOX, expect, select, uids_of
from mailcrypt_component.model.errors import UnsafeError

if TYPE_CHECKING:
    from imaplib import IMAP4

    from mailcrypt_component.checks.proof.context import Context
    from mailcrypt_component.checks.proof.delivery import Delivered
    from mailcrypt_component.checks.proof.probe import ProbeMail


def read_back(context: Context, client: IMAP4, delivered: Delivered) -> str:
    """Compare both mails; return what was seen.

    Raises:
        UnsafeError: A mail did not come back as it was sent.

    """
    probe = context.probe
    for folder, mail in ((delivered.folder, probe.delivered), (INBOX, probe.appended)):
        select(client, context, folder)
        _compare(context, client, mail)
    return "both mails, byte for byte, over IMAP"


def _compare(context: Context, client: IMAP4, mail: ProbeMail) -> None:
    sent = mail.to_bytes(context.target.account).partition(b"\r\n\r\n")[2]
    for uid in uids_of(client, context, *by_id(mail)):
        answer = expect(client.uid("FETCH", uid, "(BODY.PEEK[])"), "FETCH", context)
        if any(isinstance(part, tuple) and part[1].endswith(b"\r\n\r\n" + sent) for part in answer):
            return
    raise UnsafeError(
        "a probe mail did not come back as it was sent",
        where="IMAP FETCH",
        expected="the same bytes",
        hint="look for what changes mail in dovecot.cf, in sieve scripts and in files mounted "
        "into conf.d",
    )
