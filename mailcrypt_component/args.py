"""The component's arguments, as users write them.

Pulumi's component host reads these annotations as types, so there is no
``from __future__ import annotations`` here.  An argument that another resource can produce is
an Input.  The others decide which resources are declared, so they must be known before the
program runs: names, curves, choices, and whether something is protected.
"""

from typing import Any, NotRequired, TypedDict

import pulumi

from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.model.custody import Custody, IndexCache, Queue
from mailcrypt_component.model.key_ring import Curve
from mailcrypt_component.model.settings import TlsMode
from mailcrypt_component.model.swarm import Platform


class KeyArgs(TypedDict):
    """One key of the ring."""

    name: str
    """a-z, 0-9 and _; names the key for ever."""
    curve: NotRequired[Curve]
    """The curve of a key that is made; default P256. X25519 only with a PEM and Dovecot 2.4."""
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

    source: pulumi.Input[str]
    """An absolute path on the Docker host, or a volume's name; it must exist."""
    target: str
    """The path in the container."""
    readOnly: NotRequired[bool]
    """Default false."""


class BindArgs(TypedDict):
    """Stores that lie in a directory of the Docker host, or in an existing volume."""

    mail: NotRequired[pulumi.Input[str]]
    """The mail, /var/mail in the container."""
    state: NotRequired[pulumi.Input[str]]
    """DMS's state with Postfix's queue, /var/mail-state in the container."""
    logs: NotRequired[pulumi.Input[str]]
    """The logs, /var/log/mail in the container."""
    config: NotRequired[pulumi.Input[str]]
    """DMS's configuration, /tmp/docker-mailserver in the container."""
    certs: NotRequired[pulumi.Input[str]]
    """The private keys, /certs in the container; only with keyCustody disk."""


class TlsArgs(TypedDict):
    """The certificate for IMAP and SMTP."""

    mode: NotRequired[TlsMode]
    """Default: provided with a certificate, dms with SSL_TYPE in environment, else self-signed."""
    certificate: NotRequired[pulumi.Input[str]]
    """The certificate chain as PEM."""
    privateKey: NotRequired[pulumi.Input[str]]
    """Its private key as PEM."""


class MailCryptServerArgs(TypedDict):
    """Everything that can be chosen for a server."""

    image: pulumi.Input[str]
    """A docker-mailserver image by name or id; an Output names one that the engine has."""
    hostname: pulumi.Input[str]
    """The server's full host name."""
    dialect: NotRequired[Dialect]
    """Dovecot's dialect; known from docker-mailserver's tags, else asked of the image."""
    keys: NotRequired[list[KeyArgs]]
    """The key ring, newest first; default one made key named k1."""
    giveUpKeys: NotRequired[list[str]]
    """Ids of lost keys: mail that is encrypted to them stays unreadable, and is no obstacle."""
    keyCustody: NotRequired[Custody]
    """Where the private keys lie; default memory (a reboot locks the server); on a Swarm, swarm."""
    accounts: NotRequired[list[AccountArgs]]
    """Declared accounts; those added with DMS's setup command survive."""
    probeAddress: NotRequired[str]
    """The proof's own mailbox; default mailcrypt-probe@ the first account's domain."""
    protect: NotRequired[bool]
    """Protect keys and volumes from destroy; default true."""
    keepMail: NotRequired[bool]
    """Leave the volumes on the Docker host when destroyed; default true."""
    stopUnproven: NotRequired[bool]
    """Stop a server that stores mail in clear or for nobody to read; default true."""
    adoptMail: NotRequired[str]
    """The mark of another stack's mail store to take over, or unmarked for one without a mark."""
    binds: NotRequired[BindArgs]
    """Stores that lie in a directory of the Docker host instead of a volume."""
    indexCache: NotRequired[IndexCache]
    """Where Dovecot's index caches lie; default memory. On disk, subjects and text are readable."""
    indexCacheSize: NotRequired[int]
    """MiB of the index cache in memory; default 256."""
    queue: NotRequired[Queue]
    """Where Postfix's queue lies; default disk. In memory, a power cut loses undelivered mail."""
    queueSize: NotRequired[int]
    """MiB of the queue in memory; default 256."""
    ports: NotRequired[dict[str, Any]]
    """Service (smtp, imaps, …) or container port to host port, address:port, or a list of them."""
    network: NotRequired[pulumi.Input[str]]
    """An existing network's name; default a network of its own."""
    environment: NotRequired[dict[str, pulumi.Input[str]]]
    """docker-mailserver's own variables."""
    mounts: NotRequired[list[MountArgs]]
    """Further mounts."""
    tls: NotRequired[TlsArgs]
    """The certificate for IMAP and SMTP."""
    dockerHost: NotRequired[pulumi.Input[str]]
    """unix://, tcp:// or ssh:// of the Docker engine; default the environment's."""
    target: NotRequired[Platform]
    """What runs the server; default machine. With swarm, dockerHost is a manager's engine."""
    nodes: NotRequired[dict[str, pulumi.Input[str]]]
    """With target swarm: the Docker host of each node that may run the server, by host name."""
    placement: NotRequired[list[str]]
    """With target swarm: constraints on the node, such as node.labels.mail==yes."""
    deadline: NotRequired[int]
    """Seconds that a gate may take, preflight's count of stored mail apart; default 120."""
    countDeadline: NotRequired[int]
    """Seconds that preflight may take to count stored mail; default 1800."""
    stopGrace: NotRequired[int]
    """Seconds that the server has to stop; default 60."""
