"""Judges a survey: one finding for each kind of data, most secret first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailcrypt_component.dialects.dialect import CACHE_DIR
from mailcrypt_component.exposure.finding import Exposed, Finding
from mailcrypt_component.model import dms
from mailcrypt_component.model.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailcrypt_component.exposure.survey import Survey

_ENCRYPTED_DISK: Final = "an encrypted disk for the Docker host"


def judge(survey: Survey, public_pems: Sequence[str]) -> tuple[Finding, ...]:
    """Return the findings on a server.

    Args:
        survey: The survey of the server.
        public_pems: The ring's public keys, by which its private keys are recognised.

    """
    return (_key(survey, public_pems), *(look(survey) for look in _LOOKS))


def _key(survey: Survey, public_pems: Sequence[str]) -> Finding:
    change = "keyCustody: memory, then pulumi up"
    found = survey.ring_keys(public_pems)
    if found:
        return Finding("private key", Exposed.KEY, f"in {', '.join(found)} on a disk", change)
    if survey.deleted_with_key:
        names = ", ".join(survey.deleted_with_key)
        return Finding(
            "private key", Exposed.KEY, f"in deleted files that are still open: {names}", change
        )
    below = [one for one in survey.mounts if one.path.startswith(f"{dms.CERTS_DIR}/")]
    certs = below[0] if below else survey.mount_of(dms.CERTS_DIR)  # Each Swarm secret is a mount.
    seen = f"in no file on a disk; {dms.CERTS_DIR} is {certs.file_system}"
    return Finding("private key", Exposed.NOTHING, f"{seen}, {_listed(certs.options)}")


def _listed(options: Sequence[str]) -> str:
    return "never swapped" if "noswap" in options else "may be swapped"


def _mails(survey: Survey) -> Finding:
    if survey.dovecot is None:
        return Finding("mail", Exposed.UNKNOWN, "doveconf does not answer")
    location = survey.setting("mail_driver") or survey.setting("mail_location") or ""
    driver = location.partition(":")[0]
    if driver != "maildir":
        return Finding(
            "mail",
            Exposed.UNKNOWN,
            f"format {driver or 'not stated'}",
            "remove mail_location and mail_driver from dovecot.cf",
        )
    if not _loads_mail_crypt(survey.dovecot):
        return Finding("mail", Exposed.TEXT, "mail_crypt is not loaded", "pulumi up")
    return Finding(
        "mail",
        Exposed.METADATA,
        "Maildir, encrypted as it is stored; names, sizes, times and flags can be read",
        "mailcrypt audit counts the mail that was stored in clear before",
    )


def _loads_mail_crypt(dovecot: str) -> bool:
    """Tell whether every list of plugins, for all protocols or for one, has mail_crypt.

    Dovecot 2.3 prints a list in one line, 2.4 a switch for each plugin.
    """
    lists = re.findall(r"(?m)^\s*mail_plugins = (.*)$", dovecot)
    switches = re.findall(r"(?m)^\s*mail_crypt = (yes|no)\b", dovecot)
    found = [re.search(r"\bmail_crypt\b", names) is not None for names in lists]
    found += [switch == "yes" for switch in switches]
    return bool(found) and all(found)


def _attachments(survey: Survey) -> Finding:
    for name in ("mail_attachment_dir", "mail_ext_attachment_path"):
        where = survey.setting(name)
        if where:
            return Finding(
                "attachments",
                Exposed.TEXT,
                f"stored apart in {where}",
                f"remove the setting {name}",
            )
    return Finding("attachments", Exposed.NOTHING, "part of their mails")


def _index_cache(survey: Survey) -> Finding:
    change = "indexCache: memory, then pulumi up"
    files, _ = survey.files["index cache"]
    location = f"{survey.setting('mail_cache_path')} {survey.setting('mail_location')}"
    if CACHE_DIR not in location or not survey.mount_of(CACHE_DIR).in_memory:
        return Finding("index cache", Exposed.TEXT, f"on a disk, {counted(files, 'file')}", change)
    if files:
        return Finding(
            "index cache",
            Exposed.TEXT,
            f"in memory now; {counted(files, 'old file')} on the disk",
            f"find {dms.MAIL_DIR} -name dovecot.index.cache -delete",
        )
    return Finding("index cache", Exposed.NOTHING, f"in memory at {CACHE_DIR}")


def _full_text(survey: Survey) -> Finding:
    files, _ = survey.files["full-text index"]
    if survey.dovecot is None:
        return Finding("full-text index", Exposed.UNKNOWN, "doveconf does not answer")
    elsewhere = survey.setting("fts_solr_url") or survey.setting("fts_driver")
    elsewhere = elsewhere or survey.setting("fts") or ""
    change = "remove the fts plugin from dovecot.cf and from files mounted into conf.d"
    if files:
        seen = f"{counted(files, 'file')} below {dms.MAIL_DIR}"
        return Finding("full-text index", Exposed.TEXT, seen, change)
    if elsewhere:
        seen = f"{elsewhere}: its index holds the words of every mail"
        return Finding("full-text index", Exposed.TEXT, seen, change)
    return Finding("full-text index", Exposed.NOTHING, "there is none")


def _queue(survey: Survey) -> Finding:
    mount = survey.mount_of(dms.QUEUE_DIR)
    if mount.in_memory:
        return Finding("Postfix's queue", Exposed.NOTHING, f"in memory at {mount.path}")
    files, _ = survey.files["queue"]
    seen = f"on a disk; {counted(files, 'mail')} in it now, and freed blocks of delivered ones"
    return Finding("Postfix's queue", Exposed.TEXT, seen, f"queue: memory, or {_ENCRYPTED_DISK}")


def _temporary(survey: Survey) -> Finding:
    where = survey.setting("mail_temp_dir") or "/tmp"  # noqa: S108
    on_disk = [
        path
        for path in (where, "/tmp", "/var/tmp")  # noqa: S108
        if not survey.mount_of(path).in_memory
    ]
    if on_disk:
        names = ", ".join(dict.fromkeys(on_disk))
        seen = f"large mails pass {names} on a disk in clear"
        return Finding("temporary files", Exposed.TEXT, seen, "remove the setting mail_temp_dir")
    return Finding("temporary files", Exposed.NOTHING, f"in memory at {where}")


def _filters(survey: Survey) -> Finding:
    seen = []
    for name in ("amavis quarantine", "rspamd history", "redis", "spam filter tokens"):
        files, on_disk = survey.files[name]
        if files and on_disk:
            seen.append(f"{name}: {counted(files, 'file')}")
    if not seen:
        return Finding("filters", Exposed.NOTHING, "no quarantine, history or tokens on a disk")
    return Finding(
        "filters",
        Exposed.TEXT,
        "; ".join(seen),
        f"ENABLE_AMAVIS: 0, ENABLE_RSPAMD: 0, or {_ENCRYPTED_DISK}",
    )


def _archive(survey: Survey) -> Finding:
    if survey.postfix is None:
        return Finding("archive copies", Exposed.UNKNOWN, "postconf does not answer")
    names = ("always_bcc", "sender_bcc_maps", "recipient_bcc_maps")
    found = [f"{name} = {survey.postfix[name]}" for name in names if survey.postfix.get(name)]
    if found:
        seen = f"{'; '.join(found)}: encrypted here if the address is one of this server"
        return Finding("archive copies", Exposed.UNKNOWN, seen, "check the server of that address")
    return Finding("archive copies", Exposed.NOTHING, "Postfix sends none")


def _sieve(survey: Survey) -> Finding:
    files = survey.files["sieve"][0] + survey.files["global sieve"][0]
    if not files:
        return Finding("sieve scripts", Exposed.NOTHING, "there are none")
    seen = f"{counted(files, 'script')}: rules and addresses in clear"
    return Finding("sieve scripts", Exposed.METADATA, seen, _ENCRYPTED_DISK)


def _logs(survey: Survey) -> Finding:
    files, _ = survey.files["logs"]
    seen = f"{counted(files, 'file')} with addresses, times and message ids"
    change = "a shorter LOGROTATE_INTERVAL, or " + _ENCRYPTED_DISK
    return Finding("logs", Exposed.METADATA, seen, change)


def _docker_logs(survey: Survey) -> Finding:
    if survey.log_driver in {"json-file", "local"}:
        seen = f"driver {survey.log_driver}: what the container prints, addresses among it"
        return Finding("Docker's own logs", Exposed.METADATA, seen, _ENCRYPTED_DISK)
    return Finding("Docker's own logs", Exposed.NOTHING, f"driver {survey.log_driver}")


def _folders(_: Survey) -> Finding:
    seen = "addresses and folder names are names of directories"
    return Finding("folder names", Exposed.METADATA, seen, _ENCRYPTED_DISK)


def _swap(survey: Survey) -> Finding:
    if not survey.swaps:
        return Finding("swap", Exposed.NOTHING, "the host has none")
    seen = f"{', '.join(survey.swaps)}: memory of Dovecot, with keys, can be written there"
    return Finding("swap", Exposed.KEY, seen, "swapoff -a on the Docker host")


def _core_dumps(survey: Survey) -> Finding:
    if survey.core_limit is None:
        return Finding("core dumps", Exposed.UNKNOWN, "Dovecot's limits could not be read")
    if survey.core_pattern == "/dev/null":
        return Finding("core dumps", Exposed.NOTHING, "the kernel drops them (/dev/null)")
    if survey.core_limit == "0" and not survey.core_pattern.startswith("|"):
        return Finding("core dumps", Exposed.NOTHING, "Dovecot may write none (limit 0)")
    seen = (
        f"limit {survey.core_limit}, pattern {survey.core_pattern}: a crash writes keys to a disk"
    )
    return Finding("core dumps", Exposed.KEY, seen, "sysctl kernel.core_pattern=/dev/null")


_LOOKS: Final[tuple[Callable[[Survey], Finding], ...]] = (
    _mails,
    _attachments,
    _index_cache,
    _full_text,
    _queue,
    _temporary,
    _filters,
    _archive,
    _swap,
    _core_dumps,
    _sieve,
    _logs,
    _docker_logs,
    _folders,
)
