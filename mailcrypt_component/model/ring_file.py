"""The ring file, by which a locked server describes its ring to ``mailcrypt unlock``; no secret."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from mailcrypt_component.model.errors import FormatError

RING_PATH: Final = "/etc/mailcrypt/ring.json"
"""The file's path in the server's container."""


@dataclass(frozen=True, slots=True)
class RingFile:
    """The ring's key names and ids, newest first, and the configuration that names the keys."""

    keys: tuple[tuple[str, str], ...]
    configuration: str
    configuration_path: str

    def as_text(self) -> str:
        """Return the file's content for ``read_ring_file``."""
        facts = {
            "keys": [{"name": name, "keyId": key_id} for name, key_id in self.keys],
            "configuration": self.configuration,
            "configurationPath": self.configuration_path,
        }
        return json.dumps(facts, indent=2) + "\n"


def read_ring_file(text: str) -> RingFile:
    """Read a ring file.

    Raises:
        FormatError: The text is not a ring file.

    """
    try:
        facts = json.loads(text)
        return RingFile(
            keys=tuple((key["name"], key["keyId"]) for key in facts["keys"]),
            configuration=facts["configuration"],
            configuration_path=facts["configurationPath"],
        )
    except (ValueError, KeyError, TypeError):
        raise FormatError(
            f"{len(text)} characters that are not a ring file",
            where=RING_PATH,
            expected="the file that the component uploads",
            hint="pulumi up --refresh",
        ) from None
