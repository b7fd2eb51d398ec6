"""The component: keys, configuration, volumes, gates and server as one graph.

No ``from __future__ import annotations`` here: Pulumi's component host reads the
annotations as types.
"""

import importlib
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final, TypeVar

import pulumi
import pulumi_docker as docker
import pulumi_tls as tls

from mailcrypt_component import dms
from mailcrypt_component.args import MailCryptServerArgs
from mailcrypt_component.dialects import Dialect, digest, render
from mailcrypt_component.engine_socket import refuse_context
from mailcrypt_component.errors import MailCryptError
from mailcrypt_component.gates import behind, gate, generate_once
from mailcrypt_component.keyring import PUBLIC_KEY_PATH, RingKey, model_of, private_path, read_key
from mailcrypt_component.settings import (
    BIND_TARGETS,
    SERVER_LABEL,
    STORES,
    AccountSettings,
    KeySettings,
    Settings,
    TlsMode,
    read_settings,
)

_YEAR_HOURS: Final = 24 * 365
_T = TypeVar("_T")


class KeyRing(pulumi.ComponentResource):
    """The ring of keys, newest first; the first seals, the others only read."""

    keys: pulumi.Output[list[RingKey]]
    """The keys with their private parts; secret."""
    key_ids: pulumi.Output[list[str]]
    """Every key's id, newest first."""
    public_key: pulumi.Output[str]
    """The current public key as PEM."""

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions) -> None:
        names = [key.name for key in settings.keys]
        super().__init__("mailcrypt:index:KeyRing", name, {"names": names}, opts)
        self._protect = settings.protect
        pems: pulumi.Output[list[str]] = pulumi.Output.all(
            *(self._pem(name, key) for key in settings.keys)
        )
        self.keys = pems.apply(lambda found: _plainly(_read_ring, names, found, settings.dialect))
        self.key_ids = _public(self.keys.apply(lambda keys: [key.key_id for key in keys]))
        self.public_key = _public(self.keys.apply(lambda keys: keys[0].public_pem))
        self.register_outputs({"keyIds": self.key_ids, "publicKey": self.public_key})

    def _pem(self, name: str, key: KeySettings) -> pulumi.Output[str]:
        if key.pem is not None:
            return pulumi.Output.secret(key.pem)
        made = tls.PrivateKey(
            f"{name}-{key.name}",
            algorithm="ECDSA",
            ecdsa_curve=key.curve.value,
            opts=pulumi.ResourceOptions(parent=self, protect=self._protect),
        )
        return pulumi.Output.secret(made.private_key_pem_pkcs8)


