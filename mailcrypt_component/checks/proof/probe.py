"""The two mails of a proof, and the words that are looked for afterwards: values only."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final

DOMAIN: Final = "probe.invalid"
"""Of every probe mail's Message-ID (RFC 2606: nobody has it)."""

_LETTERS: Final = 20


@dataclass(frozen=True, slots=True)
class ProbeMail:
    """A mail with a word of its own in its subject, in an attachment's name and in its text."""

    message_id: str
    subject: str
    file_name: str
    text: str

    @property
    def words(self) -> tuple[str, str, str]:
        """The words that must not be found in clear."""
        return self.subject, self.file_name, self.text

    def to_bytes(self, account: str) -> bytes:
        """Return the mail, from and to the probe's account, with CRLF line endings.

        Postfix logs the Message-ID when it reads it, so it precedes the headers that a header
        check may act on.
        """
        mail = EmailMessage()
        mail["Message-ID"] = f"<{self.message_id}>"
        mail["From"] = mail["To"] = account
        mail["Subject"] = f"probe {self.subject}"
        mail.set_content(f"{self.text}\n")
        mail.add_attachment("attached\n", filename=f"{self.file_name}.txt")
        mail.set_boundary(self.message_id.partition("@")[0])
        return mail.as_bytes(policy=mail.policy.clone(linesep="\r\n"))


@dataclass(frozen=True, slots=True)
class Probe:
    """The mails of one proof, and a word that is written in clear as a positive control."""

    delivered: ProbeMail
    """Goes through Postfix and LMTP."""
    appended: ProbeMail
    """Goes through IMAP."""
    control: str

    @property
    def words(self) -> tuple[str, ...]:
        """The words that must not be found in clear."""
        return *self.delivered.words, *self.appended.words


def new_probe() -> Probe:
    """Make up a probe with words that were never used before."""
    return Probe(_mail(), _mail(), _word())


def _mail() -> ProbeMail:
    return ProbeMail(f"{secrets.token_hex(8)}@{DOMAIN}", _word(), _word(), _word())


def _word() -> str:
    """Return letters that a full-text index keeps whole."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(_LETTERS))
