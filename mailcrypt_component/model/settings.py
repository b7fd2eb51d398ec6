"""The settings of a server as frozen values, and the names and defaults they use.

``read_settings`` makes them from raw arguments.  A field typed ``Any`` may hold a value that
Pulumi has not resolved yet; every other field is checked.  This module knows no Pulumi.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.model import dms
from mailcrypt_component.model.swarm import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailcrypt_component.dialects.dialect import Dialect
    from mailcrypt_component.model.custody import Custody, IndexCache, Queue
    from mailcrypt_component.model.key_ring import Curve


class TlsMode(StrEnum):
    """The source of the certificate for IMAP and SMTP."""

    SELF_SIGNED = "self-signed"
    PROVIDED = "provided"
    DMS = "dms"
    """DMS's own ``SSL_TYPE`` settings in ``environment`` decide."""


@dataclass(frozen=True, slots=True)
class KeySettings:
    """One key of the ring; without a PEM it is made on the first ``up``."""

    name: str
    curve: Curve
    pem: Any = field(default=None, repr=False)
    public_pem: Any = None
    """The public key alone: the private one is neither in the state nor on the host."""


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """A declared mail account; without password and hash, a password is made."""

    address: str
    password: Any = field(default=None, repr=False)
    password_hash: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PortSettings:
    """A container port published on the Docker host."""

    internal: int
    external: int
    address: str
    """An IPv4 or IPv6 address of the Docker host."""

    @property
    def binding(self) -> str:
        """The address and port on the Docker host, as in a URL."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.external}"


@dataclass(frozen=True, slots=True)
class MountSettings:
    """A further mount: a host path (absolute) or a volume name at ``target``."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The certificate for IMAP and SMTP."""

    mode: TlsMode
    certificate: Any = None
    private_key: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a server, checked."""

    image: Any
    hostname: Any
    dialect: Dialect | None
    keys: tuple[KeySettings, ...]
    give_up_keys: tuple[str, ...]
    key_custody: Custody
    accounts: tuple[AccountSettings, ...]
    probe_address: str
    protect: bool
    keep_mail: bool
    stop_unproven: bool
    adopt_mail: str | None
    """The mark of a mail store to take over, or ``UNMARKED``."""
    binds: Mapping[str, Any]
    index_cache: IndexCache
    index_cache_size: int
    """In MiB."""
    queue: Queue
    queue_size: int
    """In MiB."""
    ports: tuple[PortSettings, ...]
    network: Any
    environment: Mapping[str, Any]
    mounts: tuple[MountSettings, ...]
    tls: TlsSettings
    docker_host: Any
    target: Platform
    nodes: Mapping[str, Any]
    """The Docker hosts of a Swarm's nodes that may run the server, by the node's host name."""
    placement: tuple[str, ...]
    """Further constraints on the node, as ``docker service create --constraint`` takes them."""
    deadline: int
    """Seconds that a gate may take, apart from counting stored mail."""
    count_deadline: int
    """Seconds that preflight may take to count stored mail."""
    stop_grace: int
    """Seconds that the server has to stop."""

    @property
    def is_swarm(self) -> bool:
        """Whether Docker Swarm schedules the server."""
        return self.target is Platform.SWARM

    @property
    def is_public_only(self) -> bool:
        """Whether the ring holds public keys alone; a ring is never mixed."""
        return all(key.public_pem is not None for key in self.keys)


STORES: Final = {
    "mail": dms.MAIL_DIR,
    "state": dms.STATE_DIR,
    "logs": dms.LOG_DIR,
    "config": dms.CONFIG_DIR,
}
"""The volumes that every server has, by name, with their path in the container."""

BIND_TARGETS: Final = {**STORES, "certs": dms.CERTS_DIR}
"""The stores that may be a directory of the Docker host instead, by name."""

UNMARKED: Final = "unmarked"
"""The value of ``adoptMail`` for a mail store that carries no mark."""

DEFAULT_DEADLINE: Final = 120
DEFAULT_COUNT_DEADLINE: Final = 1800
DEFAULT_STOP_GRACE: Final = 60
DEFAULT_MEMORY_SIZE: Final = 256
"""The size in MiB of the index cache and of the queue that are kept in memory."""
PROBE_USER: Final = "mailcrypt-probe"