class DovecotConfig(pulumi.ComponentResource):
    """The compiled ``10-custom.conf``, with its dialect and digest."""

    text: pulumi.Output[str]
    """The configuration; it holds paths, never a key."""
    dialect: pulumi.Output[str]
    """The Dovecot dialect it is written in, 2.3 or 2.4."""
    digest: pulumi.Output[str]
    """Its SHA-256, 64 hex digits."""
    asset: pulumi.Output[pulumi.StringAsset]
    """The text as an asset, for whoever wants to place it elsewhere."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        image_id: pulumi.Output[str],
        docker_host: pulumi.Output[str | None],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("mailcrypt:index:DovecotConfig", name, {}, opts)
        model = model_of([key.name for key in settings.keys])
        found = (
            pulumi.Output.from_input(settings.dialect)
            if settings.dialect
            else pulumi.Output.all(docker_host, image_id).apply(
                lambda asked: _plainly(_checks().ask_dialect, *asked)
            )
        )
        self.dialect = found.apply(lambda dialect: Dialect(dialect).value)
        self.text = found.apply(lambda dialect: render(model, Dialect(dialect)))
        self.digest = self.text.apply(digest)
        self.asset = self.text.apply(pulumi.StringAsset)
        self.register_outputs({"dialect": self.dialect, "text": self.text, "digest": self.digest})


@dataclass(frozen=True)
class _Places:
    """Where each store lies: a volume's name or a host path, by the store's name."""

    sources: Mapping[str, pulumi.Output[str]]
    volumes: list[pulumi.Resource] = field(default_factory=list)


@dataclass(frozen=True)
class _Parts:
    """What a server is made of."""

    image: pulumi.Output[str]
    ring: KeyRing
    config: DovecotConfig
    places: _Places
    network: pulumi.Output[str]


class MailCryptServer(pulumi.ComponentResource):
    """A docker-mailserver whose stored mail is encrypted, and proven to be.

    Every output resolves only after the proof has held, so nothing can be built
    on a server that is not proven.
    """

    endpoints: pulumi.Output[dict[str, str]]
    """address:port on the Docker host, by service or container port."""
    container_id: pulumi.Output[str]
    container_name: pulumi.Output[str]
    network: pulumi.Output[str]
    """The name of the server's network."""
    volumes: pulumi.Output[dict[str, str]]
    """Where mail, state, logs and config lie: volume names or host paths."""
    public_key: pulumi.Output[str]
    """The current public key as PEM."""
    key_id: pulumi.Output[str]
    """The current key's id: the digest in the header of each new mail."""
    key_ids: pulumi.Output[list[str]]
    """Every key's id, newest first."""
    image_id: pulumi.Output[str]
    dialect: pulumi.Output[str]
    config_digest: pulumi.Output[str]
    account_passwords: pulumi.Output[dict[str, str]]
    """The passwords that were made, by address; secret."""
    verify_target: pulumi.Output[str]
    """What ``mailcrypt verify`` needs, as JSON; secret."""

    def __init__(
        self,
        name: str,
        args: MailCryptServerArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        settings = _plainly(read_settings, args)
        props = {"image": settings.image, "hostname": settings.hostname}
        super().__init__("mailcrypt:index:MailCryptServer", name, props, opts)
        self._name = name
        self._full_name = f"{name}-{pulumi.get_stack()}"
        self._settings = settings
        self._provider = self._make_provider()
        self._host = self._docker_host()
        self._made_passwords: dict[str, pulumi.Output[str]] = {}

        image = self._image()
        ring = KeyRing(f"{name}-ring", settings, self._child())
        config = DovecotConfig(f"{name}-dovecot", settings, image, self._host, self._child())
        parts = _Parts(image, ring, config, self._volumes(), self._network())
        preflight = self._preflight(parts)
        password, accounts = self._accounts(parts, preflight)
        server = self._server(parts, self._certificate(), [preflight, accounts])
        target = self._target(parts, server, password)
        proof = self._proof(parts, server, target)
        self._publish(parts, server, target, proof)

    def _child(
        self,
        *,
        depends_on: Sequence[pulumi.Resource] = (),
        protect: bool = False,
        keep: bool = False,
    ) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(
            parent=self,
            depends_on=list(depends_on),
            protect=protect or None,
            retain_on_delete=keep or None,
        )

    def _docker(self, **options: Any) -> pulumi.ResourceOptions:
        """Options of a Docker resource; it goes to dockerHost where that is set."""
        chosen = pulumi.ResourceOptions(provider=self._provider) if self._provider else None
        return pulumi.ResourceOptions.merge(self._child(**options), chosen)

    def _make_provider(self) -> docker.Provider | None:
        host = self._settings.docker_host
        if host is None:
            return None
        return docker.Provider(f"{self._name}-docker", host=host, opts=self._child())

    def _docker_host(self) -> pulumi.Output[str | None]:
        """Return the host that the gates ask: the one that the resources go to."""
        config = pulumi.Config("docker")
        _plainly(refuse_context, os.environ.get("DOCKER_CONTEXT") or config.get("context"))
        given = self.get_provider("docker:index/container:Container")
        if self._settings.docker_host is None and isinstance(given, docker.Provider):
            return pulumi.Output.all(given.host, given.context).apply(
                lambda found: _host_without_context(*found)
            )
        return pulumi.Output.from_input(self._settings.docker_host or config.get("host"))

    def _image(self) -> pulumi.Output[str]:
        image = self._settings.image
        if image.startswith("sha256:"):
            return pulumi.Output.from_input(image)
        pulled = docker.RemoteImage(
            f"{self._name}-image", name=image, keep_locally=True, opts=self._docker()
        )
        return pulled.image_id

    def _volumes(self) -> _Places:
        settings = self._settings
        sources: dict[str, pulumi.Output[str]] = {}
        volumes: list[pulumi.Resource] = []
        for store in STORES:
            if store in settings.binds:
                sources[store] = pulumi.Output.from_input(settings.binds[store])
                continue
            volume = docker.Volume(
                f"{self._name}-{store}",
                name=f"{self._full_name}-{store}",
                opts=self._docker(protect=settings.protect, keep=settings.keep_mail),
            )
            sources[store] = volume.name
            volumes.append(volume)
        return _Places(sources, volumes)

    def _network(self) -> pulumi.Output[str]:
        if self._settings.network is not None:
            return pulumi.Output.from_input(self._settings.network)
        made = docker.Network(f"{self._name}-network", name=self._full_name, opts=self._docker())
        return made.name

    def _preflight(self, parts: _Parts) -> pulumi.Stash:
        settings = self._settings
        ring, sources = parts.ring, parts.places.sources
        facts = {
            "image": parts.image,
            "config": parts.config.digest,
            "keyIds": ring.key_ids,
            **({"givenUp": list(settings.give_up_keys)} if settings.give_up_keys else {}),
            "mail": sources["mail"],
            "configFolder": sources["config"],
            "mounts": [f"{mount.source}:{mount.target}" for mount in settings.mounts],
            "ports": [f"{port.address}:{port.external}" for port in settings.ports],
        }
        needs = pulumi.Output.all(
            host=self._host,
            stack=pulumi.get_stack(),
            image=parts.image,
            text=parts.config.text,
            dialect=parts.config.dialect,
            key_ids=ring.key_ids,
            curves=_public(ring.keys.apply(lambda keys: {key.name: key.curve for key in keys})),
            mail=sources["mail"],
            config=sources["config"],
        )
        opts = self._child(depends_on=parts.places.volumes)
        return gate(f"{self._name}-preflight", facts, self._run_preflight, needs, opts)

    def _run_preflight(self, found: Mapping[str, Any]) -> str:
        seen: str = _checks().preflight(self._settings, self._full_name, found)
        return seen

    def _accounts(
        self, parts: _Parts, preflight: pulumi.Stash
    ) -> tuple[pulumi.Output[str], pulumi.Stash]:
        """Write the declared accounts and the probe's before the server starts."""
        settings = self._settings
        password = generate_once(
            f"{self._name}-probe-password", secrets.token_urlsafe(24), self._child()
        )
        facts_of = [self._account_facts(account) for account in settings.accounts]
        declared = pulumi.Output.secret(facts_of)
        config = parts.places.sources["config"]
        needs = pulumi.Output.all(
            host=self._host, image=parts.image, config=config, declared=declared, password=password
        )
        facts = {
            "config": config,
            "accounts": declared,
            "probe": settings.probe_address,
            "probeAlias": settings.probe_address,  # A server of before gets one, too.
            "probePassword": password,
        }
        opts = self._child(depends_on=[preflight])
        name = f"{self._name}-accounts"
        return password, gate(name, facts, self._write_accounts, needs, opts)

    def _account_facts(self, account: AccountSettings) -> dict[str, Any]:
        if account.password_hash is not None:
            return {"address": account.address, "password_hash": account.password_hash}
        password = account.password
        if password is None:
            name = f"{self._name}-password-{account.address}"
            password = generate_once(name, secrets.token_urlsafe(15), self._child())
            self._made_passwords[account.address] = password
        return {"address": account.address, "password": password}

    def _write_accounts(self, found: Mapping[str, Any]) -> str:
        seen: str = _checks().provision(self._settings, found)
        return seen

    def _certificate(self) -> tuple[pulumi.Output[str], pulumi.Output[str]] | None:
        """Return certificate and private key, or None where DMS's own settings decide."""
        chosen = self._settings.tls
        if chosen.mode is TlsMode.DMS:
            return None
        if chosen.mode is TlsMode.PROVIDED:
            certificate = pulumi.Output.from_input(chosen.certificate)
            return certificate, pulumi.Output.secret(chosen.private_key)
        return self._self_signed()

    def _self_signed(self) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        key = tls.PrivateKey(
            f"{self._name}-tls-key", algorithm="ECDSA", ecdsa_curve="P256", opts=self._child()
        )
        private: pulumi.Output[str] = pulumi.Output.secret(key.private_key_pem_pkcs8)
        certificate = tls.SelfSignedCert(
            f"{self._name}-tls",
            private_key_pem=private,
            allowed_uses=["digital_signature", "server_auth"],
            dns_names=[self._settings.hostname],
            subject={"common_name": self._settings.hostname},
            validity_period_hours=10 * _YEAR_HOURS,
            opts=self._child(),
        )
        return certificate.cert_pem, private

    def _server(
        self,
        parts: _Parts,
        certificate: tuple[pulumi.Output[str], pulumi.Output[str]] | None,
        needs: Sequence[pulumi.Resource],
    ) -> docker.Container:
        settings = self._settings
        # The provider would say that it updates these and leave them as they are, or start a
        # server that was stopped as the same one, which nobody would prove again.
        anew = pulumi.ResourceOptions(
            replace_on_changes=["tmpfs", "healthcheck.tests", "mustRun"],
            delete_before_replace=True,
        )
        return docker.Container(
            f"{self._name}-server",
            name=self._full_name,
            image=parts.image,
            hostname=settings.hostname,
            envs=self._environment(certificate),
            labels=[docker.ContainerLabelArgs(label=SERVER_LABEL, value=self._full_name)],
            networks_advanced=[
                docker.ContainerNetworksAdvancedArgs(
                    name=parts.network, aliases=[settings.hostname]
                )
            ],
            ports=[
                docker.ContainerPortArgs(
                    internal=port.internal, external=port.external, ip=port.address
                )
                for port in settings.ports
            ],
            volumes=self._mounts(parts.places),
            # A master.pid that a crash has left would keep Dovecot from starting again.
            tmpfs={dms.DOVECOT_RUN_DIR: "mode=0755"},
            uploads=self._uploads(parts, certificate),
            healthcheck=docker.ContainerHealthcheckArgs(
                tests=list(dms.HEALTH_CHECK),
                interval="30s",
                timeout="10s",
                retries=3,
                start_period="1m0s",
            ),
            capabilities=self._capabilities(),
            restart="unless-stopped",
            destroy_grace_seconds=settings.stop_grace,
            stop_timeout=settings.stop_grace,
            must_run=True,
            opts=pulumi.ResourceOptions.merge(self._docker(depends_on=needs), anew),
        )

    def _capabilities(self) -> docker.ContainerCapabilitiesArgs | None:
        """Fail2ban cannot ban anyone without this one, and does not say so."""
        if self._settings.environment.get("ENABLE_FAIL2BAN") != "1":
            return None
        return docker.ContainerCapabilitiesArgs(adds=["CAP_NET_ADMIN"])

    def _environment(self, certificate: object) -> list[str]:
        own = {
            "SSL_TYPE": "manual",
            "SSL_CERT_PATH": f"{dms.TLS_DIR}/certificate.pem",
            "SSL_KEY_PATH": f"{dms.TLS_DIR}/private.pem",
        }
        chosen = {**self._settings.environment, **(own if certificate else {})}
        return [f"{name}={value}" for name, value in sorted(chosen.items())]

    def _mounts(self, places: _Places) -> list[docker.ContainerVolumeArgs]:
        binds = self._settings.binds
        sources: dict[str, pulumi.Input[str]] = {**places.sources, **binds}
        mounts = [_volume(source, BIND_TARGETS[store]) for store, source in sources.items()]
        mounts += [
            _volume(mount.source, mount.target, read_only=mount.read_only)
            for mount in self._settings.mounts
        ]
        return mounts

    def _uploads(
        self,
        parts: _Parts,
        certificate: tuple[pulumi.Output[str], pulumi.Output[str]] | None,
    ) -> list[docker.ContainerUploadArgs]:
        uploads = [
            _upload(dms.CUSTOM_CONF, parts.config.text, "0644"),
            _upload(PUBLIC_KEY_PATH, parts.ring.public_key, "0644"),
            *(
                _upload(private_path(key.name), _private(parts.ring, index), "0600")
                for index, key in enumerate(self._settings.keys)
            ),
        ]
        if certificate:
            uploads.append(_upload(f"{dms.TLS_DIR}/certificate.pem", certificate[0], "0644"))
            uploads.append(_upload(f"{dms.TLS_DIR}/private.pem", certificate[1], "0600"))
        return uploads

    def _target(
        self,
        parts: _Parts,
        server: docker.Container,
        password: pulumi.Output[str],
    ) -> pulumi.Output[dict[str, Any]]:
        settings = self._settings
        found = pulumi.Output.all(
            dockerHost=self._host,
            container=server.id,
            dialect=parts.config.dialect,
            keyIds=parts.ring.key_ids,
            password=password,
        )
        fixed = {
            "account": settings.probe_address,
            "deadline": settings.deadline,
        }
        return pulumi.Output.secret(found.apply(lambda facts: {**fixed, **facts}))

    def _proof(
        self,
        parts: _Parts,
        server: docker.Container,
        target: pulumi.Output[dict[str, Any]],
    ) -> pulumi.Stash:
        facts = {
            "server": server.id,
            "config": parts.config.digest,
            "keyIds": parts.ring.key_ids,
        }
        opts = self._child(depends_on=[server])
        return gate(f"{self._name}-proof", facts, _prove, target, opts)

    def _publish(
        self,
        parts: _Parts,
        server: docker.Container,
        target: pulumi.Output[dict[str, Any]],
        proof: pulumi.Stash,
    ) -> None:
        ring, config = parts.ring, parts.config
        self.endpoints = behind(proof, self._endpoints())
        self.container_id = behind(proof, server.id)
        self.container_name = behind(proof, server.name)
        self.network = behind(proof, parts.network)
        self.volumes = behind(proof, dict(parts.places.sources))
        self.public_key = behind(proof, ring.public_key)
        self.key_id = behind(proof, _current(ring))
        self.key_ids = behind(proof, ring.key_ids)
        self.image_id = behind(proof, parts.image)
        self.dialect = behind(proof, config.dialect)
        self.config_digest = behind(proof, config.digest)
        self.account_passwords = behind(proof, pulumi.Output.secret(self._made_passwords))
        self.verify_target = behind(proof, target.apply(json.dumps))
        self.register_outputs(
            {
                "endpoints": self.endpoints,
                "containerName": self.container_name,
                "keyId": self.key_id,
            }
        )

    def _endpoints(self) -> dict[str, str]:
        names = {number: service for service, number in dms.PORTS.items()}
        return {
            names.get(port.internal, str(port.internal)): f"{port.address}:{port.external}"
            for port in self._settings.ports
        }


def _checks() -> ModuleType:
    """Import what talks to servers when it is needed: it would slow down each no-op."""
    return importlib.import_module("mailcrypt_component.checks")


def _prove(found: Mapping[str, Any]) -> str:
    seen: str = _checks().proof(found)
    return seen


def _read_ring(names: Sequence[str], pems: Sequence[str], dialect: Dialect | None) -> list[RingKey]:
    return [read_key(name, pem, dialect) for name, pem in zip(names, pems, strict=True)]


def _plainly(function: Callable[..., _T], *args: Any) -> _T:
    """Call it; a fault that a person can mend ends the program without a traceback."""
    try:
        return function(*args)
    except MailCryptError as error:
        raise pulumi.RunError(str(error)) from None


def _host_without_context(host: str | None, context: str | None) -> str | None:
    _plainly(refuse_context, context)
    return host


def _public(value: pulumi.Output[Any]) -> pulumi.Output[Any]:
    """Take the secret mark off what is derived from a key but tells nothing of it."""
    return pulumi.Output.unsecret(value)


def _current(ring: KeyRing) -> pulumi.Output[str]:
    return ring.key_ids.apply(lambda ids: ids[0])


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
