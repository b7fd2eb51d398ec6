"""What of a server's data is encrypted and what is not, for the server as it is configured.

mail_crypt encrypts mails and nothing else.  This asks Dovecot for its settings and looks at
what lies there; it changes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from docker.models.containers import Container


@dataclass(frozen=True, slots=True)
class Cover:
    """One kind of data: whether it is encrypted, what was seen, and what would change it."""

    part: str
    encrypted: bool
    seen: str
    change: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


_QUESTIONS: Final = {
    "driver": "doveconf -h mail_driver 2>/dev/null || doveconf -h mail_location",
    "lmtp": "doveconf -f protocol=lmtp mail_plugins",
    "shared": "doveconf mail_plugins",
    "attachments": "doveconf -h mail_attachment_dir 2>/dev/null"
    " || doveconf -h mail_ext_attachment_path",
    "caches": f"find {dms.MAIL_DIR} -name dovecot.index.cache -size +0 | wc -l",
    "fts": f"find {dms.MAIL_DIR} ( -name fts-flatcurve -o -name xapian-indexes"
    " -o -name lucene-indexes -o -name dovecot.index.search ) | wc -l",
    "sieve": f"find {dms.MAIL_DIR} {dms.CONFIG_DIR} -name *.sieve | wc -l",
    "queue": "find -L /var/spool/postfix/incoming /var/spool/postfix/active"
    " /var/spool/postfix/deferred /var/spool/postfix/hold /var/spool/postfix/maildrop"
    " -type f | wc -l",
    "quarantine": "find -L /var/lib/amavis/virusmails -type f | wc -l",
    "logs": f"find {dms.LOG_DIR} -type f -size +0 | wc -l",
}
_MARK: Final = "@@"


def coverage(container: Container, *, timeout: float) -> tuple[Cover, ...]:
    """Return what is encrypted and what is not.

    Raises:
        UnreachableError: The container did not answer.

    """
    script = "; ".join(
        ["set -f", *(f"echo {_MARK}{name}; {ask} 2>/dev/null" for name, ask in _QUESTIONS.items())]
    )
    script = script.replace(" ( ", " \\( ").replace(" ) ", " \\) ")
    result = execute(container, ["sh", "-c", script], timeout=timeout)
    answers = dict.fromkeys(_QUESTIONS, "")
    for section in result.stdout.decode(errors="replace").split(_MARK)[1:]:
        name, _, body = section.partition("\n")
        answers[name] = body.strip()
    if not answers["driver"]:
        raise UnreachableError(
            result.stderr.decode(errors="replace").strip() or "doveconf said nothing",
            where=f"container {container.name}",
            expected="a running docker-mailserver",
        )
    return tuple(look(answers) for look in _LOOKS)


def _mails(answers: Mapping[str, str]) -> Cover:
    driver = answers["driver"].partition(":")[0] or "auto"
    loaded = "mail_crypt" in answers["lmtp"] + answers["shared"]
    encrypted = loaded and driver not in {"mbox", "mbx"}
    change = "" if encrypted else "the component's own configuration, undisturbed"
    return Cover("mails", encrypted, f"{driver}, mail_crypt {'on' if loaded else 'off'}", change)


def _attachments(answers: Mapping[str, str]) -> Cover:
    where = answers["attachments"]
    if not where:
        return Cover("attachments", True, "they stay in their mails")
    return Cover("attachments", False, f"kept apart in {where}", "unset it, or use fs-crypt for it")


def _counted(
    part: str, name: str, none: str, some: str, change: str
) -> Callable[[Mapping[str, str]], Cover]:
    def look(answers: Mapping[str, str]) -> Cover:
        number = int(answers[name]) if answers[name].isdecimal() else 0
        seen = some.format(number) if number else none
        return Cover(part, False, seen, change)

    return look


def _fts(answers: Mapping[str, str]) -> Cover:
    number = int(answers["fts"]) if answers["fts"].isdecimal() else 0
    if not number:
        return Cover("full-text index", True, "there is none")
    return Cover(
        "full-text index",
        False,
        f"{number} of them",
        "take the full-text plugin out of dovecot.cf and of files mounted into conf.d",
    )


_LOOKS: Final[tuple[Callable[[Mapping[str, str]], Cover], ...]] = (
    _mails,
    _attachments,
    _fts,
    _counted(
        "index cache",
        "caches",
        "none yet; it is made when a client looks",
        "{} files with subjects, addresses and snippets",
        "keep indexes in memory, or on a disk of their own that is encrypted",
    ),
    _counted(
        "Postfix's queue",
        "queue",
        "empty now",
        "{} mails wait in it",
        "an encrypted disk below the state volume; it empties as mail is delivered",
    ),
    _counted(
        "Amavis's quarantine",
        "quarantine",
        "empty now",
        "{} mails that it held back",
        "ENABLE_AMAVIS: 0, or an encrypted disk below the state volume",
    ),
    _counted(
        "sieve scripts",
        "sieve",
        "there are none",
        "{} scripts",
        "an encrypted disk below the mail volume",
    ),
    _counted(
        "logs",
        "logs",
        "there are none",
        "{} files with addresses and times, no mail text",
        "a shorter LOGROTATE_INTERVAL in DMS, or an encrypted disk below the log volume",
    ),
)
