"""What preflight tries, and what it tried the last time: values only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mailcrypt_component.model.settings import TlsMode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailcrypt_component.dialects.dialect import Dialect, DovecotFiles
    from mailcrypt_component.model.docker_host import DockerHost
    from mailcrypt_component.model.settings import MountSettings, PortSettings, TlsSettings
    from mailcrypt_component.model.swarm import Swarm


@dataclass(frozen=True, slots=True)
class Claim:
    """The names that a stack is about to use.

    ``adopt`` is the setting ``adoptMail``: volumes that carry this identity are taken over.
    """

    docker_host: DockerHost
    identity: str
    adopt: str | None
    server: str
    volumes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a new server would be made of.

    ``stack`` is Pulumi's name, for hints; ``server`` the container's.  ``identity`` is the
    stack's own (``model.identity``), ``adopt`` the setting ``adoptMail``.  ``kinds`` holds each
    key's kind by its name, newest first; ``key_ids`` the ids that the declared ring can open.
    ``sources`` holds a volume's name or a host path for each name in ``BIND_TARGETS`` that the
    server mounts.  ``network`` is the name of a network that exists.
    """

    docker_host: DockerHost
    stack: str
    server: str
    identity: str
    adopt: str | None
    image: str
    hostname: str
    network: str
    dialect: Dialect
    files: DovecotFiles
    kinds: Mapping[str, str]
    key_ids: tuple[str, ...]
    given_up: tuple[str, ...]
    sources: Mapping[str, str]
    mounts: tuple[MountSettings, ...]
    ports: tuple[PortSettings, ...]
    environment: Mapping[str, str] = field(repr=False)
    tls: TlsSettings = field(repr=False)
    deadline: float
    count_deadline: float
    version_1_ids: tuple[str, ...] = ()
    """The ids of the ring's keys in mail of format version 1."""
    swarm: Swarm | None = None
    """The manager and the nodes; ``docker_host`` is then one of the nodes."""
    nodes_now: tuple[str, ...] = ()
    """The nodes that take tasks now."""

    @property
    def mail(self) -> str:
        """The mail store: a volume's name or a host path."""
        return self.sources["mail"]


@dataclass(frozen=True, slots=True)
class Previous:
    """What the last preflight that held was asked to try.

    ``identity`` is None if it was a version that did not mark the mail store yet; ``on_swarm`` is
    whether Docker Swarm scheduled the server.
    """

    mail: str
    key_ids: tuple[str, ...]
    given_up: tuple[str, ...]
    identity: str | None
    on_swarm: bool = False


def facts_of(plan: Plan) -> dict[str, Any]:
    """Return the public facts of a plan; a change of any of them makes preflight run again."""
    return {
        "image": plan.image,
        "config": plan.files.digest,
        "keyIds": list(plan.key_ids),
        "givenUp": list(plan.given_up),
        "mail": plan.mail,
        "identity": plan.identity,
        "adoptMail": plan.adopt,
        "sources": dict(plan.sources),
        "mounts": [f"{mount.source}:{mount.target}" for mount in plan.mounts],
        "ports": [port.binding for port in plan.ports],
        "network": plan.network,
        "hostname": plan.hostname,
        "variables": sorted(plan.environment),
        "tls": _tls_facts(plan),
        **(_swarm_facts(plan, plan.swarm) if plan.swarm else {}),
    }


def previous_of(facts: Mapping[str, Any] | None) -> Previous | None:
    """Return what the last preflight tried, of the facts it left; None if there was none."""
    if facts is None:
        return None
    return Previous(
        mail=facts["mail"],
        key_ids=tuple(facts["keyIds"]),
        given_up=tuple(facts.get("givenUp") or ()),
        identity=facts.get("identity"),
        on_swarm="nodes" in facts,
    )


def _swarm_facts(plan: Plan, swarm: Swarm) -> dict[str, Any]:
    """Return the nodes, with digests of their engines' addresses, which may be secret."""
    digests = {
        name: hashlib.sha256(str(host.url).encode()).hexdigest()[:16]
        for name, host in sorted(swarm.nodes.items())
    }
    return {"nodes": digests, "ready": list(plan.nodes_now), "placement": list(swarm.placement)}


def _tls_facts(plan: Plan) -> dict[str, str]:
    """Return what the check of the certificate depends on, without the private key."""
    if plan.tls.mode is TlsMode.PROVIDED:
        pair = f"{plan.tls.certificate}\n{plan.tls.private_key}"
        return {"mode": plan.tls.mode.value, "pair": hashlib.sha256(pair.encode()).hexdigest()}
    names = ("SSL_TYPE", "SSL_DOMAIN", "SSL_CERT_PATH", "SSL_KEY_PATH", "OVERRIDE_HOSTNAME")
    chosen = {name: plan.environment[name] for name in names if name in plan.environment}
    return {"mode": plan.tls.mode.value, **chosen}
