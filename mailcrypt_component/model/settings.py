"""The validated settings: everything a user can choose, converted once.

``read_settings`` takes the raw arguments, finds every fault, and returns one
frozen value or raises one error that lists them all.  Nothing deeper reads raw
arguments.  A value that Pulumi has not resolved yet (an ``Output``) passes
through as it is; whoever resolves it checks it.  This module knows no Pulumi.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar

from mailcrypt_component.model import dms
from mailcrypt_component.model.dialects import Dialect
from mailcrypt_component.model.errors import KeyFault, MailCryptError, SettingsError, SettingsErrors
from mailcrypt_component.model.key_ring import NAME_PATTERN, Curve, read_key, refuse_curve


class TlsMode(StrEnum):
    """Where the certificate for IMAP and SMTP comes from."""

    SELF_SIGNED = "self-signed"
    PROVIDED = "provided"
    DMS = "dms"
    """DMS's own ``SSL_TYPE`` settings in ``environment`` decide."""


@dataclass(frozen=True, slots=True)
class KeySettings:
    """One key of the ring; without a PEM it is made on the first ``up``."""

    name: str
    curve: Curve
    pem: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """A declared mail account; without password and hash, a password is made."""

    address: str
    password: Any = field(default=None, repr=False)
    password_hash: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PortSettings:
    """A container port published on the Docker host."""

    internal: int
    external: int
    address: str


