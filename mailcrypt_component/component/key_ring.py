"""Declares the key ring: keys that are generated once, or given in the settings."""

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_tls as tls

from mailcrypt_component.component.gates import behind
from mailcrypt_component.component.outputs import once_known, public
from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.model.key_ring import (
    PublicRingKey,
    RingKey,
    read_key,
    read_public_key,
)
from mailcrypt_component.model.settings import KeySettings, Settings


class KeyRing(pulumi.ComponentResource):
    """The ring of keys, newest first; the first encrypts, the others only read.

    A generated key is not protected itself, since it must be possible to drop a retired key by
    declaration alone.  Instead a protected guard depends on all keys, and Pulumi deletes no key
    before the guard.
    """

    keys: pulumi.Output[list[PublicRingKey]]
    """The keys, with their private parts where the ring holds them; secret."""
    key_ids: pulumi.Output[list[str]]
    """Every key's id, newest first."""
    public_key: pulumi.Output[str]
    """The current public key as PEM."""
    public_keys: pulumi.Output[list[dict[str, str]]]
    """Every key's ``name``, ``keyId``, ``kind`` and ``publicPem``, newest first."""

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions) -> None:
        super().__init__("mailcrypt:index:KeyRing", name, {}, opts)
        self._made: list[pulumi.Resource] = []
        pems: pulumi.Output[list[str]] = pulumi.Output.all(
            *(self._pem(name, key) for key in settings.keys)
        )
        self.keys = pems.apply(
            lambda found: once_known(_read_ring, settings.keys, found, settings.dialect)
        )
        self.public_keys = public(self.keys.apply(lambda keys: [_public_part(k) for k in keys]))
        self.key_ids = self.public_keys.apply(lambda keys: [key["keyId"] for key in keys])
        self.public_key = self.public_keys.apply(lambda keys: keys[0]["publicPem"])
        self._guard(name, protect=settings.protect)

    def register(self, preflight: pulumi.Stash) -> None:
        """Keep the ring in the state once preflight has held: a refused one opens no server."""
        private: pulumi.Output[Any] = pulumi.Output.secret(self.keys.apply(_private_parts))
        kept = {"keyIds": self.key_ids, "publicKey": self.public_key, "privateKeys": private}
        self.register_outputs({name: behind(preflight, value) for name, value in kept.items()})

    def _pem(self, name: str, key: KeySettings) -> pulumi.Output[str]:
        """Return the private key, or the public one of a key that is public only."""
        if key.public_pem is not None:
            return pulumi.Output.secret(key.public_pem)
        if key.pem is not None:
            return pulumi.Output.secret(key.pem)
        made = tls.PrivateKey(
            f"{name}-{key.name}",
            algorithm="ECDSA",
            ecdsa_curve=key.curve.value,
            opts=pulumi.ResourceOptions(parent=self, protect=False),
        )
        self._made.append(made)
        return pulumi.Output.secret(made.private_key_pem_pkcs8)

    def _guard(self, name: str, *, protect: bool) -> None:
        pulumi.Stash(
            f"{name}-guard",
            input=self.key_ids,
            opts=pulumi.ResourceOptions(parent=self, depends_on=self._made, protect=protect),
        )


def _read_ring(
    declared: Sequence[KeySettings], pems: Sequence[str], dialect: Dialect | None
) -> list[PublicRingKey]:
    """Read every key; the first one has to be of a kind that can encrypt."""
    return [
        read_public_key(key.name, pem, dialect, current=not number)
        if key.public_pem is not None
        else read_key(key.name, pem, dialect, current=not number)
        for number, (key, pem) in enumerate(zip(declared, pems, strict=True))
    ]


def _public_part(key: PublicRingKey) -> dict[str, str]:
    return {
        "name": key.name,
        "keyId": key.key_id,
        "kind": key.kind,
        "publicPem": key.public_pem,
    }


def _private_parts(keys: Sequence[PublicRingKey]) -> list[dict[str, Any]]:
    """Return the values that escrow, encrypt and unlock read from the state."""
    return [{"name": key.name, "pem": key.private_pem} for key in keys if isinstance(key, RingKey)]
