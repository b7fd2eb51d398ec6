"""The identity of a stack's data: the mark that a mail store carries.

Each stack has a random identity, which is made once and kept in its state.  Preflight writes it
into a file at the root of the mail store, so that no other stack takes over the store unnoticed.
This module reads and writes no file.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import Final

from mailcrypt_component.model.errors import FormatError

MARK_FILE: Final = ".mailcrypt-volume"
"""The mark's file at the root of the mail store; neither Dovecot nor DMS looks at it."""

STACK_LABEL: Final = "mailcrypt.stack"
"""The label of every volume and container of a stack; its value is the stack's identity."""

_IDENTITY: Final = re.compile(r"[0-9a-f]{16}")
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """The content of the file: the stack's identity, and the stack's name for messages."""

    identity: str
    stack: str

    def as_text(self) -> str:
        """Return the file's content."""
        facts = {"format": _FORMAT, "identity": self.identity, "stack": self.stack}
        return json.dumps(facts) + "\n"


def new_identity() -> str:
    """Return a random identity of 16 hex digits."""
    return secrets.token_hex(8)


def is_identity(value: object) -> bool:
    """Tell whether a text is an identity."""
    return isinstance(value, str) and _IDENTITY.fullmatch(value) is not None


def read_mark(text: str) -> Mark:
    """Read a mark's file.

    Raises:
        FormatError: The file was not written by us, or by a later version.

    """
    try:
        facts = json.loads(text)
        mark = Mark(facts["identity"], str(facts["stack"]))
    except (ValueError, KeyError, TypeError):
        facts, mark = {}, Mark("", "")
    if not is_identity(mark.identity) or facts.get("format") != _FORMAT:
        raise FormatError(
            f"{len(text)} characters that are not a mark",
            where=MARK_FILE,
            expected=f"JSON of format {_FORMAT} with identity and stack",
            hint="restore the file from a backup, or remove it and set adoptMail: unmarked",
        )
    return mark
