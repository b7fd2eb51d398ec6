"""The component: keys, configuration, volumes, gates and server as one graph.

No ``from __future__ import annotations`` here: Pulumi's component host reads the
annotations as types.
"""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import pulumi
import pulumi_docker as docker
import pulumi_tls as tls
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor

from mailcrypt_component.args import MailCryptServerArgs
from mailcrypt_component.checks.custody.plan import UnlockPlan
from mailcrypt_component.checks.preflight.plan import Claim, Plan, facts_of, previous_of
from mailcrypt_component.checks.proof.target import Target
from mailcrypt_component.component.container import Certificate, Parts, server_container
from mailcrypt_component.component.dovecot_config import DovecotConfig
from mailcrypt_component.component.gates import GateRun, behind, gate, generate_once
from mailcrypt_component.component.key_ring import KeyRing
from mailcrypt_component.component.memory import (
    MemoryVolume,
    declare_keeper,
    declare_volume,
    memory_volumes,
)
from mailcrypt_component.component.outputs import plainly, public
from mailcrypt_component.docker_api.address import refuse_context
from mailcrypt_component.docker_api.inspect import inspect_container
from mailcrypt_component.model import dms
from mailcrypt_component.model.accounts import Account, Wanted
from mailcrypt_component.model.custody import Custody
from mailcrypt_component.model.dialects import Dialect
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.identity import STACK_LABEL, new_identity
from mailcrypt_component.model.read_settings import read_settings
from mailcrypt_component.model.settings import STORES, AccountSettings, TlsMode, TlsSettings

_YEAR_HOURS: Final = 24 * 365


