"""Proves with a sample that the keys in escrow open the stored mail.

Every header is read, so each key id in use is known.  The newest mail of each key id and user
is decrypted to its end, and some more at random.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.dcrypt.decrypt import decrypt_bytes
from mailcrypt_component.dcrypt.header import parse_header
from mailcrypt_component.model.errors import FormatError
from mailcrypt_component.store.maildir import mailbox_of, shown
from mailcrypt_component.store.tally import NOT_ENCRYPTED, UNKNOWN_CONTENT, state_of_mail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mailcrypt_component.dcrypt.keys import PrivateKey
    from mailcrypt_component.store.maildir import Mail

    Fetch = Callable[[bytes], bytes]


@dataclass(slots=True)
class KeyResult:
    """The result for one key id (several joined by ``+`` if a mail has more recipients)."""

    mails: int = 0
    tried: int = 0
    opened: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Whether at least one mail was tried and each one opened."""
        return 0 < self.tried == self.opened

    def fail(self, mail: Mail, reason: str) -> None:
        """Count a mail that was tried and did not open."""
        self.tried += 1
        if len(self.faults) < _SHOWN:
            self.faults.append(f"{shown(mail.path)}: {reason}")


@dataclass(slots=True)
class Drill:
    """The results by key id, and the number of files that are encrypted to none."""

    keys: dict[str, KeyResult] = field(default_factory=dict)
    not_encrypted: int = 0
    not_looked_at: int = 0
    """What could not be looked at: unreadable, another format, links out of the store."""

    @property
    def proven(self) -> bool:
        """Whether mail was opened with every key id in use, and everything was looked at."""
        return bool(self.keys) and not self.failed and not self.not_looked_at

    @property
    def failed(self) -> bool:
        """Whether mail of some key id could not be opened."""
        return not all(result.proven for result in self.keys.values())

    def as_json(self) -> dict[str, Any]:
        """Return it as ``schemas/drill.schema.json`` describes it."""
        return {
            "proven": self.proven,
            "not_encrypted": self.not_encrypted,
            "not_looked_at": self.not_looked_at,
            "keys": {
                key: {
                    "mails": result.mails,
                    "tried": result.tried,
                    "opened": result.opened,
                    "faults": result.faults,
                }
                for key, result in self.keys.items()
            },
        }


def drill(
    mails: Iterable[Mail], fetch: Fetch, keys: Mapping[str, PrivateKey], *, sample: int
) -> Drill:
    """Decrypt a sample.

    Args:
        mails: What was found in the store, paths relative to its root.
        fetch: Returns a whole file; raises FileNotFoundError if it is gone.
        keys: The keys in escrow by key id.
        sample: How many mails of each key id to open at random, besides the newest one of
            each user.

    """
    found = Drill()
    chosen: dict[str, _Sample] = {}
    for mail in mails:
        state = state_of_mail(mail)
        if state in UNKNOWN_CONTENT:
            found.not_looked_at += 1
            continue
        if state in NOT_ENCRYPTED:
            found.not_encrypted += 1
            continue
        found.keys.setdefault(state, KeyResult()).mails += 1
        chosen.setdefault(state, _Sample(sample)).take(mail)
    for state, picked in chosen.items():
        for mail in picked.mails():
            _try(found.keys[state], mail, fetch, keys)
    return found


def _try(result: KeyResult, mail: Mail, fetch: Fetch, keys: Mapping[str, PrivateKey]) -> None:
    try:
        data = fetch(mail.path)
    except FileNotFoundError:
        return
    except OSError as error:
        result.fail(mail, str(error))
        return
    try:
        parse_header(data)
        decrypt_bytes(data, keys)
    except FormatError as error:
        result.fail(mail, error.found)
    else:
        result.tried += 1
        result.opened += 1


class _Sample:
    """Chooses the newest mail of each user and some of all, with equal chances (algorithm R)."""

    def __init__(self, size: int) -> None:
        self._size, self._seen = size, 0
        self._newest: dict[str, Mail] = {}
        self._chosen: list[Mail] = []

    def take(self, mail: Mail) -> None:
        user = mailbox_of(mail.path.rpartition(b"/")[0]).user
        newest = self._newest.get(user)
        if newest is None or mail.arrived > newest.arrived:
            self._newest[user] = mail
        self._seen += 1
        if len(self._chosen) < self._size:
            self._chosen.append(mail)
        elif (place := random.randrange(self._seen)) < self._size:  # noqa: S311  (no secret)
            self._chosen[place] = mail

    def mails(self) -> list[Mail]:
        """Return each mail once."""
        both = (*self._newest.values(), *self._chosen)
        return list({mail.path: mail for mail in both}.values())


_SHOWN: Final = 10
