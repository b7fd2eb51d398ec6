"""Reads in Postfix's and Dovecot's log what became of one mail to one recipient: text only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


class Outcome(Enum):
    """What became of a mail so far."""

    UNKNOWN = auto()
    STORED = auto()
    """Dovecot took it; whether and where it stored it is for Dovecot to say."""
    REFUSED = auto()
    """It will not arrive, or not soon."""
    PUT_OFF = auto()
    """A filter before Dovecot has put it off, and Postfix will try again."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mail, with the line that says so and Dovecot's own lines."""

    outcome: Outcome
    line: str = ""
    dovecot: tuple[str, ...] = ()


_HANDLED: Final = re.compile(r"(discard|reject|hold|milter-reject|milter-discard): .*")
_STATUS: Final = re.compile(r"status=(\w+) (.*)")


def fate_of(log: str, message_id: str, account: str) -> Fate:
    """Return what a log says of a mail.

    A filter may hand the mail back to Postfix under another queue id, hence all of them are
    looked at.  Lines of further recipients, of an archive for instance, do not count.
    """
    queue_ids = set(re.findall(rf"(\w+): message-id=<{re.escape(message_id)}>", log))
    dovecot = tuple(line for line in log.splitlines() if f"msgid=<{message_id}>" in line)
    fate = Fate(Outcome.UNKNOWN)
    for line in _lines_of(log, queue_ids):
        found = _read(line, account)
        if found.outcome is not Outcome.UNKNOWN and fate.outcome is not Outcome.REFUSED:
            fate = found
    return Fate(fate.outcome, fate.line, dovecot)


def _lines_of(log: str, queue_ids: set[str]) -> Iterator[str]:
    """Yield what follows one of these queue ids in each line."""
    for line in log.splitlines():
        found = re.search(r"\b(\w+): (.*)", line.partition("]: ")[2])
        if found and found.group(1) in queue_ids:
            yield found.group(2)


def _read(line: str, account: str) -> Fate:
    if taken := _HANDLED.match(line):
        temporary = taken.group(1) == "milter-reject" and re.search(r": 4\.\d\.\d ", line)
        return Fate(Outcome.PUT_OFF if temporary else Outcome.REFUSED, line)
    recipient = re.match(r"to=<(.*?)>, (?:orig_to=<(.*?)>)?", line)
    status = _STATUS.search(line)
    if not recipient or not status or account not in recipient.groups():
        return Fate(Outcome.UNKNOWN)
    if recipient.group(1) != account or "relay=local," in line:
        return Fate(Outcome.REFUSED, line)
    return _of_status(status.group(1), line)


def _of_status(status: str, line: str) -> Fate:
    by_dovecot = "dovecot/lmtp" in line
    if status == "sent":
        return Fate(Outcome.STORED if by_dovecot else Outcome.UNKNOWN, line)
    if status == "bounced" or (by_dovecot and "(host " in line):
        return Fate(Outcome.REFUSED, line.partition("status=")[2])
    # A filter or Dovecot itself is starting up; Postfix would wait for minutes.
    return Fate(Outcome.PUT_OFF, line)
