"""Reads docker-mailserver's own variables, and the TLS settings that depend on them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.model.raw_settings import fields_of, shown
from mailcrypt_component.model.settings import TlsMode, TlsSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailcrypt_component.model.raw_settings import RawSettings

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SET_BY_TLS: Final = frozenset({"SSL_TYPE", "SSL_CERT_PATH", "SSL_KEY_PATH"})
_REQUIRED: Final = {
    "ACCOUNT_PROVISIONER": ("FILE",),
    "DOVECOT_INET_PROTOCOLS": ("all", "ipv4"),
    "DOVECOT_MAILBOX_FORMAT": ("maildir",),
    "ENABLE_IMAP": ("1",),
    "POSTFIX_DAGENT": ("", "lmtp:unix:/var/run/dovecot/lmtp"),
    "SMTP_ONLY": ("0",),
}
"""Variables with the values that the proof needs, DMS's default first."""
_FORMS: Final = {
    "LOGROTATE_COUNT": (r"[0-9]+", "a number"),
    "LOGROTATE_INTERVAL": (r"daily|weekly|monthly", "daily, weekly or monthly"),
    "OVERRIDE_HOSTNAME": (r"\S+\.\S+", "a full host name"),
    "SSL_TYPE": (
        r"letsencrypt|manual|self-signed|custom|snakeoil",
        "letsencrypt, manual, self-signed or custom",
    ),
}
"""Variables with the forms of value without which docker-mailserver stops at its start."""

_DECISIVE: Final = frozenset({*_REQUIRED, *_FORMS, *_SET_BY_TLS, "ENABLE_FAIL2BAN"})


def is_decisive(name: str) -> bool:
    """Tell whether a variable has to be known before the graph can be declared."""
    return name.removesuffix("__FILE") in _DECISIVE


def read_environment(raw: RawSettings) -> Mapping[str, Any]:
    """Read the variables as texts."""
    chosen: dict[str, Any] = {}
    ours = _tls_mode_stated(raw) not in {None, TlsMode.DMS.value}
    for name, value in raw.typed("environment", dict, default={}).items():
        where = f"environment.{name}"
        if not _NAME.fullmatch(name):
            raw.fault(where, "not a variable's name", "letters, digits and _")
        if not raw.later(value) and (isinstance(value, bool) or not isinstance(value, (str, int))):
            raw.fault(where, shown(value), "a text or a whole number")
        if name in _SET_BY_TLS and ours and value != "":
            raw.fault(where, "a value that the setting tls decides", "no value, or tls.mode: dms")
        chosen[name] = value if raw.later(value) else str(value)
    _check_required(raw, chosen)
    _check_forms(raw, chosen)
    return chosen


def _check_required(raw: RawSettings, chosen: Mapping[str, Any]) -> None:
    for name, fits in _REQUIRED.items():
        value = chosen.get(name) or fits[0]  # DMS uses its default if it is empty, too.
        if raw.later(value) or value.lower() in {fit.lower() for fit in fits}:
            continue
        raw.fault(
            f"environment.{name}",
            shown(value),
            f"{' or '.join(filter(None, fits))}: the proof needs an account of its own, "
            "LMTP, IMAP over IPv4 and Maildir",
        )


def _check_forms(raw: RawSettings, chosen: Mapping[str, Any]) -> None:
    for name, (form, expected) in _FORMS.items():
        value = chosen.get(name)
        if value and not raw.later(value) and not re.fullmatch(form, value):
            raw.fault(f"environment.{name}", shown(value), expected)


def read_tls(raw: RawSettings) -> TlsSettings:
    """Read the TLS mode and the provided certificate."""
    fields = fields_of(raw.typed("tls", dict, default={}))
    raw.refuse_unknown(fields, ("mode", "certificate", "private_key"), "tls.")
    default = TlsMode.PROVIDED if "certificate" in fields else _tls_of_environment(raw)
    mode = raw.choice("tls.mode", fields.get("mode"), TlsMode, default)
    given = {"certificate", "private_key"} & fields.keys()
    if mode is TlsMode.PROVIDED and len(given) < 2:  # noqa: PLR2004
        raw.fault("tls", "certificate or privateKey is missing", "both, as PEM")
    if mode is not TlsMode.PROVIDED and given:
        raw.fault("tls", f"mode {mode.value} with a certificate", "mode provided")
    return TlsSettings(mode, fields.get("certificate"), fields.get("private_key"))


def _tls_mode_stated(raw: RawSettings) -> Any:
    tls = raw.get("tls")
    return tls.get("mode") if isinstance(tls, dict) else None


def _tls_of_environment(raw: RawSettings) -> TlsMode:
    """Return the default mode: dms with SSL_TYPE, without which DMS accepts passwords in clear."""
    environment = raw.get("environment")
    if not isinstance(environment, dict):
        return TlsMode.SELF_SIGNED
    stated = environment.get("SSL_TYPE") or environment.get("SSL_TYPE__FILE")
    return TlsMode.DMS if stated else TlsMode.SELF_SIGNED
