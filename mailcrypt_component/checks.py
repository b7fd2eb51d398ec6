"""What the gates do, called with the values that they waited for.

The component imports this module only when a gate runs: the Docker SDK and what
it brings would slow down the start of every update in which nothing changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailcrypt_component.accounts import Account
from mailcrypt_component.dialects import Dialect
from mailcrypt_component.preflight import Plan, ask_dialect, run_preflight
from mailcrypt_component.probe import target_of, verify
from mailcrypt_component.provision import write_accounts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailcrypt_component.settings import Settings

__all__ = ["ask_dialect", "preflight", "proof", "provision"]


def preflight(settings: Settings, server: str, found: Mapping[str, Any]) -> str:
    """Try the plan; return what was seen. Raises MailCryptError where it would not work."""
    return run_preflight(
        Plan(
            docker_host=found["host"],
            stack=found["stack"],
            image=found["image"],
            server=server,
            dialect=Dialect(found["dialect"]),
            configuration=found["text"],
            curves=found["curves"],
            key_ids=tuple(found["key_ids"]),
            given_up=settings.give_up_keys,
            mail=found["mail"],
            config=found["config"],
            mounts=settings.mounts,
            ports=settings.ports,
            deadline=settings.deadline,
        )
    )


def provision(settings: Settings, found: Mapping[str, Any]) -> str:
    """Write the declared accounts and the probe's; return how many."""
    declared = [Account(**facts) for facts in found["declared"]]
    probe = Account(settings.probe_address, password=found["password"])
    write_accounts(found["host"], found["image"], found["config"], declared, probe)
    return f"{len(declared)} declared accounts, and the probe's, are written"


def proof(found: Mapping[str, Any]) -> str:
    """Prove the server; return what was seen. Raises MailCryptError where it does not hold."""
    return verify(target_of(found)).short
