"""Names the parts of a Compose service for which the stack has no setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.model.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailcrypt_component.adopt.compose import Mount, Network, Port, Service
    from mailcrypt_component.adopt.old_server import OldServer

_TAKEN_OVER: Final = frozenset(
    {
        "image",
        "hostname",
        "domainname",
        "environment",
        "ports",
        "volumes",
        "tmpfs",
        "secrets",
        "configs",
        "networks",
        "network_mode",
        "stop_grace_period",
    }
)
"""Keys of a service that ``setup`` reads and answers for."""

_MEANING: Final = {
    "annotations": "the container has none",
    "build": "the image is not built; it must exist on the engine",
    "cap_add": "the server runs without these capabilities",
    "cap_drop": "the server keeps Docker's default capabilities",
    "command": "the server runs the image's own command",
    "container_name": "the container is called {server}; change scripts that use the name",
    "depends_on": "the stack neither starts these services nor waits for them",
    "deploy": "the server has no replicas, limits or placement",
    "dns": "the server uses the engine's name servers",
    "dns_opt": "the server uses the engine's resolver options",
    "dns_search": "the server uses the engine's search domains",
    "entrypoint": "the server runs the image's own entry point",
    "extra_hosts": "the server resolves these names by DNS",
    "healthcheck": "replaced by a check that asks LMTP, IMAP and Postfix",
    "labels": "proxies, updaters and backups that look for these labels no longer find the server",
    "links": "the server resolves other services by the names of its network",
    "logging": "the server logs as the engine does by default",
    "mac_address": "the engine chooses the address",
    "mem_limit": "the server has no memory limit",
    "privileged": "the server runs without privileges",
    "profiles": "the stack has no profiles",
    "pull_policy": "the image is pulled only if the engine does not have it",
    "restart": "the server always has unless-stopped",
    "security_opt": "the server runs with the engine's default security options",
    "sysctls": "the server runs with the engine's default kernel parameters",
    "ulimits": "the server runs with the engine's default limits",
    "user": "the server runs as the image's user",
    "working_dir": "the server runs in the image's folder",
}
_NO_SETTING: Final = "the stack has no setting for it"
_SHOWN: Final = frozenset(
    {
        "cap_add",
        "cap_drop",
        "container_name",
        "dns",
        "dns_opt",
        "dns_search",
        "extra_hosts",
        "mem_limit",
        "privileged",
        "restart",
        "security_opt",
        "sysctls",
        "user",
    }
)
"""Keys whose value is printed; any other could hold a password."""
_NAMED: Final = frozenset({"labels", "depends_on", "ulimits"})
"""Keys of which the names are printed, without the values."""


def of_adoption(server: OldServer, in_clear: int) -> Iterator[str]:
    """Yield what the operator must know of the server as a whole.

    Args:
        server: The old server.
        in_clear: The number of mails that are stored in clear.

    """
    compression = sorted({word for conf in server.confs.values() for word in conf.compression})
    if compression:
        yield (
            f"mail is compressed ({', '.join(compression)}): taken over, so that it stays readable"
        )
    if in_clear:
        yield (
            f"{counted(in_clear, 'mail')} in clear: mailcrypt encrypt --stack {server.stack} "
            "--apply encrypts the mail that is stored in clear, once the stack is up"
        )
    if not {"SSL_TYPE", "SSL_TYPE__FILE"} & server.environment.keys():
        yield (
            "SSL_TYPE is not set, so the stack makes a certificate of its own; "
            "tls: {mode: dms} accepts passwords in clear as before"
        )
    yield (
        "the stack keeps the private keys in memory: after a reboot users can read their mail "
        f"once mailcrypt unlock --stack {server.stack} has run; keyCustody: disk is as before"
    )
    yield from of_service(server.service, server.environment, server.new_name)
    others = [name for name in server.project.services if name != server.service.name]
    if others:
        yield f"other services stay with Docker Compose: {', '.join(others)}"


def of_service(service: Service, environment: Mapping[str, str], server: str) -> Iterator[str]:
    """Yield a note for each key of a service that is not taken over.

    Args:
        service: The mail server's service.
        environment: Its variables.
        server: The name of the stack's container.

    """
    for key, value in service.stated.items():
        if key in _TAKEN_OVER or key.startswith("x-") or value in (None, [], {}, ""):
            continue
        if key == "cap_add" and environment.get("ENABLE_FAIL2BAN") == "1":
            value = [each for each in value if each.removeprefix("CAP_") != "NET_ADMIN"]  # noqa: PLW2901
            if not value:
                continue
        meaning = _MEANING.get(key, _NO_SETTING).format(server=server)
        yield f"{_shown(key, value)}: not taken over; {meaning}"


def _shown(key: str, value: Any) -> str:
    if key in _SHOWN:
        return f"{key} {_flat(value)}"
    if key in _NAMED and isinstance(value, (dict, list)):
        return f"{key} {', '.join(str(each).partition('=')[0] for each in value)}"
    return key


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def of_mount(mount: Mount) -> Iterator[str]:
    """Yield a note for a mount that is taken over without its options, or not at all."""
    if mount.kind == "tmpfs":
        yield f"tmpfs {mount.target}: not taken over; its files lie in the container instead"
    elif mount.kind in {"secrets", "configs"}:
        yield (
            f"{mount.kind} {mount.source}: not taken over, because it is no file of the host; "
            f"nothing is mounted at {mount.target}"
        )
    elif mount.kind not in {"bind", "volume"}:
        yield f"{mount.kind} mount {mount.target}: not taken over; {_NO_SETTING}"
    elif mount.options:
        options = ", ".join(mount.options)
        yield f"mount {mount.target}: taken over without its options {options}"


def of_port(port: Port) -> str | None:
    """Return why a port is not published, None if it is."""
    if port.protocol != "tcp":
        return f"port {port.target}/{port.protocol}: not published; the stack publishes TCP only"
    if not port.published:
        return f"port {port.target} on a random port of the host: not published; add it to ports"
    if not port.published.isdecimal():
        return (
            f"port {port.target} on one of the host's ports {port.published}: not published; "
            "add a single one to ports"
        )
    return None


def of_network(network: Network, *, chosen: bool, server: str) -> Iterator[str]:
    """Yield what becomes of a network that other containers share with the server."""
    if not chosen:
        yield (
            f"network {network.name}: not taken over, because the stack has one network; "
            f"after each replacement of the server: docker network connect {network.name} {server}"
        )
        return
    if network.options:
        yield f"network {network.name}: taken over without {'; '.join(network.options)}"
    if not network.external:
        yield (
            f"network {network.name} belongs to the Compose project: docker compose down would "
            "remove it"
        )
