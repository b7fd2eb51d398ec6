"""Translates a Compose service's ports and networks into settings of a stack.

Whatever is not taken over is passed to ``note``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.adopt import notes
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailcrypt_component.adopt.compose import Network, Project, Service

_OPTIONAL: Final = {"ENABLE_POP3": (110, 995), "ENABLE_MANAGESIEVE": (4190,)}
"""Ports on which docker-mailserver listens if a variable is 1."""


def ports_of(
    service: Service, environment: Mapping[str, str], note: Callable[[str], None]
) -> dict[str, Any]:
    """Return the setting ``ports``; empty if the service publishes none."""
    if service.text("network_mode") == "host":
        return _ports_of_host_network(environment, note)
    names = {number: name for name, number in dms.PORTS.items()}
    found: dict[str, list[int | str]] = {}
    for port in service.ports:
        refused = notes.of_port(port)
        if refused:
            note(refused)
            continue
        address = f"[{port.address}]" if ":" in port.address else port.address
        value = f"{address}:{port.published}" if address else int(port.published)
        values = found.setdefault(names.get(port.target, str(port.target)), [])
        if value not in values:
            values.append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _ports_of_host_network(
    environment: Mapping[str, str], note: Callable[[str], None]
) -> dict[str, Any]:
    ports: dict[str, Any] = dict(dms.PORTS)
    for variable, numbers in _OPTIONAL.items():
        if environment.get(variable) == "1":
            ports |= {str(number): number for number in numbers}
    note(
        "network_mode host: not taken over; the server gets a network of its own and publishes "
        f"{', '.join(map(str, ports.values()))}"
    )
    return ports


def network_of(
    project: Project, service: Service, server: str, note: Callable[[str], None]
) -> str | None:
    """Return the setting ``network``; None if the server can have a network of its own.

    A network is kept if other containers find the server through it: an external one, or one
    that other services of the project use.

    Args:
        project: The project.
        service: The mail server's service.
        server: The name of the stack's container.
        note: Called with each note.

    Raises:
        SettingsError: The service shares another container's network.

    """
    _note_network_mode(project, service, note)
    used = sorted(service.networks, key=lambda network: not network.external)
    shared = [each for each in used if each.external or _others(project, service, each)]
    for network in used:
        if network in shared:
            for text in notes.of_network(network, chosen=network == shared[0], server=server):
                note(text)
        elif network.options:
            options = "; ".join(network.options)
            note(f"network {network.name}: replaced by one of the server's own, without {options}")
    if not shared:
        return None
    others = ", ".join(_others(project, service, shared[0]))
    note(
        f"containers of {shared[0].name}{f' ({others})' if others else ''} reach the server by its "
        f"host name, no longer as {service.name}"
    )
    return shared[0].name


def _note_network_mode(project: Project, service: Service, note: Callable[[str], None]) -> None:
    mode = service.text("network_mode")
    if mode.startswith(("service:", "container:")):
        raise SettingsError(
            mode,
            where=f"{project.file}: {service.name}.network_mode",
            expected="a network of the server's own",
        )
    if mode and mode != "host":
        note(f"network_mode {mode}: the server gets a network of its own")


def _others(project: Project, service: Service, network: Network) -> list[str]:
    """Return the project's other services in a network."""
    return [
        other.name
        for other in project.services.values()
        if other.name != service.name and network.name in {each.name for each in other.networks}
    ]