@dataclass(frozen=True)
class _Stores:
    """Where each store lies: a volume's name or a host path, by the store's name."""

    sources: Mapping[str, pulumi.Output[str]]
    volumes: list[pulumi.Resource] = field(default_factory=list)


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
        settings = plainly(partial(read_settings, unresolved=(pulumi.Output,)), args)
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
        identity, claim = self._claim()
        stores, memory = self._stores(identity, claim), self._memory(claim)
        network, certificate = self._network(claim), self._certificate()
        parts = Parts(image, ring, config, stores.sources, memory, network, certificate, identity)
        preflight = self._preflight(parts, stores)
        keeper = self._keeper(parts, preflight)
        unlocked = self._unlock(parts, keeper)
        password, accounts = self._accounts(parts, preflight)
        server = self._server(parts, [preflight, accounts, *unlocked])
        target = self._target(parts, server, password)
        proof = self._proof(parts, server, keeper, target)
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
            protect=protect,  # Never inherited: a protected server could not be replaced.
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

    def _docker_host(self) -> pulumi.Output[DockerHost]:
        """Return the engine that the gates ask: the one that the resources go to."""
        config = pulumi.Config("docker")
        plainly(refuse_context, os.environ.get("DOCKER_CONTEXT") or config.get("context"))
        if self._settings.docker_host is not None:
            return pulumi.Output.from_input(DockerHost(self._settings.docker_host))
        given = self.get_provider("docker:index/container:Container")
        if isinstance(given, docker.Provider):
            return _host_of(given)
        return pulumi.Output.secret(
            DockerHost(
                url=config.get("host"),
                ca=config.get("caMaterial"),
                certificate=config.get("certMaterial"),
                private_key=config.get("keyMaterial"),
                certificate_folder=config.get("certPath"),
                ssh_options=tuple(config.get_object("sshOpts") or ()),
            )
        )

    def _image(self) -> pulumi.Output[str]:
        image = self._settings.image
        if image.startswith("sha256:"):
            return pulumi.Output.from_input(image)
        pulled = docker.RemoteImage(
            f"{self._name}-image", name=image, keep_locally=True, opts=self._docker()
        )
        return pulled.image_id

    def _claim(self) -> tuple[pulumi.Output[str], pulumi.Stash]:
        """Return the stack's identity, and the gate in front of the names on the engine."""
        identity = public(generate_once(f"{self._name}-identity", new_identity(), self._child()))
        volumes = [
            self._volume_name(store) for store in STORES if store not in self._settings.binds
        ]
        claim = pulumi.Output.all(self._host, identity).apply(
            lambda found: Claim(
                docker_host=found[0],
                identity=found[1],
                adopt=self._settings.adopt_mail,
                server=self._full_name,
                volumes=tuple(volumes),
            )
        )
        facts = {"identity": identity, "server": self._full_name, "volumes": volumes}
        return identity, gate(f"{self._name}-claim", facts, _claim_names, claim, self._child())

    def _volume_name(self, store: str) -> str:
        return f"{self._full_name}-{store}"

    def _stores(self, identity: pulumi.Output[str], claim: pulumi.Resource) -> _Stores:
        settings = self._settings
        sources: dict[str, pulumi.Output[str]] = {}
        volumes: list[pulumi.Resource] = []
        for store in STORES:
            if store in settings.binds:
                sources[store] = pulumi.Output.from_input(settings.binds[store])
                continue
            volume = docker.Volume(
                f"{self._name}-{store}",
                name=self._volume_name(store),
                labels=[docker.VolumeLabelArgs(label=STACK_LABEL, value=identity)],
                opts=self._volume_options(claim),
            )
            sources[store] = volume.name
            volumes.append(volume)
        return _Stores(sources, volumes)

    def _memory(self, claim: pulumi.Resource) -> Mapping[str, tuple[MemoryVolume, docker.Volume]]:
        """Declare the tmpfs volumes."""
        return {
            short: (
                volume,
                declare_volume(
                    f"{self._name}-memory-{short}",
                    f"{self._full_name}-{short}",
                    volume,
                    self._docker(depends_on=[claim]),
                ),
            )
            for short, volume in memory_volumes(self._settings).items()
        }

    def _keeper(self, parts: Parts, preflight: pulumi.Resource) -> docker.Container | None:
        """Declare what holds the memory while the server is replaced."""
        if not parts.memory:
            return None
        return declare_keeper(
            f"{self._name}-keeper",
            self._full_name,
            parts.image,
            parts.memory,
            self._docker(depends_on=[preflight]),
        )

    def _unlock(self, parts: Parts, keeper: docker.Container | None) -> Sequence[pulumi.Resource]:
        """Bring the private keys into the keeper's memory, if the ring holds them."""
        if keeper is None:
            return []
        if self._settings.key_custody is Custody.DISK or self._settings.is_public_only:
            return [keeper]
        plan = pulumi.Output.all(self._host, parts.ring.keys, parts.config.files).apply(
            self._unlock_plan
        )
        facts = {
            "keeper": self._now(keeper),
            "keyIds": parts.ring.key_ids,
            "config": parts.config.digest,
        }
        opts = self._child(depends_on=[keeper])
        return [keeper, gate(f"{self._name}-unlock", facts, _unlock_server, plan, opts)]

    def _unlock_plan(self, found: Sequence[Any]) -> UnlockPlan:
        host, keys, files = found
        return UnlockPlan(
            docker_host=host,
            server=self._full_name,
            keys=tuple((key.private_path, key.private_pem) for key in keys),
            configuration=files.private,
            configuration_path=files.private_path,
        )

    def _now(self, container: docker.Container) -> pulumi.Output[Any]:
        """Return what the engine says now of a container, in previews and every update.

        The state knows what a container was when it was created; here a container that was
        removed, stopped or started anew behind Pulumi's back changes a gate's facts.
        """
        if isinstance(get_monitor(), MockMonitor):
            return container.id.apply(lambda container_id: {"id": container_id})
        asked = pulumi.Output.all(self._host, container.id)
        return public(asked.apply(lambda both: plainly(_container_now, *both)))

    def _volume_options(self, claim: pulumi.Resource) -> pulumi.ResourceOptions:
        """Return options that keep a volume when the stack is renamed or gets an identity."""
        options = self._docker(
            depends_on=[claim], protect=self._settings.protect, keep=self._settings.keep_mail
        )
        kept = pulumi.ResourceOptions(ignore_changes=["name", "labels"])
        return pulumi.ResourceOptions.merge(options, kept)

    def _network(self, claim: pulumi.Resource) -> pulumi.Output[str]:
        if self._settings.network is not None:
            return pulumi.Output.from_input(self._settings.network)
        made = docker.Network(
            f"{self._name}-network", name=self._full_name, opts=self._docker(depends_on=[claim])
        )
        return made.name

    def _preflight(self, parts: Parts, stores: _Stores) -> pulumi.Stash:
        settings, ring = self._settings, parts.ring
        sources: dict[str, Any] = {**parts.stores, **settings.binds}
        plan = pulumi.Output.all(
            host=self._host,
            image=parts.image,
            files=parts.config.files,
            dialect=parts.config.dialect,
            key_ids=ring.key_ids,
            kinds=ring.public_keys.apply(lambda keys: {key["name"]: key["kind"] for key in keys}),
            sources=pulumi.Output.all(**sources),
            network=parts.network,
            identity=parts.identity,
            environment=settings.environment,
            certificate=settings.tls.certificate,
            private_key=settings.tls.private_key,
        ).apply(self._plan)
        opts = self._child(depends_on=stores.volumes)
        facts = public(plan.apply(facts_of))
        return gate(f"{self._name}-preflight", facts, _run_preflight, plan, opts)

    def _plan(self, found: Mapping[str, Any]) -> Plan:
        settings = self._settings
        return Plan(
            docker_host=found["host"],
            stack=pulumi.get_stack(),
            server=self._full_name,
            identity=found["identity"],
            adopt=settings.adopt_mail,
            image=found["image"],
            hostname=settings.hostname,
            network=found["network"],
            dialect=Dialect(found["dialect"]),
            files=found["files"],
            kinds=found["kinds"],
            key_ids=tuple(found["key_ids"]),
            given_up=settings.give_up_keys,
            sources=found["sources"],
            mounts=settings.mounts,
            ports=settings.ports,
            environment=found["environment"],
            tls=TlsSettings(settings.tls.mode, found["certificate"], found["private_key"]),
            deadline=settings.deadline,
            count_deadline=settings.count_deadline,
        )

    def _accounts(
        self, parts: Parts, preflight: pulumi.Stash
    ) -> tuple[pulumi.Output[str], pulumi.Stash]:
        """Write the declared accounts and the probe's before the server starts."""
        settings = self._settings
        password = generate_once(
            f"{self._name}-probe-password", secrets.token_urlsafe(24), self._child()
        )
        facts_of = [self._account_facts(account) for account in settings.accounts]
        declared = pulumi.Output.secret(facts_of)
        config = parts.stores["config"]
        wanted = pulumi.Output.all(self._host, parts.image, config, declared, password).apply(
            lambda found: Wanted(
                docker_host=found[0],
                image=found[1],
                config=found[2],
                declared=tuple(Account(**account) for account in found[3]),
                probe=Account(settings.probe_address, password=found[4]),
            )
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
        return password, gate(name, facts, _write_accounts, wanted, opts)

    def _account_facts(self, account: AccountSettings) -> dict[str, Any]:
        if account.password_hash is not None:
            return {"address": account.address, "password_hash": account.password_hash}
        password = account.password
        if password is None:
            name = f"{self._name}-password-{account.address}"
            password = generate_once(name, secrets.token_urlsafe(15), self._child())
            self._made_passwords[account.address] = password
        return {"address": account.address, "password": password}

    def _certificate(self) -> Certificate | None:
        """Return the certificate, or None where DMS's own settings decide."""
        chosen = self._settings.tls
        if chosen.mode is TlsMode.DMS:
            return None
        if chosen.mode is TlsMode.PROVIDED:
            certificate = pulumi.Output.from_input(chosen.certificate)
            return Certificate(certificate, pulumi.Output.secret(chosen.private_key))
        return self._self_signed()

    def _self_signed(self) -> Certificate:
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
        return Certificate(certificate.cert_pem, private)

    def _server(self, parts: Parts, needs: Sequence[pulumi.Resource]) -> docker.Container:
        return server_container(
            f"{self._name}-server",
            self._full_name,
            self._settings,
            parts,
            self._docker(depends_on=needs),
        )

    def _target(
        self,
        parts: Parts,
        server: docker.Container,
        password: pulumi.Output[str],
    ) -> pulumi.Output[Target]:
        settings = self._settings
        found = pulumi.Output.all(
            self._host, server.id, parts.config.dialect, parts.ring.public_keys, password
        )
        target: pulumi.Output[Target] = found.apply(
            lambda facts: Target(
                docker_host=facts[0],
                container=facts[1],
                dialect=Dialect(facts[2]),
                key_ids=tuple(key["keyId"] for key in facts[3]),
                account=settings.probe_address,
                deadline=settings.deadline,
                password=facts[4],
                given_up=settings.give_up_keys,
                custody=settings.key_custody,
                index_cache=settings.index_cache,
                public_pems=tuple(key["publicPem"] for key in facts[3]),
                private=not settings.is_public_only,
            )
        )
        return pulumi.Output.secret(target)

    def _proof(
        self,
        parts: Parts,
        server: docker.Container,
        keeper: docker.Container | None,
        target: pulumi.Output[Target],
    ) -> pulumi.Stash:
        facts = {
            "server": self._now(server),
            "keeper": self._now(keeper) if keeper else None,
            "config": parts.config.digest,
            "keyIds": parts.ring.key_ids,
        }
        opts = self._child(depends_on=[server])
        return gate(f"{self._name}-proof", facts, _prove, target, opts)

    def _publish(
        self,
        parts: Parts,
        server: docker.Container,
        target: pulumi.Output[Target],
        proof: pulumi.Stash,
    ) -> None:
        ring, config = parts.ring, parts.config
        self.endpoints = behind(proof, self._endpoints())
        self.container_id = behind(proof, server.id)
        self.container_name = behind(proof, server.name)
        self.network = behind(proof, parts.network)
        self.volumes = behind(proof, dict(parts.stores))
        self.public_key = behind(proof, ring.public_key)
        self.key_id = behind(proof, _current(ring))
        self.key_ids = behind(proof, ring.key_ids)
        self.image_id = behind(proof, parts.image)
        self.dialect = behind(proof, config.dialect)
        self.config_digest = behind(proof, config.digest)
        self.account_passwords = behind(proof, pulumi.Output.secret(self._made_passwords))
        deployed = self._deployed(parts, server, target)
        self.verify_target = behind(proof, deployed)
        # The state shows the commands a server whose proof failed, too: this waits for no proof.
        self.register_outputs({"verifyTarget": deployed})

    def _deployed(
        self, parts: Parts, server: docker.Container, target: pulumi.Output[Target]
    ) -> pulumi.Output[str]:
        """Return what the commands need of this server, as JSON; secret."""
        facts = {
            "containerName": server.name,
            "imageId": parts.image,
            "stores": dict(parts.stores),
            "keyNames": [key.name for key in self._settings.keys],
            "keyCustody": self._settings.key_custody.value,
            "endpoints": self._endpoints(),
            "madePasswords": list(self._made_passwords),
        }
        return pulumi.Output.all(target, facts).apply(
            lambda found: json.dumps({**found[0].as_json(), **found[1]})
        )

    def _endpoints(self) -> dict[str, str]:
        names = {number: service for service, number in dms.PORTS.items()}
        return {
            names.get(port.internal, str(port.internal)): f"{port.address}:{port.external}"
            for port in self._settings.ports
        }


def _run_preflight(plan: Plan, run: GateRun) -> str:
    """Import what talks to servers only when it is needed; it would slow down each no-op."""
    from mailcrypt_component.checks.preflight.run import run_preflight  # noqa: PLC0415

    return run_preflight(plan, previous_of(run.previous), run.say)


def _claim_names(claim: Claim, _: GateRun) -> str:
    from mailcrypt_component.checks.preflight.claim import claim_names  # noqa: PLC0415

    return claim_names(claim)


def _write_accounts(wanted: Wanted, _: GateRun) -> str:
    from mailcrypt_component.checks.accounts import write_accounts  # noqa: PLC0415

    return write_accounts(wanted)


def _unlock_server(plan: UnlockPlan, _: GateRun) -> str:
    from mailcrypt_component.checks.custody.unlock import unlock  # noqa: PLC0415

    return unlock(plan)


def _container_now(docker_host: DockerHost, container_id: str) -> dict[str, Any] | None:
    found = inspect_container(docker_host, container_id)
    return found.as_fact() if found else None


def _prove(target: Target, _: GateRun) -> str:
    from mailcrypt_component.checks.verdict import prove  # noqa: PLC0415

    return prove(target, unrecorded=lambda error: pulumi.log.warn(str(error))).short


def _host_of(provider: docker.Provider) -> pulumi.Output[DockerHost]:
    """Return the engine of an explicit provider, with its certificates and SSH options."""

    def read(found: Sequence[Any]) -> DockerHost:
        url, context, ca, certificate, private_key, folder, ssh_options = found
        plainly(refuse_context, context)
        options = json.loads(ssh_options) if isinstance(ssh_options, str) else ssh_options
        return DockerHost(url, ca, certificate, private_key, folder, tuple(options or ()))

    names = ("host", "context", "ca_material", "cert_material", "key_material", "cert_path")
    values = [pulumi.get(provider, name) for name in (*names, "ssh_opts")]
    return pulumi.Output.secret(pulumi.Output.all(*values).apply(read))


def _current(ring: KeyRing) -> pulumi.Output[str]:
    return ring.key_ids.apply(lambda ids: ids[0])
