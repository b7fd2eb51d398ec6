"""docker-mailserver with encrypted mail storage, as a Pulumi component, proven.

What is named here is imported when it is asked for: the command line reads mail
without the engine that declares servers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailcrypt_component.args import (
        AccountArgs,
        KeyArgs,
        MailCryptServerArgs,
        MountArgs,
        TlsArgs,
    )
    from mailcrypt_component.component.dovecot_config import DovecotConfig
    from mailcrypt_component.component.key_ring import KeyRing
    from mailcrypt_component.component.server import MailCryptServer

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


_COMPONENTS = {
    "DovecotConfig": "component.dovecot_config",
    "KeyRing": "component.key_ring",
    "MailCryptServer": "component.server",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "args" if name.endswith("Args") else _COMPONENTS[name]
    return getattr(import_module(f"{__name__}.{module}"), name)
