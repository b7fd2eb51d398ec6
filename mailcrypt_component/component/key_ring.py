"""The key ring as resources: keys that are made once or brought along."""

from collections.abc import Sequence

import pulumi
import pulumi_tls as tls

from mailcrypt_component.component.outputs import plainly, public
from mailcrypt_component.model.dialects import Dialect
from mailcrypt_component.model.key_ring import RingKey, read_key
from mailcrypt_component.model.settings import KeySettings, Settings


class KeyRing(pulumi.ComponentResource):
    """The ring of keys, newest first; the first encrypts, the others only read."""

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
        self.keys = pems.apply(lambda found: plainly(_read_ring, names, found, settings.dialect))
        self.key_ids = public(self.keys.apply(lambda keys: [key.key_id for key in keys]))
        self.public_key = public(self.keys.apply(lambda keys: keys[0].public_pem))
        private = self.keys.apply(
            lambda keys: [{"name": key.name, "pem": key.private_pem} for key in keys]
        )
        self.register_outputs(
            {
                "keyIds": self.key_ids,
                "publicKey": self.public_key,
                "privateKeys": pulumi.Output.secret(private),
            }
        )

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


def _read_ring(names: Sequence[str], pems: Sequence[str], dialect: Dialect | None) -> list[RingKey]:
    return [read_key(name, pem, dialect) for name, pem in zip(names, pems, strict=True)]
