"""The mail server's container: what is mounted, uploaded and set in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pulumi
import pulumi_docker as docker

from mailcrypt_component.component.dovecot_config import DovecotConfig
from mailcrypt_component.component.key_ring import KeyRing
from mailcrypt_component.model import dms
from mailcrypt_component.model.identity import STACK_LABEL
from mailcrypt_component.model.key_ring import PUBLIC_KEY_PATH, private_path
from mailcrypt_component.model.settings import BIND_TARGETS, SERVER_LABEL, Settings


class Certificate(NamedTuple):
    """The certificate for IMAP and SMTP, as PEM; the private key is secret."""

    chain: pulumi.Output[str]
    private_key: pulumi.Output[str]


@dataclass(frozen=True)
class Parts:
    """What a server's container is made of.

    ``stores`` says where mail, state, logs and config lie: a volume's name or a path on the
    Docker host.
    """

    image: pulumi.Output[str]
    ring: KeyRing
    config: DovecotConfig
    stores: Mapping[str, pulumi.Output[str]]
    network: pulumi.Output[str]
    certificate: Certificate | None
    identity: pulumi.Output[str]


def server_container(
    name: str,
    full_name: str,
    settings: Settings,
    parts: Parts,
    opts: pulumi.ResourceOptions,
) -> docker.Container:
    """Declare the container.

    Args:
        name: The resource's name.
        full_name: The container's name on the Docker host.
        settings: What was chosen.
        parts: What it is made of.
        opts: Parent, provider and dependencies.

    """
    # The providers report these as updated in place but change nothing, or start a stopped
    # server as the same one, which no gate would look at; replace it instead.
    replacing = pulumi.ResourceOptions(
        replace_on_changes=["tmpfs", "healthcheck.tests", "mustRun"],
        delete_before_replace=True,
    )
    return docker.Container(
        name,
        name=full_name,
        image=parts.image,
        hostname=settings.hostname,
        envs=_environment(settings, parts.certificate),
        labels=[
            docker.ContainerLabelArgs(label=SERVER_LABEL, value=full_name),
            docker.ContainerLabelArgs(label=STACK_LABEL, value=parts.identity),
        ],
        networks_advanced=[
            docker.ContainerNetworksAdvancedArgs(name=parts.network, aliases=[settings.hostname])
        ],
        ports=[
            docker.ContainerPortArgs(
                internal=port.internal, external=port.external, ip=port.address
            )
            for port in settings.ports
        ],
        volumes=_mounts(settings, parts.stores),
        # A master.pid that a crash has left would keep Dovecot from starting again.
        tmpfs={dms.DOVECOT_RUN_DIR: "mode=0755"},
        uploads=_uploads(settings, parts),
        healthcheck=docker.ContainerHealthcheckArgs(
            tests=list(dms.HEALTH_CHECK),
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
        opts=pulumi.ResourceOptions.merge(opts, replacing),
    )


def _capabilities(settings: Settings) -> docker.ContainerCapabilitiesArgs | None:
    """Fail2ban cannot ban anyone without this capability, and does not say so."""
    if settings.environment.get("ENABLE_FAIL2BAN") != "1":
        return None
    return docker.ContainerCapabilitiesArgs(adds=["CAP_NET_ADMIN"])


def _environment(settings: Settings, certificate: Certificate | None) -> list[str]:
    own = {
        "SSL_TYPE": "manual",
        "SSL_CERT_PATH": f"{dms.TLS_DIR}/certificate.pem",
        "SSL_KEY_PATH": f"{dms.TLS_DIR}/private.pem",
    }
    chosen = {**settings.environment, **(own if certificate else {})}
    return [f"{name}={value}" for name, value in sorted(chosen.items())]


def _mounts(
    settings: Settings, stores: Mapping[str, pulumi.Output[str]]
) -> Sequence[docker.ContainerVolumeArgs]:
    sources: dict[str, pulumi.Input[str]] = {**stores, **settings.binds}
    mounts = [_volume(source, BIND_TARGETS[store]) for store, source in sources.items()]
    mounts += [
        _volume(mount.source, mount.target, read_only=mount.read_only) for mount in settings.mounts
    ]
    return mounts


def _uploads(settings: Settings, parts: Parts) -> list[docker.ContainerUploadArgs]:
    uploads = [
        _upload(dms.CUSTOM_CONF, parts.config.text, "0644"),
        _upload(PUBLIC_KEY_PATH, parts.ring.public_key, "0644"),
        *(
            _upload(private_path(key.name), _private(parts.ring, index), "0600")
            for index, key in enumerate(settings.keys)
        ),
    ]
    if parts.certificate:
        chain, private_key = parts.certificate
        uploads.append(_upload(f"{dms.TLS_DIR}/certificate.pem", chain, "0644"))
        uploads.append(_upload(f"{dms.TLS_DIR}/private.pem", private_key, "0600"))
    return uploads


def _private(ring: KeyRing, index: int) -> pulumi.Output[str]:
    return ring.keys.apply(lambda keys: keys[index].private_pem)


def _upload(path: str, content: pulumi.Input[str], permissions: str) -> docker.ContainerUploadArgs:
    return docker.ContainerUploadArgs(file=path, content=content, permissions=permissions)


def _volume(
    source: pulumi.Input[str], target: str, *, read_only: bool = False
) -> docker.ContainerVolumeArgs:
    if isinstance(source, str) and source.startswith("/"):
        return docker.ContainerVolumeArgs(
            host_path=source, container_path=target, read_only=read_only
        )
    return docker.ContainerVolumeArgs(
        volume_name=source, container_path=target, read_only=read_only
    )
