"""Declares the mail server's container: its mounts, uploads and variables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
import pulumi_docker as docker

from mailcrypt_component.checks.health_program import health_program
from mailcrypt_component.component.certificate import Certificate
from mailcrypt_component.component.custody import Memory
from mailcrypt_component.component.dovecot_config import DovecotConfig
from mailcrypt_component.component.key_ring import KeyRing
from mailcrypt_component.component.scope import Scope
from mailcrypt_component.component.stores import Stores
from mailcrypt_component.dialects.dialect import LOCKED_SCRIPT
from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import SERVER_LABEL, Custody
from mailcrypt_component.model.identity import STACK_LABEL
from mailcrypt_component.model.key_ring import (
    PUBLIC_KEY_PATH,
    PublicRingKey,
    RingKey,
    private_path,
)
from mailcrypt_component.model.ports import in_order_of
from mailcrypt_component.model.ring_file import RING_PATH, RingFile
from mailcrypt_component.model.settings import BIND_TARGETS, Settings


@dataclass(frozen=True)
class ContainerParts:
    """The parts of a server's container; the certificate is None if DMS has its own."""

    image: pulumi.Output[str]
    ring: KeyRing
    config: DovecotConfig
    stores: Stores
    network: pulumi.Output[str]
    certificate: Certificate | None


def declare_container(
    scope: Scope, parts: ContainerParts, memory: Memory, needs: Sequence[pulumi.Resource]
) -> docker.Container:
    """Declare the container, which depends on everything that it needs."""
    settings = scope.settings
    # The provider reports changes of these as updates in place but changes nothing, or starts a
    # stopped server as the same one, which no gate would check.  Replace the server instead.
    replacing = pulumi.ResourceOptions(
        replace_on_changes=["tmpfs", "healthcheck.tests", "mustRun"],
        delete_before_replace=True,
    )
    return docker.Container(
        f"{scope.name}-server",
        name=scope.full_name,
        image=parts.image,
        hostname=settings.hostname,
        envs=_environment(settings, parts.certificate),
        labels=[
            docker.ContainerLabelArgs(label=SERVER_LABEL, value=scope.full_name),
            docker.ContainerLabelArgs(label=STACK_LABEL, value=parts.stores.identity),
        ],
        networks_advanced=[
            docker.ContainerNetworksAdvancedArgs(name=parts.network, aliases=[settings.hostname])
        ],
        ports=_ports(scope),
        volumes=_mounts(settings, parts.stores, memory),
        tmpfs=_TMPFS,
        uploads=_uploads(settings, parts),
        healthcheck=docker.ContainerHealthcheckArgs(
            tests=[*dms.HEALTH_CHECK, parts.config.files.apply(lambda files: files.private_path)],
            interval="30s",
            timeout="10s",
            retries=3,
            start_period="1m0s",
        ),
        capabilities=_capabilities(settings),
        restart="unless-stopped",
        destroy_grace_seconds=settings.stop_grace,
        stop_timeout=settings.stop_grace,
        must_run=True,
        opts=pulumi.ResourceOptions.merge(scope.on_engine(depends_on=needs), replacing),
    )


def _ports(scope: Scope) -> pulumi.Output[list[Any]]:
    """Return the ports; several bindings of one port are in the engine's order.

    Docker lists them in another order than they were declared in, and the provider would
    replace the container at each update.
    """
    wanted = scope.value(lambda settings: settings.ports)
    asked = pulumi.Output.all(scope.bindings(), wanted)
    return asked.apply(
        lambda both: [
            {"internal": port.internal, "external": port.external, "ip": port.address}
            for port in in_order_of(both[0], both[1])
        ]
    )


def _capabilities(settings: Settings) -> docker.ContainerCapabilitiesArgs | None:
    """Return NET_ADMIN with Fail2ban, which cannot ban without it and does not report that."""
    if settings.environment.get("ENABLE_FAIL2BAN") != "1":
        return None
    return docker.ContainerCapabilitiesArgs(adds=["CAP_NET_ADMIN"])


