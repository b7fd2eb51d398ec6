"""Reads the ports that are published on the Docker host."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.model import dms
from mailcrypt_component.model.raw_settings import shown
from mailcrypt_component.model.settings import PortSettings
from mailcrypt_component.model.swarm import Platform

if TYPE_CHECKING:
    from mailcrypt_component.model.raw_settings import RawSettings

_MAX_PORT: Final = 65535
_ALL_ADDRESSES: Final = ("0.0.0.0", "::")  # noqa: S104
"""The address that Docker binds if none is given.

The provider accepts an empty address, too, but then replaces the container at every ``up``.
"""


def read_ports(raw: RawSettings, target: Platform) -> tuple[PortSettings, ...]:
    """Read every binding; a service has one value or a list of them.

    Swarm publishes a port at every address of the node.
    """
    ports: list[PortSettings] = []
    for name, value in raw.typed("ports", dict, default=dict(dms.PORTS)).items():
        for single in value if isinstance(value, list) else [value]:
            if not raw.later(single):
                ports += _read_port(raw, str(name), single)
    raw.refuse_duplicates("ports", [port.binding for port in ports])
    if target is Platform.SWARM:
        for port in ports:
            if port.address not in _ALL_ADDRESSES:
                raw.fault(
                    "ports",
                    f"{port.binding} with target swarm",
                    "a port alone: Swarm publishes it at every address of the node",
                    f"write {port.external}, and keep others out with a firewall on each node",
                )
    return tuple(ports)


def _read_port(raw: RawSettings, name: str, value: Any) -> list[PortSettings]:
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
        addresses = [address.strip("[]")] if address else _ALL_ADDRESSES
        return [PortSettings(internal, external, address) for address in addresses]
    return []


def _is_ip(text: str) -> bool:
    """Tell whether this is an IPv4 address, or an IPv6 address in brackets."""
    bracketed = text.startswith("[") and text.endswith("]")
    try:
        address = ipaddress.ip_address(text[1:-1] if bracketed else text)
    except ValueError:
        return False
    return bracketed == (address.version == 6)  # noqa: PLR2004
