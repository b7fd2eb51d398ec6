"""The component's arguments, as users write them.

Pulumi's component host reads these annotations as types, so there is no
``from __future__ import annotations`` here.
"""

from typing import Any, NotRequired, TypedDict

import pulumi


class KeyArgs(TypedDict):
    """One key of the ring."""

    name: str
    """a-z, 0-9 and _; names the key for ever."""
    curve: NotRequired[str]
    """P256 (the default), P384 or P521; X25519 only with a PEM and Dovecot 2.4."""
    pem: NotRequired[pulumi.Input[str]]
    """An unencrypted PKCS#8 private key; without pem and publicPem one is made."""
    publicPem: NotRequired[pulumi.Input[str]]
    """The public key alone; every key of the ring then has publicPem and none has pem."""


class AccountArgs(TypedDict):
    """A declared mail account; without password and hash, a password is made."""

    address: str
    """user@domain"""
    password: NotRequired[pulumi.Input[str]]
    """At most 72 bytes."""
    passwordHash: NotRequired[pulumi.Input[str]]
    """{SCHEME}hash, as ``doveadm pw`` prints it."""


class MountArgs(TypedDict):
    """A further mount of the server."""

    source: str
    """An absolute path on the Docker host, or a volume's name."""
    target: str
    """The path in the container."""
    readOnly: NotRequired[bool]
    """Default false."""


class TlsArgs(TypedDict):
    """The certificate for IMAP and SMTP."""

    mode: NotRequired[str]
    """self-signed, provided, or dms (environment's SSL_TYPE decides; the default)."""
    certificate: NotRequired[pulumi.Input[str]]
    """The certificate chain as PEM."""
    privateKey: NotRequired[pulumi.Input[str]]
    """Its private key as PEM."""


class MailCryptServerArgs(TypedDict):
    """Everything that can be chosen for a server."""

    image: str
    """A docker-mailserver image by name or id."""
    hostname: str
    """The server's full host name."""
    dialect: NotRequired[str]
    """2.3 or 2.4; known from docker-mailserver's tags, else asked of the image."""
    keys: NotRequired[list[KeyArgs]]
    """The key ring, newest first; default one made key named k1."""
    giveUpKeys: NotRequired[list[str]]
    """Ids of lost keys: mail that is encrypted to them stays unreadable, and is no obstacle."""
    keyCustody: NotRequired[str]
    """memory (the default): a reboot locks the server until an unlock; or disk."""
    accounts: NotRequired[list[AccountArgs]]
    """Declared accounts; those added with DMS's setup command survive."""
    probeAddress: NotRequired[str]
    """The proof's own mailbox; default mailcrypt-probe@ the first account's domain."""
    protect: NotRequired[bool]
    """Protect keys and volumes from destroy; default true."""
    keepMail: NotRequired[bool]
    """Leave the volumes on the Docker host when destroyed; default true."""
    adoptMail: NotRequired[str]
    """The mark of another stack's mail store to take over, or unmarked for one without a mark."""
    binds: NotRequired[dict[str, str]]
    """mail, state, logs or config in a directory or existing volume of the host (certs, with
    keyCustody disk, in a directory)."""
    indexCache: NotRequired[str]
    """memory (the default) or disk, where subjects and text can be read."""
    indexCacheSize: NotRequired[int]
    """MiB of the index cache in memory; default 256."""
    queue: NotRequired[str]
    """disk (the default), or memory: a power cut then loses mail that is not delivered yet."""
    queueSize: NotRequired[int]
    """MiB of the queue in memory; default 256."""
    ports: NotRequired[dict[str, Any]]
    """Service (smtp, imaps, …) or container port to host port, address:port, or a list of them."""
    network: NotRequired[pulumi.Input[str]]
    """An existing network's name; default a network of its own."""
    environment: NotRequired[dict[str, str]]
    """docker-mailserver's own variables."""
    mounts: NotRequired[list[MountArgs]]
    """Further mounts."""
    tls: NotRequired[TlsArgs]
    """The certificate for IMAP and SMTP."""
    dockerHost: NotRequired[str]
    """unix://, tcp:// or ssh:// of the Docker engine; default the environment's."""
    deadline: NotRequired[int]
    """Seconds that a gate may take, apart from counting stored mail; default 120."""
    countDeadline: NotRequired[int]
    """Seconds that preflight may take to count stored mail; default 1800."""
    stopGrace: NotRequired[int]
    """Seconds that the server has to stop; default 60."""