@dataclass(frozen=True, slots=True)
class MountSettings:
    """A further mount: a host path (absolute) or a volume name at ``target``."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The certificate for IMAP and SMTP."""

    mode: TlsMode
    certificate: Any = None
    private_key: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a user chose, checked."""

    image: str
    hostname: str
    dialect: Dialect | None
    keys: tuple[KeySettings, ...]
    give_up_keys: tuple[str, ...]
    accounts: tuple[AccountSettings, ...]
    probe_address: str
    protect: bool
    keep_mail: bool
    binds: Mapping[str, str]
    ports: tuple[PortSettings, ...]
    network: Any
    environment: Mapping[str, str]
    mounts: tuple[MountSettings, ...]
    tls: TlsSettings
    docker_host: str | None
    deadline: int
    stop_grace: int


STORES: Final = {
    "mail": dms.MAIL_DIR,
    "state": dms.STATE_DIR,
    "logs": dms.LOG_DIR,
    "config": dms.CONFIG_DIR,
}
"""The volumes every server has, by name, with their path in the container."""

BIND_TARGETS: Final = {**STORES, "certs": dms.CERTS_DIR}
"""What may lie in a directory of the Docker host instead, by name."""

SERVER_LABEL: Final = "mailcrypt.server"
"""On every server's container; its value is the server's name."""

DEFAULT_DEADLINE: Final = 120
DEFAULT_STOP_GRACE: Final = 60
PROBE_USER: Final = "mailcrypt-probe"

_OURS: Final = frozenset({"SSL_TYPE", "SSL_CERT_PATH", "SSL_KEY_PATH"})
_LABEL: Final = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_HOSTNAME: Final = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}", re.IGNORECASE)
_ADDRESS: Final = re.compile(rf"[A-Za-z0-9_.+-]{{1,64}}@((?:{_LABEL}\.)+{_LABEL})", re.IGNORECASE)
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VOLUME_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_KEY_ID: Final = re.compile(r"[0-9a-f]{64}")
_IMAGE_ID: Final = re.compile(r"sha256:[0-9a-f]{64}")
_HASH: Final = re.compile(r"\{[A-Z0-9.-]+\}[^\s|:]+")
_T = TypeVar("_T")


def read_settings(args: Mapping[str, Any]) -> Settings:
    """Check raw arguments and return them as one frozen value.

    Args:
        args: The arguments by their ``snake_case`` or ``camelCase`` names.

    Raises:
        SettingsErrors: One or more settings are wrong; it names each of them.

    """
    return _Reader(args).settings()


class _Reader:
    """Reads each setting once and collects the faults instead of stopping."""

    def __init__(self, args: Mapping[str, Any]) -> None:
        self._raw = {_snake(name): value for name, value in args.items() if value is not None}
        self._faults: list[SettingsError] = []

    def settings(self) -> Settings:
        self._refuse_unknown(self._raw, _FIELDS, "")
        dialect = self._dialect()
        accounts = self._accounts()
        settings = Settings(
            image=self._image(),
            hostname=self._hostname(),
            dialect=dialect,
            keys=self._keys(dialect),
            give_up_keys=self._give_up_keys(),
            accounts=accounts,
            probe_address=self._probe_address(accounts),
            protect=self._typed("protect", bool, default=True),
            keep_mail=self._typed("keep_mail", bool, default=True),
            binds=self._binds(),
            ports=self._ports(),
            network=self._raw.get("network"),
            environment=self._environment(),
            mounts=self._mounts(),
            tls=self._tls(),
            docker_host=self._docker_host(),
            deadline=self._seconds("deadline", DEFAULT_DEADLINE, _MAX_DEADLINE),
            stop_grace=self._seconds("stop_grace", DEFAULT_STOP_GRACE, _MAX_STOP_GRACE),
        )
        if self._faults:
            raise SettingsErrors(self._faults)
        return settings

    def _fault(self, where: str, found: str, expected: str, hint: str = "") -> None:
        self._faults.append(SettingsError(found, where=where, expected=expected, hint=hint))

    def _refuse_unknown(self, raw: Mapping[str, Any], known: Sequence[str], where: str) -> None:
        names = ", ".join(_camel(name) for name in known)
        for name in raw:
            if name not in known:
                self._fault(f"{where}{_camel(name)}", "unknown setting", f"one of {names}")

    def _typed(self, name: str, kind: type[_T], default: _T, where: str = "") -> _T:
        value = self._raw.get(name, default)
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        self._fault(where or _camel(name), _shown(value), f"a {_WORDS[kind]}")
        return default

    def _items(self, name: str, known: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
        """Return the entries of a list of objects, each with its place for errors."""
        items = []
        for index, item in enumerate(self._typed(name, list, default=[])):
            where = f"{_camel(name)}[{index}]"
            if not isinstance(item, Mapping):
                self._fault(where, _shown(item), "an object")
                continue
            fields = {_snake(key): value for key, value in item.items() if value is not None}
            self._refuse_unknown(fields, known, f"{where}.")
            items.append((where, fields))
        return items

    def _image(self) -> str:
        image = self._typed("image", str, default="")
        if not image or image != image.strip() or " " in image:
            self._fault(
                "image",
                _shown(image),
                "an image name or id",
                "for instance mailserver/docker-mailserver:15.1.0",
            )
        elif image.startswith("sha256:") and not _IMAGE_ID.fullmatch(image):
            # A shortened one would differ from what the engine answers, at each up.
            self._fault(
                "image",
                _shown(image),
                "sha256: and all 64 digits of the image's id",
                "docker images --no-trunc shows it",
            )
        return image

    def _hostname(self) -> str:
        hostname = self._typed("hostname", str, default="")
        if not _HOSTNAME.fullmatch(hostname) or len(hostname) > _MAX_HOSTNAME:
            self._fault("hostname", _shown(hostname), "a full host name such as mail.example.test")
        return hostname

    def _dialect(self) -> Dialect | None:
        image = self._raw.get("image")
        of_tag = dms.dialect_of_tag(image) if isinstance(image, str) else None
        stated = self._enum("dialect", self._raw.get("dialect"), Dialect, None)
        if stated and of_tag and stated is not of_tag:
            self._fault(
                "dialect",
                f"{stated.value}, but {image} carries Dovecot {of_tag.value}",
                f"{of_tag.value}, or no statement at all",
                "remove the setting dialect",
            )
        return stated or of_tag

    def _enum(self, where: str, value: Any, kind: type[_T], default: _T | None) -> _T | None:
        if value is None:
            return default
        try:
            return kind(value)  # type: ignore[call-arg]
        except ValueError:
            names = ", ".join(member.value for member in kind)  # type: ignore[attr-defined]
            self._fault(where, _shown(value), f"one of {names}")
            return default

    def _keys(self, dialect: Dialect | None) -> tuple[KeySettings, ...]:
        self._raw.setdefault("keys", [{"name": "k1"}])
        entries = self._items("keys", ("name", "curve", "pem"))
        keys = tuple(self._key(where, fields, dialect) for where, fields in entries)
        if not keys:
            self._fault("keys", "an empty ring", "at least one key", "keys: [{name: k1}]")
        self._refuse_twice("keys", [key.name for key in keys])
        return keys

    def _give_up_keys(self) -> tuple[str, ...]:
        stated = self._typed("give_up_keys", list, default=[])
        for value in stated:
            if not isinstance(value, str) or not _KEY_ID.fullmatch(value):
                self._fault(
                    "giveUpKeys",
                    _shown(value),
                    "whole key ids, 64 hex digits each",
                    "the refusal names them",
                )
        return tuple(stated)

    def _key(self, where: str, raw: Mapping[str, Any], dialect: Dialect | None) -> KeySettings:
        name = raw.get("name")
        if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
            self._fault(f"{where}.name", _shown(name), "a-z, 0-9 and _, a letter first, 32 at most")
            name = f"key{len(self._faults)}"
        curve = self._enum(f"{where}.curve", raw.get("curve"), Curve, Curve.P256) or Curve.P256
        pem = raw.get("pem")
        self._check_key(where, name, curve, pem, dialect)
        return KeySettings(name, curve, pem)

    def _check_key(
        self, where: str, name: str, curve: Curve, pem: Any, dialect: Dialect | None
    ) -> None:
        try:
            if isinstance(pem, str):
                read_key(name, pem, dialect)
            elif pem is None and curve is Curve.X25519:
                self._fault(
                    f"{where}.curve",
                    "X25519 without a PEM",
                    "P256, P384 or P521 for a made key",
                    "openssl genpkey -algorithm X25519, and give it as pem",
                )
            else:
                refuse_curve(curve, dialect, f"{where}.curve")
        except KeyFault as fault:
            self._fault(fault.where, fault.found, fault.expected, fault.hint)

    def _refuse_twice(self, where: str, names: Sequence[str]) -> None:
        for name in sorted({name for name in names if names.count(name) > 1}):
            self._fault(where, f"{name} stands there twice", "each name once")

    def _accounts(self) -> tuple[AccountSettings, ...]:
        entries = self._items("accounts", ("address", "password", "password_hash"))
        accounts = tuple(self._account(where, fields) for where, fields in entries)
        self._refuse_twice("accounts", [account.address for account in accounts])
        return accounts

    def _account(self, where: str, raw: Mapping[str, Any]) -> AccountSettings:
        address = self._address(f"{where}.address", raw.get("address"))
        password, ready = raw.get("password"), raw.get("password_hash")
        if password is not None and ready is not None:
            self._fault(where, "both password and passwordHash", "one of them, or neither")
        self._check_password(f"{where}.password", password)
        if isinstance(ready, str) and not _HASH.fullmatch(ready):
            self._fault(
                f"{where}.passwordHash",
                "a text that is no hash",
                "{SCHEME}hash",
                "doveadm pw -s SHA512-CRYPT prints one",
            )
        return AccountSettings(address, password, ready)

    def _check_password(self, where: str, password: Any) -> None:
        if not isinstance(password, str):
            return
        size = len(password.encode())
        if not 1 <= size <= 72:  # noqa: PLR2004  (bcrypt takes 72 bytes)
            self._fault(where, f"a password of {size} bytes", "1 to 72 bytes")

    def _address(self, where: str, value: Any) -> str:
        if isinstance(value, str) and _ADDRESS.fullmatch(value) and ".." not in value:
            return value.lower()
        self._fault(where, _shown(value), "an address such as user@example.test")
        return ""

    def _probe_address(self, accounts: Sequence[AccountSettings]) -> str:
        stated = self._raw.get("probe_address")
        if stated is not None:
            address = self._address("probeAddress", stated)
        elif accounts:
            address = f"{PROBE_USER}@{accounts[0].address.partition('@')[2]}"
        else:
            self._fault(
                "accounts",
                "no account at all",
                "at least one account: without any the mail server stops by itself",
                "accounts: [{address: you@example.test, password: …}]",
            )
            return ""
        if address in {account.address for account in accounts}:
            self._fault("probeAddress", address, "an address that no declared account has")
        return address

    def _binds(self) -> Mapping[str, str]:
        binds = self._typed("binds", dict, default={})
        self._refuse_unknown(binds, tuple(BIND_TARGETS), "binds.")
        for name, path in binds.items():
            self._check_host_path(f"binds.{name}", path)
        return binds

    def _check_host_path(self, where: str, path: Any) -> None:
        if not isinstance(path, str) or not path.startswith("/") or ".." in path.split("/"):
            self._fault(where, _shown(path), "an absolute path on the Docker host")

    def _ports(self) -> tuple[PortSettings, ...]:
        raw = self._typed("ports", dict, default=dict(dms.PORTS))
        ports = tuple(port for name, value in raw.items() if (port := self._port(str(name), value)))
        self._refuse_twice("ports", [f"{port.address}:{port.external}" for port in ports])
        return ports

    def _port(self, name: str, value: Any) -> PortSettings | None:
        where = f"ports.{name}"
        internal = dms.PORTS.get(name) or (int(name) if name.isdecimal() else 0)
        address, _, number = str(value).rpartition(":")
        external = int(number) if number.isdecimal() else 0
        if not 1 <= internal <= _MAX_PORT:
            self._fault(where, "unknown service", f"one of {', '.join(dms.PORTS)}, or a number")
        elif isinstance(value, bool) or not 1 <= external <= _MAX_PORT:
            self._fault(where, _shown(value), "a port from 1 to 65535, or address:port")
        elif address and not _is_ip(address.strip("[]")):
            self._fault(where, _shown(value), "an IP address before the colon")
        else:
            return PortSettings(internal, external, address.strip("[]") or "0.0.0.0")  # noqa: S104
        return None

    def _environment(self) -> Mapping[str, str]:
        raw = self._typed("environment", dict, default={})
        mode = self._raw.get("tls", {})
        ours = isinstance(mode, Mapping) and mode.get("mode") not in (None, TlsMode.DMS.value)
        for name, value in raw.items():
            if not _ENV_NAME.fullmatch(name):
                self._fault(f"environment.{name}", "not a variable's name", "letters, digits, _")
            if isinstance(value, bool) or not isinstance(value, (str, int)):
                self._fault(f"environment.{name}", _shown(value), "a string")
            if name in _OURS and ours and value != "":
                self._fault(f"environment.{name}", "set beside tls", "tls.mode: dms for your own")
        chosen = {name: str(value) for name, value in raw.items()}
        for name, fits in _NEEDED.items():
            value = chosen.get(name) or fits[0]  # An empty one is none to DMS, too.
            if value.lower() not in {fit.lower() for fit in fits}:
                self._fault(
                    f"environment.{name}",
                    _shown(value),
                    f"{' or '.join(filter(None, fits))}: the proof needs an account of its own, "
                    "LMTP, IMAP over IPv4 and Maildir",
                )
        return chosen

    def _mounts(self) -> tuple[MountSettings, ...]:
        entries = self._items("mounts", ("source", "target", "read_only"))
        mounts = tuple(self._mount(where, fields) for where, fields in entries)
        taken = [*BIND_TARGETS.values(), dms.CUSTOM_CONF, dms.TLS_DIR]
        self._refuse_twice("mounts", [*taken, *(mount.target for mount in mounts)])
        return mounts

    def _mount(self, where: str, raw: Mapping[str, Any]) -> MountSettings:
        source, target = str(raw.get("source", "")), str(raw.get("target", ""))
        if not source.startswith("/") and not _VOLUME_NAME.fullmatch(source):
            self._fault(f"{where}.source", _shown(source), "an absolute path or a volume's name")
        self._check_host_path(f"{where}.target", target)
        return MountSettings(source, target.rstrip("/"), bool(raw.get("read_only", False)))

    def _tls(self) -> TlsSettings:
        raw = {_snake(k): v for k, v in self._typed("tls", dict, default={}).items()}
        self._refuse_unknown(raw, ("mode", "certificate", "private_key"), "tls.")
        default = TlsMode.PROVIDED if "certificate" in raw else self._tls_of_environment()
        mode = self._enum("tls.mode", raw.get("mode"), TlsMode, default) or default
        given = {name for name in ("certificate", "private_key") if raw.get(name) is not None}
        if mode is TlsMode.PROVIDED and len(given) < 2:  # noqa: PLR2004
            self._fault("tls", "not both of certificate and privateKey", "both, as PEM")
        if mode is not TlsMode.PROVIDED and given:
            self._fault("tls", f"mode {mode.value} with a certificate", "mode provided")
        return TlsSettings(mode, raw.get("certificate"), raw.get("private_key"))

    def _tls_of_environment(self) -> TlsMode:
        """Return the mode where none is stated: without SSL_TYPE, DMS takes passwords in clear."""
        environment = self._typed("environment", dict, default={})
        stated = environment.get("SSL_TYPE") or environment.get("SSL_TYPE__FILE")
        return TlsMode.DMS if stated else TlsMode.SELF_SIGNED

    def _docker_host(self) -> str | None:
        host = self._raw.get("docker_host")
        if host is None:
            return None
        if not isinstance(host, str) or not re.match(r"(unix|tcp|ssh)://\S+", host):
            self._fault("dockerHost", _shown(host), "unix://…, tcp://… or ssh://user@host")
            return None
        return host

    def _seconds(self, name: str, default: int, most: int) -> int:
        value = self._typed(name, int, default=default)
        if not 1 <= value <= most:
            self._fault(_camel(name), _shown(value), f"1 to {most} seconds")
        return value


_NEEDED: Final = {
    "ACCOUNT_PROVISIONER": ("FILE",),
    "DOVECOT_INET_PROTOCOLS": ("all", "ipv4"),
    "DOVECOT_MAILBOX_FORMAT": ("maildir",),
    "ENABLE_IMAP": ("1",),
    "POSTFIX_DAGENT": ("", "lmtp:unix:/var/run/dovecot/lmtp"),
    "SMTP_ONLY": ("0",),
}
"""Variables of DMS and the values with which alone a server can be proven, default first."""

_FIELDS: Final = (*Settings.__dataclass_fields__,)
_MAX_HOSTNAME: Final = 253
_MAX_PORT: Final = 65535
_MAX_DEADLINE: Final = 3600
_MAX_STOP_GRACE: Final = 1080  # The provider gives up after twenty minutes.
_WORDS: Final = {bool: "boolean", int: "whole number", str: "text", list: "list", dict: "map"}


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _shown(value: object) -> str:
    if value is None or value == "":
        return "nothing"
    return repr(value) if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found.group(1).lower()}", str(name))


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


__all__ = ["MailCryptError", "Settings", "read_settings"]
