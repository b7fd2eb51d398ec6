"""docker-mailserver with encrypted mail storage, as a Pulumi component, proven."""

from mailcrypt_component.args import (
    AccountArgs,
    KeyArgs,
    MailCryptServerArgs,
    MountArgs,
    TlsArgs,
)
from mailcrypt_component.component import DovecotConfig, KeyRing, MailCryptServer

__all__ = [
    "AccountArgs",
    "DovecotConfig",
    "KeyArgs",
    "KeyRing",
    "MailCryptServer",
    "MailCryptServerArgs",
    "MountArgs",
    "TlsArgs",
]
