"""The component: keys, configuration, volumes, gates and server as one graph.

No ``from __future__ import annotations`` here: Pulumi's component host reads the
annotations as types.
"""

from functools import partial

import pulumi

from mailcrypt_component.args import MailCryptServerArgs
from mailcrypt_component.checks.proof.target import Target
from mailcrypt_component.component.accounts import Accounts, declare_accounts
from mailcrypt_component.component.certificate import declare_certificate
from mailcrypt_component.component.container import declare_container
from mailcrypt_component.component.custody import declare_memory, declare_unlock
from mailcrypt_component.component.dovecot_config import DovecotConfig
from mailcrypt_component.component.gates import behind
from mailcrypt_component.component.key_ring import KeyRing
from mailcrypt_component.component.outputs import end_when_interrupted, plainly
from mailcrypt_component.component.parts import ContainerParts
from mailcrypt_component.component.preflight import declare_preflight
from mailcrypt_component.component.proof import (
    Server,
    declare_proof,
    declare_target,
    deployed,
    endpoints,
)
from mailcrypt_component.component.scope import Scope
from mailcrypt_component.component.service import declare_service
from mailcrypt_component.component.stores import declare_network, declare_stores
from mailcrypt_component.exposure.declared import declared
from mailcrypt_component.model.read_settings import read_settings


class MailCryptServer(pulumi.ComponentResource):
    """A docker-mailserver that encrypts all stored mail, and is proven to do so.

    Every output resolves only after the proof has held, so nothing can be built
    on a server that is not proven.
    """

    endpoints: pulumi.Output[dict[str, str]]
    """address:port on the Docker host, by service or container port."""
    container_id: pulumi.Output[str]
    """The id of the server's container; on a Swarm, of its service."""
    container_name: pulumi.Output[str]
    """The name of the container or service, which others on its network can resolve."""
    network: pulumi.Output[str]
    """The name of the server's network."""
    volumes: pulumi.Output[dict[str, str]]
    """The volume names or host paths of mail, state, logs and config."""
    public_key: pulumi.Output[str]
    """The current public key as PEM."""
    key_id: pulumi.Output[str]
    """The current key's id: the digest in the header of each new mail."""
    key_ids: pulumi.Output[list[str]]
    """Every key's id, newest first."""
    image_id: pulumi.Output[str]
    """The id of the image that the server runs; on a Swarm, its name."""
    dialect: pulumi.Output[str]
    """The Dovecot dialect of the image, 2.3 or 2.4."""
    config_digest: pulumi.Output[str]
    """The SHA-256 of the compiled Dovecot configuration, 64 hex digits."""
    exposure: pulumi.Output[list[dict[str, str]]]
    """The data on the Docker host's disk that remains readable by these settings, by kind."""
    account_passwords: pulumi.Output[dict[str, str]]
    """The generated passwords, by address; secret."""
    verify_target: pulumi.Output[str]
    """The description of this server for the commands, as JSON; secret."""

    def __init__(
        self,
        name: str,
        args: MailCryptServerArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        end_when_interrupted()
        settings = plainly(partial(read_settings, unresolved=(pulumi.Output,)), args)
        # Without inputs: a change of them would drop the outputs, which the commands read, until an
        # update succeeds.
        super().__init__("mailcrypt:index:MailCryptServer", name, {}, opts)
        scope = Scope(name, args, settings, self)

        image = scope.image()
        ring = KeyRing(f"{name}-ring", settings, scope.child())
        config = DovecotConfig(f"{name}-dovecot", image, scope)
        stores = declare_stores(scope)
        network = declare_network(scope, stores.claim)
        certificate = declare_certificate(scope)
        parts = ContainerParts(image, ring, config, stores, network, certificate)
        preflight = declare_preflight(scope, parts)
        ring.register(preflight)
        memory = declare_memory(scope, image, stores.claim, preflight)
        unlocked = declare_unlock(scope, ring, config, memory.keeper)
        accounts = declare_accounts(scope, image, stores.sources["config"], preflight)
        needs = [preflight, accounts.written, *unlocked]
        server: Server = (
            declare_service(scope, parts, needs)
            if settings.is_swarm
            else declare_container(scope, parts, memory, needs)
        )
        target = declare_target(scope, parts, server, accounts.probe_password)
        proof = declare_proof(scope, parts, server, memory.keeper, target)
        self._publish(scope, parts, server, accounts, target=target, proof=proof)

    def _publish(
        self,
        scope: Scope,
        parts: ContainerParts,
        server: Server,
        accounts: Accounts,
        *,
        target: pulumi.Output[Target],
        proof: pulumi.Stash,
    ) -> None:
        ring, config = parts.ring, parts.config
        self.endpoints = behind(proof, endpoints(scope))
        self.container_id = behind(proof, server.id)
        self.container_name = behind(proof, server.name)
        self.network = behind(proof, parts.network)
        self.volumes = behind(proof, dict(parts.stores.sources))
        self.public_key = behind(proof, ring.public_key)
        self.key_id = behind(proof, ring.key_ids.apply(lambda ids: ids[0]))
        self.key_ids = behind(proof, ring.key_ids)
        self.image_id = behind(proof, parts.image)
        self.dialect = behind(proof, config.dialect)
        self.config_digest = behind(proof, config.digest)
        self.exposure = behind(proof, [one.as_json() for one in declared(scope.settings)])
        made = pulumi.Output.secret(accounts.made_passwords)
        self.account_passwords = behind(proof, made)
        facts = deployed(scope, parts, server, target, accounts)
        self.verify_target = behind(proof, facts)
        # This output does not wait for the proof, because commands inspect unproven servers, too.
        self.register_outputs({"verifyTarget": facts})