def _environment(settings: Settings, certificate: Certificate | None) -> list[pulumi.Input[str]]:
    own = {
        "SSL_TYPE": "manual",
        "SSL_CERT_PATH": f"{dms.TLS_DIR}/certificate.pem",
        "SSL_KEY_PATH": f"{dms.TLS_DIR}/private.pem",
    }
    chosen = {**settings.environment, **(own if certificate else {})}
    return [pulumi.Output.concat(name, "=", value) for name, value in sorted(chosen.items())]


_TMPFS: Final = {
    # A master.pid that remains after a crash would keep Dovecot from starting again.
    dms.DOVECOT_RUN_DIR: "mode=0755",
    # Dovecot writes large mails here before it encrypts them, and doveconf writes the keys.
    "/tmp": "mode=1777,exec",  # noqa: S108
    "/var/tmp": "mode=1777,exec",  # noqa: S108
}


def _mounts(
    settings: Settings, stores: Stores, memory: Memory
) -> Sequence[docker.ContainerVolumeArgs]:
    sources: dict[str, pulumi.Input[str]] = {**stores.sources, **settings.binds}
    mounts = [_volume(source, BIND_TARGETS[store]) for store, source in sources.items()]
    mounts += [
        _volume(made.name, volume.target, read_only=volume.read_only)
        for volume, made in memory.volumes.values()
    ]
    mounts += [
        _volume(mount.source, mount.target, read_only=mount.read_only) for mount in settings.mounts
    ]
    return mounts


def _uploads(settings: Settings, parts: ContainerParts) -> list[docker.ContainerUploadArgs]:
    files = parts.config.files
    uploads = [
        _upload(dms.CUSTOM_CONF, files.apply(lambda found: found.crypt), "0644"),
        _upload(dms.STORAGE_CONF, files.apply(lambda found: found.storage), "0644"),
        _upload(PUBLIC_KEY_PATH, parts.ring.public_key, "0644"),
        _upload(dms.SUPERVISOR_CONF, _file("supervisor.conf"), "0644"),
        _upload(dms.HEALTH_PATH, health_program(), "0644"),
    ]
    if settings.key_custody is Custody.MEMORY:
        uploads.append(_upload(LOCKED_SCRIPT, _file("locked.sh"), "0755"))
        uploads.append(_upload(RING_PATH, _ring_file(parts), "0644"))
    else:
        uploads += [
            _upload(private_path(key.name), _private(parts.ring, index), "0600")
            for index, key in enumerate(settings.keys)
        ]
    if parts.certificate:
        chain, private_key = parts.certificate
        uploads.append(_upload(f"{dms.TLS_DIR}/certificate.pem", chain, "0644"))
        uploads.append(_upload(f"{dms.TLS_DIR}/private.pem", private_key, "0600"))
    return uploads


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


def _private(ring: KeyRing, index: int) -> pulumi.Output[str]:
    def pem_of(keys: Sequence[PublicRingKey]) -> str:
        key = keys[index]
        if not isinstance(key, RingKey):  # The settings refuse this with custody on disk.
            raise TypeError(f"key {key.name} is public only")
        return key.private_pem

    return ring.keys.apply(pem_of)


def _upload(path: str, content: pulumi.Input[str], permissions: str) -> docker.ContainerUploadArgs:
    return docker.ContainerUploadArgs(file=path, content=content, permissions=permissions)


def _volume(
    source: pulumi.Input[str], target: str, *, read_only: bool = False
) -> docker.ContainerVolumeArgs:
    """Return the mount of a path if the source begins with a slash, else of a volume."""
    found = pulumi.Output.from_input(source)
    return docker.ContainerVolumeArgs(
        host_path=found.apply(lambda name: name if name.startswith("/") else None),
        volume_name=found.apply(lambda name: None if name.startswith("/") else name),
        container_path=target,
        read_only=read_only,
    )
