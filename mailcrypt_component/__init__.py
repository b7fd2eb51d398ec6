"""docker-mailserver with encrypted mail storage, as a Pulumi component, proven.

These names are imported when they are first used: the command line reads stored mail
without loading Pulumi.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailcrypt_component.args import (
        AccountArgs,
        BindArgs,
        KeyArgs,
        MailCryptServerArgs,
        MountArgs,
        TlsArgs,
    )
    from mailcrypt_component.component.dovecot_config import DovecotConfig
    from mailcrypt_component.component.key_ring import KeyRing
    from mailcrypt_component.component.server import MailCryptServer
    from mailcrypt_component.dialects.dialect import Dialect
    from mailcrypt_component.model.custody import Custody, IndexCache, Queue
    from mailcrypt_component.model.key_ring import Curve
    from mailcrypt_component.model.settings import TlsMode

__version__ = "0.1.0"

__all__ = [
    "AccountArgs",
    "BindArgs",
    "Curve",
    "Custody",
    "Dialect",
    "DovecotConfig",
    "IndexCache",
    "KeyArgs",
    "KeyRing",
    "MailCryptServer",
    "MailCryptServerArgs",
    "MountArgs",
    "Queue",
    "TlsArgs",
    "TlsMode",
]

_MODULES = {
    "Curve": "model.key_ring",
    "Custody": "model.custody",
    "Dialect": "dialects.dialect",
    "DovecotConfig": "component.dovecot_config",
    "IndexCache": "model.custody",
    "KeyRing": "component.key_ring",
    "MailCryptServer": "component.server",
    "Queue": "model.custody",
    "TlsMode": "model.settings",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES.get(name, "args")
    return getattr(import_module(f"{__name__}.{module}"), name)
