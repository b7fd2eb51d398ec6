"""Translates single values of a Compose service into settings of a stack."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import SettingsError
from mailcrypt_component.model.settings import PROBE_USER, STORES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailcrypt_component.adopt.old_server import OldServer

_SECRET: Final = re.compile(r"PASSW|_PASS|^PASS|SECRET|TOKEN|CREDENTIAL|(?:^|_)KEY$|API_?KEY")
_WITH_LOGIN: Final = re.compile(r"://[^/\s:@]+:[^/\s@]+@")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us)")
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}


def is_secret(name: str, value: str) -> bool:
    """Tell whether a variable holds a secret, by its name or a login in its address."""
    return bool(_SECRET.search(name.upper()) or _WITH_LOGIN.search(value))


def hostname_of(server: OldServer) -> str:
    """Return the setting ``hostname``.

    Raises:
        SettingsError: The service states none.

    """
    stated = server.environment.get("OVERRIDE_HOSTNAME") or server.service.text("hostname")
    domain = server.service.text("domainname")
    if not stated:
        raise server.fault("hostname", "not stated", "the server's full host name")
    if domain and not stated.endswith(f".{domain}"):
        return f"{stated}.{domain}"
    return stated


def probe_address_of(server: OldServer) -> str:
    """Return the setting ``probeAddress``, in the domain of the first account.

    Raises:
        SettingsError: The accounts are not in a file, or there are none.

    """
    provisioner = server.environment.get("ACCOUNT_PROVISIONER", "FILE").upper()
    if provisioner != "FILE":
        raise server.fault(
            "environment.ACCOUNT_PROVISIONER",
            provisioner,
            f"FILE: the proof needs an account of its own in {dms.ACCOUNTS_FILE}",
        )
    path = f"{dms.CONFIG_DIR}/{dms.ACCOUNTS_FILE}"
    domains = re.findall(r"^[^#|\s]+@([^|\s]+)\|", server.files.read(path), re.MULTILINE)
    if not domains:
        raise SettingsError("no account", where=path, expected="address|hash in a line")
    return f"{PROBE_USER}@{domains[0]}"


def binds_of(server: OldServer, note: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """Yield the setting ``binds``: each store with its folder or volume.

    Raises:
        SettingsError: The mail or the configuration is not mounted, or not as a whole.

    """
    for name, target in STORES.items():
        found = server.files.locate(target)
        if found is None and name in {"mail", "config"}:
            raise server.fault("volumes", f"nothing is mounted at {target}", "mail and accounts")
        if found is None:
            note(
                f"nothing is mounted at {target}: the stack makes a new volume; the old "
                "container's files there are not taken over"
            )
        elif found.mount.kind == "bind":
            yield name, str(found.host_path)
        elif found.mount.kind == "volume" and found.mount.source and not found.relative.parts:
            yield name, found.mount.source
        else:
            raise server.fault(
                "volumes",
                f"{target} lies in {found.mount.source or 'an anonymous volume'}",
                "a folder of the host, or a named volume of its own",
                f"mount one at {target} and copy the files there first",
            )


def stop_grace_of(server: OldServer) -> int | None:
    """Return the setting ``stopGrace`` in seconds; None if the service states none.

    Raises:
        SettingsError: It is no duration.

    """
    stated = server.service.text("stop_grace_period")
    parts = _DURATION.findall(stated)
    if stated and "".join(map("".join, parts)) != stated:
        raise server.fault("stop_grace_period", stated, "a duration such as 1m30s")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return max(1, round(seconds)) if stated else None
