"""Reads the ports that are published on the Docker host."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.model import dms
from mailcrypt_component.model.raw_settings import shown
from mailcrypt_component.model.settings import PortSettings

if TYPE_CHECKING:
    from mailcrypt_component.model.raw_settings import RawSettings

_MAX_PORT: Final = 65535


def read_ports(raw: RawSettings) -> tuple[PortSettings, ...]:
    """Read every binding; a service has one value or a list of them."""
    ports: list[PortSettings] = []
    for name, value in raw.typed("ports", dict, default=dict(dms.PORTS)).items():
        for single in value if isinstance(value, list) else [value]:
            if not raw.later(single):
                ports += filter(None, [_read_port(raw, str(name), single)])
    raw.refuse_duplicates("ports", [f"{port.address}:{port.external}" for port in ports])
    return tuple(ports)


def _read_port(raw: RawSettings, name: str, value: Any) -> PortSettings | None:
    where = f"ports.{name}"
    internal = dms.PORTS.get(name) or (int(name) if name.isdecimal() else 0)
    address, _, number = str(value).rpartition(":")
    external = int(number) if number.isdecimal() else 0
    if not 1 <= internal <= _MAX_PORT:
        raw.fault(where, "unknown service", f"one of {', '.join(dms.PORTS)}, or a port number")
    elif isinstance(value, bool) or not 1 <= external <= _MAX_PORT:
        raw.fault(where, shown(value), "a port from 1 to 65535, or address:port")
    elif address and not _is_ip(address):
        raw.fault(where, shown(value), "an IP address before the port, IPv6 in brackets")
    else:
        return PortSettings(internal, external, address.strip("[]") or "0.0.0.0")  # noqa: S104
    return None


def _is_ip(text: str) -> bool:
    """Tell whether this is an IPv4 address, or an IPv6 address in brackets."""
    bracketed = text.startswith("[") and text.endswith("]")
    try:
        address = ipaddress.ip_address(text[1:-1] if bracketed else text)
    except ValueError:
        return False
    return bracketed == (address.version == 6)  # noqa: PLR2004
