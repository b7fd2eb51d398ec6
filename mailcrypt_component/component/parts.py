"""What a mail server is made of, on one machine as on a Swarm: files, variables and memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi

from mailcrypt_component.checks.health_program import health_program
from mailcrypt_component.component.certificate import Certificate
from mailcrypt_component.component.dovecot_config import DovecotConfig
from mailcrypt_component.component.key_ring import KeyRing
from mailcrypt_component.component.stores import Stores
from mailcrypt_component.dialects.dialect import LOCKED_SCRIPT
from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import Custody
from mailcrypt_component.model.key_ring import (
    PUBLIC_KEY_PATH,
    PublicRingKey,
    RingKey,
    private_path,
)
from mailcrypt_component.model.ring_file import RING_PATH, RingFile
from mailcrypt_component.model.settings import Settings
from mailcrypt_component.model.swarm import ONLY_SERVER_SCRIPT

TMPFS: Final = {
    # A master.pid that remains after a crash would keep Dovecot from starting again.
    dms.DOVECOT_RUN_DIR: "mode=0755",
    # Dovecot writes large mails here before it encrypts them, and doveconf writes the keys.
    "/tmp": "mode=1777,exec",  # noqa: S108
    "/var/tmp": "mode=1777,exec",  # noqa: S108
}
"""The folders that are memory, with their mount options."""


@dataclass(frozen=True)
class ContainerParts:
    """The parts of a server's container; the certificate is None if DMS has its own."""

    image: pulumi.Output[str]
    ring: KeyRing
    config: DovecotConfig
    stores: Stores
    network: pulumi.Output[str]
    certificate: Certificate | None


@dataclass(frozen=True)
class ServerFile:
    """A file in the server's container; ``key_id`` is that of a key of the ring."""

    name: str
    path: str
    content: pulumi.Output[str]
    mode: int
    secret: bool = False
    key_id: pulumi.Output[str] | None = None


def environment(settings: Settings, parts: ContainerParts) -> Mapping[str, Any]:
    """Return the container's variables."""
    own = {
        "SSL_TYPE": "manual",
        "SSL_CERT_PATH": f"{dms.TLS_DIR}/certificate.pem",
        "SSL_KEY_PATH": f"{dms.TLS_DIR}/private.pem",
    }
    return {**settings.environment, **(own if parts.certificate else {})}


def server_files(settings: Settings, parts: ContainerParts) -> list[ServerFile]:
    """Return the files that the component lays out; private keys in memory are not among them."""
    compiled = parts.config.files
    files = [
        _plain("crypt", dms.CUSTOM_CONF, compiled.apply(lambda found: found.crypt)),
        _plain("storage", dms.STORAGE_CONF, compiled.apply(lambda found: found.storage)),
        _plain("public", PUBLIC_KEY_PATH, parts.ring.public_key),
        _plain("supervisor", dms.SUPERVISOR_CONF, _file("supervisor.conf")),
        _plain("health", dms.HEALTH_PATH, health_program()),
    ]
    if settings.is_swarm:
        files.append(_plain("only", ONLY_SERVER_SCRIPT, _file("only_server.sh"), 0o755))
    if settings.key_custody is Custody.MEMORY:
        files.append(_plain("locked", LOCKED_SCRIPT, _file("locked.sh"), 0o755))
        files.append(_plain("ring", RING_PATH, _ring_file(parts)))
    else:
        files += [
            _private_key(parts.ring, index, key.name) for index, key in enumerate(settings.keys)
        ]
    if parts.certificate:
        chain, private_key = parts.certificate
        files.append(_plain("certificate", f"{dms.TLS_DIR}/certificate.pem", chain))
        key_path = f"{dms.TLS_DIR}/private.pem"
        files.append(ServerFile("tls", key_path, private_key, 0o600, secret=True))
    return files


def _plain(name: str, path: str, content: pulumi.Input[str], mode: int = 0o644) -> ServerFile:
    return ServerFile(name, path, pulumi.Output.from_input(content), mode)


def _private_key(ring: KeyRing, index: int, name: str) -> ServerFile:
    def pem_of(keys: Sequence[PublicRingKey]) -> str:
        key = keys[index]
        if not isinstance(key, RingKey):  # The settings refuse this custody of a public key.
            raise TypeError(f"key {key.name} is public only")
        return key.private_pem

    key_id = ring.key_ids.apply(lambda ids: ids[index])
    return ServerFile(
        f"key-{name}",
        private_path(name),
        ring.keys.apply(pem_of),
        0o600,
        secret=True,
        key_id=key_id,
    )


def _ring_file(parts: ContainerParts) -> pulumi.Output[str]:
    """Return the ring file, which ``mailcrypt unlock`` reads; it holds no secret."""
    return pulumi.Output.all(parts.ring.public_keys, parts.config.files).apply(
        lambda found: RingFile(
            keys=tuple((key["name"], key["keyId"]) for key in found[0]),
            configuration=found[1].private,
            configuration_path=found[1].private_path,
        ).as_text()
    )


def _file(name: str) -> str:
    return Path(__file__).with_name("files").joinpath(name).read_text(encoding="utf-8")
