"""Judges the Pulumi state, which holds the encrypted ring, if it is on the server's host."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mailcrypt_component.exposure.finding import Exposed, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

PART = "Pulumi state"


def judge_state(
    *, on_this_host: bool, public_only: bool, environment: Mapping[str, str] | None = None
) -> Finding:
    """Return the finding about the state on the disk of the Docker host.

    Args:
        on_this_host: Whether the Docker engine is the one of this machine.
        public_only: Whether the ring holds no private key.
        environment: The variables; by default those of the process.

    """
    variables = os.environ if environment is None else environment
    backend = variables.get("PULUMI_BACKEND_URL") or _logged_in(variables)
    if public_only:
        return Finding(PART, Exposed.NOTHING, "it holds no private key")
    if not on_this_host:
        return Finding(PART, Exposed.NOTHING, "not on the Docker host")
    if not backend.startswith("file://"):
        if not backend:
            seen = "no backend is named: PULUMI_BACKEND_URL is not set, and nobody is logged in"
            return Finding(PART, Exposed.UNKNOWN, seen)
        return Finding(PART, Exposed.NOTHING, f"in {backend}, not on this host")
    change = "a backend elsewhere, or publicPem keys"
    passphrase_file = variables.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if passphrase_file and Path(passphrase_file).exists():
        seen = f"on this host together with its passphrase ({passphrase_file})"
        return Finding(PART, Exposed.KEY, seen, change)
    seen = f"on this host ({backend}), encrypted; its passphrase is not in a file named here"
    return Finding(PART, Exposed.METADATA, seen, change)


def _logged_in(variables: Mapping[str, str]) -> str:
    """Return the backend of ``pulumi login``; an empty text if there is none."""
    home = variables.get("PULUMI_HOME") or str(Path.home() / ".pulumi")
    try:
        found = json.loads(Path(home, "credentials.json").read_text(encoding="utf-8"))
        return str(found.get("current") or "")
    except (OSError, ValueError):
        return ""
