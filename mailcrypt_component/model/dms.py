"""The contract of docker-mailserver (DMS) that this project relies on.

It consists of paths, names and the files that DMS's ``setup`` command writes.  Values only:
this module asks no server.  Source: docker-mailserver's documentation and its start-up
scripts, releases 15.1 and 16.
"""

from __future__ import annotations

import re
from typing import Final

from mailcrypt_component.dialects.dialect import Dialect

CONFIG_DIR: Final = "/tmp/docker-mailserver"  # noqa: S108  (DMS's fixed path in the container)
MAIL_DIR: Final = "/var/mail"
STATE_DIR: Final = "/var/mail-state"
LOG_DIR: Final = "/var/log/mail"
CERTS_DIR: Final = "/certs"
TLS_DIR: Final = "/etc/mailcrypt-tls"

SUPERVISOR_CONF: Final = "/etc/supervisor/conf.d/mailcrypt.conf"

STORAGE_CONF: Final = "/etc/dovecot/conf.d/99-mailcrypt.conf"
"""Dovecot reads it after DMS's own files, which set the place of mail."""

CUSTOM_CONF: Final = "/etc/dovecot/conf.d/10-custom.conf"
"""Dovecot reads it before ``10-mail.conf`` and every protocol's file, which add plugins to ours."""

QUEUE_DIR: Final = f"{STATE_DIR}/spool-postfix"
"""DMS moves Postfix's queue here."""

LOCAL_CONF: Final = "/etc/dovecot/local.conf"
"""DMS copies ``dovecot.cf`` of the configuration folder here; Dovecot reads it last."""

ACCOUNTS_FILE: Final = "postfix-accounts.cf"
RECEIVE_ACCESS_FILE: Final = "postfix-receive-access.cf"
ALIASES_FILE: Final = "postfix-virtual.cf"
STARTED: Final = "is up and running"
"""DMS prints it when it has written every file and started every service."""
DOVECOT_LOG: Final = "/var/log/supervisor/dovecot.log"
"""The output of Dovecot before it has opened its own log."""

DOVECOT_RUN_DIR: Final = "/run/dovecot"
MASTER_PID: Final = f"{DOVECOT_RUN_DIR}/master.pid"

HEALTH_PATH: Final = "/usr/local/lib/mailcrypt/health.py"
"""The path of the health check's program (``checks/health.py``) in the container."""

HEALTH_CHECK: Final = ("CMD", "python3", "-I", HEALTH_PATH)
"""DMS's own health check asks the supervisor, which does not notice a crash loop of Dovecot."""

PORTS: Final = {"smtp": 25, "submissions": 465, "submission": 587, "imap": 143, "imaps": 993}
"""Container ports by service name (RFC 6335 names)."""

MESSAGE_SIZE_LIMIT: Final = 10_240_000
"""DMS's default for the largest mail, in bytes."""

PROTOCOLS: Final = ("lmtp", "lda", "imap", "pop3")
"""Every protocol of Dovecot that writes or reads mail."""

_DIALECT_OF_MAJOR = {**dict.fromkeys(range(12, 16), Dialect.V2_3), 16: Dialect.V2_4}
_TAG = re.compile(
    r"(?:(?:docker\.io/)?mailserver|ghcr\.io/docker-mailserver)"
    r"/docker-mailserver:v?(\d+)(?:\.\d+)*"
)
"""DMS's own releases; any other build may contain another Dovecot."""


def dialect_of_tag(image: str) -> Dialect | None:
    """Return the dialect of a released DMS tag; None if only the image can tell."""
    found = _TAG.fullmatch(image)
    return _DIALECT_OF_MAJOR.get(int(found.group(1))) if found else None
