"""The order of published ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailcrypt_component.model.settings import PortSettings


def in_order_of(
    listed: Sequence[tuple[int, str, int]], wanted: Sequence[PortSettings]
) -> list[PortSettings]:
    """Return the wanted ports; several bindings of one container port follow the listed order.

    Args:
        listed: Bindings as an engine lists them: container port, address, host port.
        wanted: The declared ports.

    """
    places = {binding: place for place, binding in enumerate(listed)}
    unknown = len(listed)
    services = list(dict.fromkeys(port.internal for port in wanted))

    def place(port: PortSettings) -> tuple[int, int]:
        binding = (port.internal, port.address, port.external)
        return services.index(port.internal), places.get(binding, unknown)

    return sorted(wanted, key=place)
