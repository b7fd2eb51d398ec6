"""Sends the two probe mails and finds the folder in which Dovecot has stored them."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailcrypt_component.checks.proof.context import Waiting, wait_for
from mailcrypt_component.checks.proof.imap import INBOX, expect, select, uids_of
from mailcrypt_component.checks.proof.mail_log import Fate, Outcome, fate_of
from mailcrypt_component.checks.proof.on_disk import check_files, files_of
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import ProofError

if TYPE_CHECKING:
    from imaplib import IMAP4

    from mailcrypt_component.checks.proof.context import Context
    from mailcrypt_component.checks.proof.probe import ProbeMail
    from mailcrypt_component.docker_api.run import Result

_LOG_SECONDS: Final = 0.3
"""A healthy server has stored the mail by then, so that its log need not be read."""
_LOOKUP_SECONDS: Final = 1.0
"""After Dovecot has taken a mail, it may take so long until a session sees it."""
_LOG_LINES: Final = "3000"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The folder that the mail through LMTP lies in, as LIST prints it, and what was seen."""

    folder: str
    seen: str


def deliver(context: Context, client: IMAP4 | None) -> Delivered:
    """Send one mail through Postfix and LMTP and, unless it is locked, one through IMAP.

    Raises:
        ProofError: A mail will not arrive; the message quotes the log.
        UnreachableError: The deadline has passed.

    """
    account, probe = context.target.account, context.probe
    with ThreadPoolExecutor(1) as pool:
        # An empty sender: a bounce, of an archive's copy for instance, comes back to nobody.
        argv = ["sendmail", "-i", "-f", "", account]
        sent = pool.submit(context.run, argv, probe.delivered.to_bytes(account))
        if client:
            appended = client.append(INBOX, "", "", probe.appended.to_bytes(account))
            expect(appended, "APPEND", context)
        _require_sent(sent.result())
    start = time.monotonic()
    folder = wait_for(context, lambda: _arrived(context, client, start), 0.02)
    return Delivered(folder, _seen(context, client, folder))


def _seen(context: Context, client: IMAP4 | None, folder: str) -> str:
    seen = "one mail through Postfix and LMTP"
    if client:
        seen += ", one through IMAP APPEND"
    if folder != INBOX:
        seen += f" (the first was filed into {folder}{_by_scripts(context)})"
    return seen


def _require_sent(result: Result) -> None:
    if result.exit_code:
        raise ProofError(
            result.complaint,
            where="sendmail in the container",
        )


def _arrived(context: Context, client: IMAP4 | None, start: float) -> str | Waiting:
    """Return the folder of the mail that went through LMTP.

    Raises:
        ProofError: It will not arrive.

    """
    mail = context.probe.delivered
    if client is None:
        if found := files_of(context):
            return _folder_of(found[0].path)
    elif uids_of(client, context, *by_id(mail)):
        return INBOX
    if time.monotonic() - start < _LOG_SECONDS:
        return Waiting("the probe mail is under way")
    return _by_log(context, client)


def _by_log(context: Context, client: IMAP4 | None) -> str | Waiting:
    fate = _fate(context)
    if fate.outcome is Outcome.REFUSED:
        raise refused(context, fate)
    if fate.outcome is Outcome.PUT_OFF:
        context.run(["postqueue", "-f"])
        context.run(["postkick", "public", "pickup", "W"])
        return Waiting(f"the probe mail was put off: {fate.line}")
    if fate.outcome is Outcome.UNKNOWN:
        return Waiting("the probe mail is under way")
    return _stored_in(context, client, fate)


def _fate(context: Context) -> Fate:
    log = context.run(["tail", "-n", _LOG_LINES, f"{dms.LOG_DIR}/mail.log"])
    text = log.stdout.decode(errors="replace")
    return fate_of(text, context.probe.delivered.message_id, context.target.account)


def _stored_in(context: Context, client: IMAP4 | None, fate: Fate) -> str:
    """Find the folder of a mail that Dovecot has taken and that is not in the inbox.

    Raises:
        ProofError: It is in no folder.

    """
    until = time.monotonic() + _LOOKUP_SECONDS
    while True:
        if client is None:
            if found := files_of(context):
                return _folder_of(found[0].path)
        elif (folder := _search_everywhere(context, client)) is not None:
            return folder
        if time.monotonic() > until:
            break
        time.sleep(0.1)
    if files_of(context):  # Then a search could not read it.
        check_files(context, 1)
    raise ProofError(
        "Dovecot has taken the probe mail and stored it in no folder:\n    "
        + "\n    ".join(fate.dovecot or (fate.line,)),
        where=f"{dms.LOG_DIR}/mail.log",
        expected=f"the mail in a folder of {context.target.account}",
        hint=f"exempt mail to {context.target.account} from discarding{_by_scripts(context)}",
    )


def _search_everywhere(context: Context, client: IMAP4) -> str | None:
    """Return the first folder that holds the mail; the inbox stays selected if it is that."""
    lines: list[bytes | None] = expect(client.list(), "LIST", context)
    folders = [name for line in lines if (name := _listed(line))]
    for folder in sorted(folders, key=lambda name: name != INBOX):
        status, _ = client.select(folder, readonly=True)
        if status == "OK" and uids_of(client, context, *by_id(context.probe.delivered)):
            return folder
    select(client, context, INBOX)
    return None


def _listed(line: object) -> str | None:
    r"""Return a folder's name from a line of LIST, quoted as it came.

    >>> _listed(b'(\\HasNoChildren) "/" "Sent Items"')
    '"Sent Items"'
    """
    found = isinstance(line, bytes) and re.fullmatch(rb'\((.*?)\) (?:"[^"]*"|NIL) (.+)', line)
    if not found or b"\\noselect" in found.group(1).lower():
        return None
    return found.group(2).decode()


def by_id(mail: ProbeMail) -> tuple[str, str, str]:
    """Return the search criteria of a probe mail."""
    return "HEADER", "Message-ID", mail.message_id


def _folder_of(path: bytes) -> str:
    """Return the folder that a file of the probe's Maildir lies in."""
    directory = path.split(b"/")[-3]
    return directory[1:].decode(errors="replace") if directory.startswith(b".") else INBOX


def _by_scripts(context: Context) -> str:
    """Return the paths of the sieve scripts in Dovecot's configuration, ready for a message."""
    found = context.run(["sh", "-c", _SCRIPTS]).stdout.decode(errors="replace").split()
    return f"; sieve scripts: {', '.join(dict.fromkeys(found))}" if found else ""


_SCRIPTS: Final = (
    "doveconf -n 2>/dev/null | grep -o '[ :]/[^ ;]*sieve[^ ;]*' | tr -d ' :'"
    " | xargs -r -I % find -L % -name '*.sieve' 2>/dev/null"
)


def refused(context: Context, fate: Fate) -> ProofError:
    """Return the error for a mail that did not arrive."""
    return ProofError(
        f"the probe mail was not delivered: {fate.line}",
        where=f"{dms.LOG_DIR}/mail.log",
        expected=f"status=sent, to {context.target.account} by LMTP",
        hint=_hint_for(fate.line),
    )


def _hint_for(line: str) -> str:
    if "relay=local," in line:
        return (
            "the host name is the mail's domain, too: use another host name, or set "
            "'mydestination = localhost' in postfix-main.cf"
        )
    if "orig_to=" in line:
        return f"an alias takes it; {dms.ALIASES_FILE} has to name the probe as its own alias"
    return "Dovecot's own lines before it in mail.log give the reason"
