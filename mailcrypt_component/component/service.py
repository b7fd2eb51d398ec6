"""Declares the mail server as a Docker Swarm service: one task, on one node at a time.

Private keys are Swarm secrets, other files Swarm configs.  Both are immutable: a change makes a new
one, updates the service, and then removes the old one.  So Pulumi names each, by its resource and a
random end; a secret's label says which key it holds.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi
import pulumi_docker as docker

from mailcrypt_component.component.custody import memory_volumes
from mailcrypt_component.component.outputs import answer, is_mocked, public
from mailcrypt_component.component.parts import (
    TMPFS,
    ContainerParts,
    ServerFile,
    environment,
    server_files,
)
from mailcrypt_component.component.scope import Scope
from mailcrypt_component.docker_api.swarm import network_id
from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import SERVER_LABEL
from mailcrypt_component.model.identity import STACK_LABEL
from mailcrypt_component.model.settings import BIND_TARGETS, Settings
from mailcrypt_component.model.swarm import ONLY_SERVER_SCRIPT

KEY_LABEL: Final = "mailcrypt.key"
"""The label of a secret that holds a private key; its value is the key's id."""
_LEAST_START: Final = 180
"""Seconds: DMS goes through the whole mail store when it first starts."""
_START: Final = ["supervisord", "-c", "/etc/supervisor/supervisord.conf"]
"""The command of DMS's image, which the script that waits for the mail store starts."""


def declare_service(
    scope: Scope, parts: ContainerParts, needs: Sequence[pulumi.Resource]
) -> docker.Service:
    """Declare the service, which depends on everything that it needs."""
    settings = scope.settings
    start = max(settings.deadline, _LEAST_START)
    opts = pulumi.ResourceOptions(delete_before_replace=True)
    return docker.Service(
        f"{scope.name}-service",
        name=scope.full_name,
        labels=_labels(scope, parts),
        mode={"replicated": {"replicas": 1}},
        task_spec={
            "container_spec": _container_spec(scope, parts, start, needs),
            "networks_advanceds": [
                {"id": _network_id(scope, parts), "aliases": [settings.hostname]}
            ],
            "placement": {"constraints": list(settings.placement)},
            "restart_policy": {"condition": "any", "delay": "1s", "window": "0s"},
        },
        endpoint_spec={"mode": "dnsrr", "ports": _ports(scope)},
        update_config={"order": "stop-first", "failure_action": "rollback", "monitor": "10s"},
        rollback_config={"order": "stop-first"},
        # Long enough to see that Swarm goes back to the former version, and to fail with that.
        converge_config={"delay": "1s", "timeout": _duration(start + settings.stop_grace + 60)},
        opts=pulumi.ResourceOptions.merge(scope.on_engine(depends_on=needs), opts),
    )


def _container_spec(
    scope: Scope, parts: ContainerParts, start: int, needs: Sequence[pulumi.Resource]
) -> Any:
    """Return what each task's container is made of; it has ``start`` seconds to become healthy."""
    settings = scope.settings
    secrets, configs = _declare_files(scope, server_files(settings, parts), needs)
    banning = settings.environment.get("ENABLE_FAIL2BAN") == "1"
    waiting = ["/usr/bin/dumb-init", "--", ONLY_SERVER_SCRIPT, parts.stores.identity]
    return {
        "image": parts.image,
        "commands": waiting,
        "args": _START,
        "hostname": settings.hostname,
        "env": environment(settings, parts),
        "labels": _labels(scope, parts),
        "mounts": _mounts(scope, parts),
        "secrets": secrets,
        "configs": configs,
        "cap_adds": ["CAP_NET_ADMIN"] if banning else [],
        "healthcheck": {
            "tests": list(dms.HEALTH_CHECK),
            "interval": "5s",
            "timeout": "10s",
            "retries": 3,
            "start_period": _duration(start),
        },
        "stop_grace_period": _duration(settings.stop_grace),
    }


def _duration(seconds: int) -> str:
    """Return a time as the provider reads it back; written otherwise, each update would change it.

    >>> _duration(60), _duration(90), _duration(3600)
    ('1m', '1m30s', '1h')
    """
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def _labels(scope: Scope, parts: ContainerParts) -> list[Any]:
    return [
        {"label": SERVER_LABEL, "value": scope.full_name},
        {"label": STACK_LABEL, "value": parts.stores.identity},
    ]


def _network_id(scope: Scope, parts: ContainerParts) -> pulumi.Output[str]:
    if is_mocked():
        return parts.network
    return public(answer(network_id, scope.manager, parts.network))


def _ports(scope: Scope) -> pulumi.Output[list[Any]]:
    """Return the ports as the node publishes them itself.

    Swarm's own routing would hide the clients' addresses: to Postfix everyone would be local.
    """

    def read(settings: Settings) -> list[Any]:
        bindings = dict.fromkeys((port.internal, port.external) for port in settings.ports)
        return [
            {
                "target_port": internal,
                "published_port": external,
                "publish_mode": "host",
                "protocol": "tcp",
            }
            for internal, external in bindings
        ]

    return scope.value(read)


def _mounts(scope: Scope, parts: ContainerParts) -> list[Any]:
    settings = scope.settings
    sources: Mapping[str, Any] = {**parts.stores.sources, **settings.binds}
    mounts = [_mount(source, BIND_TARGETS[store]) for store, source in sources.items()]
    mounts += [_mount(one.source, one.target, read_only=one.read_only) for one in settings.mounts]
    mounts += [_memory(target, options) for target, options in TMPFS.items()]
    mounts += [
        _memory(volume.target, f"size={volume.size}m,mode={volume.mode}")
        for volume in memory_volumes(settings).values()
    ]
    return mounts


def _mount(source: pulumi.Input[str], target: str, *, read_only: bool = False) -> Any:
    found = pulumi.Output.from_input(source)
    return {
        "type": found.apply(lambda name: "bind" if name.startswith("/") else "volume"),
        "source": found,
        "target": target,
        "read_only": read_only,
    }


def _memory(target: str, options: str) -> Any:
    """Return the mount of a nameless tmpfs volume, which is gone with its task.

    A mount of the type tmpfs would allow no programs in it.  Secrets can be swapped out whatever
    the options of a volume, so preflight refuses a node that has swap.
    """
    return {
        "type": "volume",
        "target": target,
        "volume_options": {
            "driver_name": "local",
            "driver_options": {"type": "tmpfs", "device": "tmpfs", "o": options},
        },
    }


def _declare_files(
    scope: Scope, files: Sequence[ServerFile], needs: Sequence[pulumi.Resource]
) -> tuple[list[Any], list[Any]]:
    """Declare each file; return the references of the service to its secrets and its configs."""
    secrets, configs = [], []
    opts = scope.on_engine(depends_on=needs)
    for one in files:
        name = f"{scope.name}-file-{one.name}"
        data = one.content.apply(lambda text: b64encode(text.encode()).decode())
        file = {"file_name": one.path, "file_mode": one.mode}
        if one.secret:
            labels: list[Any] = [{"label": KEY_LABEL, "value": one.key_id}] if one.key_id else []
            secret = docker.Secret(name, data=data, labels=labels, opts=opts)
            secrets.append({"secret_id": secret.id, "secret_name": secret.name, **file})
        else:
            config = docker.ServiceConfig(name, data=data, opts=opts)
            configs.append({"config_id": config.id, "config_name": config.name, **file})
    return secrets, configs
