"""Makes a key ring from the keys that Dovecot's configuration names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailcrypt_component.dcrypt.key_id import key_id
from mailcrypt_component.dcrypt.keys import PrivateKey, load_private_key, load_public_key
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import KeyFault, SettingsError
from mailcrypt_component.model.key_ring import RingKey, read_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mailcrypt_component.adopt.dovecot_conf import DovecotConf, KeySource
    from mailcrypt_component.adopt.old_server import OldServer


def ring_in(server: OldServer, note: Callable[[str], None]) -> tuple[RingKey, ...]:
    """Return the ring of the keys that a server's configuration names, the current key first.

    Args:
        server: The server.
        note: Called with each note.

    Raises:
        SettingsError: No key is configured, the keys are per user, or a file cannot be read.
        KeyFault: A key cannot be used, or the public key fits none of the private keys.

    """
    used = {path: conf for path, conf in server.confs.items() if conf.uses_mail_crypt}
    _refuse_per_user_keys(used)
    private = [key for conf in used.values() for key in conf.private]
    if not private:
        raise _no_key(server, mail_crypt=bool(used))
    public = [key for conf in used.values() for key in conf.public]
    if not any(conf.plugin for conf in used.values()):
        note("the old server does not load mail_crypt: it stores mail in clear")
    versions = [conf.save_version for conf in used.values() if conf.save_version]
    if versions and versions[-1] == "0":
        note("mail_crypt_save_version 0: the old server stores mail in clear")
    return ring_of(private, public, server.files.read)


def _refuse_per_user_keys(used: Mapping[str, DovecotConf]) -> None:
    for path, conf in used.items():
        if conf.per_user:
            raise SettingsError(
                f"per-user keys ({', '.join(conf.per_user)})",
                where=path,
                expected="global keys, which the stack keeps as a key ring",
                hint="per-user keys lie in the mail volume and cannot become a ring; see "
                "docs/per-user-keys.md",
            )


def _no_key(server: OldServer, *, mail_crypt: bool) -> SettingsError:
    patches = server.files.find(f"{dms.CONFIG_DIR}/user-patches.sh") or ""
    hint = "without mail_crypt there is no key to take over: start a stack of your own"
    if "mail_crypt" in patches:
        hint = "user-patches.sh sets up mail_crypt; put its settings into 10-custom.conf first"
    return SettingsError(
        "no private key is configured" if mail_crypt else "mail_crypt is not configured",
        where=", ".join(server.confs) or "no configuration file of Dovecot is mounted",
        expected="mail_crypt_global_private_key or crypt_global_private_key",
        hint=hint,
    )


def ring_of(
    private: Sequence[KeySource], public: Sequence[KeySource], read: Callable[[str], str]
) -> tuple[RingKey, ...]:
    """Return the ring, the current key first.

    Args:
        private: The private keys that the configuration names.
        public: The public keys that it names, in the order in which Dovecot reads them.
        read: Returns a file of the container.

    Raises:
        SettingsError: No public key is named, or a file cannot be read.
        KeyFault: A key cannot be used, or the public key fits none of the private keys.

    """
    if not public:
        raise SettingsError(
            "no public key is named",
            where="Dovecot's configuration",
            expected="mail_crypt_global_public_key = </certs/… or crypt_global_public_key_file",
            hint="without it the old server encrypts nothing",
        )
    current = _public_id(public[-1], read)
    found = {key.key_id: key for key in (_private_key(source, read) for source in private)}
    if current not in found:
        raise KeyFault(
            f"the public key has the id {current}, the private keys have "
            f"{', '.join(found) or 'none'}",
            where=_where(public[-1]),
            expected="the public key of one of the private keys",
            hint="mail that is encrypted to it is unreadable; look for its private key first",
        )
    ordered = sorted(found.values(), key=lambda key: key.key_id != current)
    return tuple(
        replace(key, name=f"k{len(ordered) - number}") for number, key in enumerate(ordered)
    )


def _public_id(source: KeySource, read: Callable[[str], str]) -> str:
    text = source.inline or read(source.path)
    try:
        return key_id(load_public_key(text.encode()))
    except KeyFault as fault:
        raise KeyFault(
            fault.found, where=_where(source), expected=fault.expected, hint=fault.hint
        ) from None


def _private_key(source: KeySource, read: Callable[[str], str]) -> RingKey:
    text = source.inline or read(source.path)
    try:
        return read_key(
            "k1", _pkcs8(load_private_key(text.encode(), _password(source))), current=False
        )
    except KeyFault as fault:
        raise KeyFault(
            fault.found, where=_where(source), expected=fault.expected, hint=fault.hint
        ) from None


def _password(source: KeySource) -> bytes | None:
    return source.password.encode() if source.password else None


def _pkcs8(key: PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _where(source: KeySource) -> str:
    return f"{source.name} = {source.path or '(a key in the configuration itself)'}"
