"""The public API as users write it; this file is type-checked, never run."""

from typing import assert_type

import pulumi
import pulumi_docker as docker

from mailcrypt_component import (
    AccountArgs,
    BindArgs,
    Curve,
    Custody,
    Dialect,
    IndexCache,
    KeyArgs,
    MailCryptServer,
    MailCryptServerArgs,
    MountArgs,
    Queue,
    TlsArgs,
    TlsMode,
)
from mailcrypt_component.testing import ServerMocks, use_mocks

config = pulumi.Config()

# The least that a server needs, with plain values.
least = MailCryptServer(
    "least",
    {
        "image": "docker.io/mailserver/docker-mailserver:15.1.0",
        "hostname": "mail.example.test",
        "accounts": [{"address": "you@example.test"}],
    },
)

# Values that other resources produce, and secrets.
network = docker.Network("office")
image = docker.RemoteImage("image", name="my-mail-server:7")
wired = MailCryptServer(
    "wired",
    {
        "image": image.image_id,
        "hostname": config.require("hostname"),
        "accounts": [
            {"address": "you@example.test", "password": config.require_secret("password")}
        ],
        "network": network.name,
        "environment": {"RELAY_HOST": "relay.example.test", "RELAY_USER": network.name},
        "dockerHost": pulumi.Output.from_input("ssh://root@docker.example.test"),
    },
    pulumi.ResourceOptions(depends_on=[network]),
)

# Every argument, each of them typed before it is passed on.
key: KeyArgs = {"name": "autumn26", "curve": Curve.P384}
imported: KeyArgs = {"name": "spring26", "pem": config.require_secret("pem")}
public: KeyArgs = {"name": "public", "publicPem": "-----BEGIN PUBLIC KEY-----"}
account: AccountArgs = {"address": "you@example.test", "passwordHash": "{SHA512-CRYPT}$6$"}
binds: BindArgs = {"mail": "/srv/mail", "state": "mail-state", "certs": "/srv/keys"}
mount: MountArgs = {"source": "/srv/sieve", "target": "/sieve", "readOnly": True}
tls: TlsArgs = {"mode": TlsMode.PROVIDED, "certificate": "", "privateKey": ""}
everything: MailCryptServerArgs = {
    "image": "my-mail-server:7",
    "hostname": "mail.example.test",
    "dialect": Dialect.V2_4,
    "keys": [key, imported],
    "giveUpKeys": ["0" * 64],
    "keyCustody": Custody.DISK,
    "accounts": [account],
    "probeAddress": "probe@example.test",
    "protect": False,
    "keepMail": False,
    "stopUnproven": True,
    "adoptMail": "unmarked",
    "binds": binds,
    "indexCache": IndexCache.DISK,
    "indexCacheSize": 512,
    "queue": Queue.MEMORY,
    "queueSize": 512,
    "ports": {"smtp": 25, "imaps": "127.0.0.1:993", "submission": [587, "[::1]:587"]},
    "network": "office",
    "environment": {"ENABLE_FAIL2BAN": "1"},
    "mounts": [mount],
    "tls": tls,
    "dockerHost": "unix:///var/run/docker.sock",
    "deadline": 60,
    "countDeadline": 600,
    "stopGrace": 30,
}
full = MailCryptServer("full", everything, opts=None)


class Office(pulumi.ComponentResource):
    """A component of the user's own with a server in it."""

    imap: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("example:index:Office", name, {}, opts)
        args: MailCryptServerArgs = {"image": "my-mail-server:7", "hostname": "mail.example.test"}
        mail = MailCryptServer(f"{name}-mail", args, pulumi.ResourceOptions(parent=self))
        self.imap = mail.endpoints.apply(lambda found: found["imaps"])
        self.register_outputs({"imap": self.imap})


# Each output has the type of its value.
assert_type(least.endpoints, pulumi.Output[dict[str, str]])
assert_type(least.container_id, pulumi.Output[str])
assert_type(least.container_name, pulumi.Output[str])
assert_type(least.network, pulumi.Output[str])
assert_type(least.volumes, pulumi.Output[dict[str, str]])
assert_type(least.public_key, pulumi.Output[str])
assert_type(least.key_id, pulumi.Output[str])
assert_type(least.key_ids, pulumi.Output[list[str]])
assert_type(least.image_id, pulumi.Output[str])
assert_type(least.dialect, pulumi.Output[str])
assert_type(least.config_digest, pulumi.Output[str])
assert_type(least.exposure, pulumi.Output[list[dict[str, str]]])
assert_type(least.account_passwords, pulumi.Output[dict[str, str]])
assert_type(least.verify_target, pulumi.Output[str])
assert_type(least.key_id.apply(len), pulumi.Output[int])

# What is wrong is refused: an unused ignore is an error, so each of these is one, too.
MailCryptServer("no-image", {"hostname": "mail.example.test"})  # type: ignore[typeddict-item]
unknown: MailCryptServerArgs = {
    "image": "my-mail-server:7",
    "hostname": "mail.example.test",
    "hostnames": [],  # type: ignore[typeddict-unknown-key]
}
# At runtime a plain string is taken as well; type-checked programs use the enumeration.
plain: KeyArgs = {"name": "k1", "curve": "P384"}  # type: ignore[typeddict-item]

# Unit tests.
mocks = use_mocks(project="office", stack="prod", config={"ports": {"smtp": 25}}, preview=True)
assert_type(mocks, ServerMocks)
assert_type(mocks.resources["least-server"].inputs, dict)  # type: ignore[type-arg]
