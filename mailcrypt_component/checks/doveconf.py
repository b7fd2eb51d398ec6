"""Asks a container's Dovecot how it reads its own configuration.

The preflight gate asks in a throw-away container, the proof in the running one.  Each passes
the error class to raise, so that the message says which of the two found the fault.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailcrypt_component.checks.health import Listener, listeners
from mailcrypt_component.dialects.dialect import LOCKED_SERVICE, Dialect, of_version
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import MailCryptError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailcrypt_component.docker_api.run import Result

_QUESTIONS: Final = {
    "version": "dovecot --version 2>&1",
    "load": "doveconf -nx 2>&1 >/dev/null || echo exit code $?",
    "global": "doveconf mail_plugins 2>&1",
    **{name: f"doveconf -f protocol={name} mail_plugins 2>&1" for name in dms.PROTOCOLS},
    "protocols": "doveconf protocols 2>&1",
    "login": "doveconf service/imap-login 2>&1",
    "session": "doveconf -h service/imap/executable 2>&1",
}
_MARK: Final = "@@"
_END: Final = "end"
QUESTION: Final = (
    "sh",
    "-c",
    "; ".join(f"echo {_MARK}{name}; {command}" for name, command in _QUESTIONS.items())
    + f"; echo {_MARK}{_END}",
)
"""The command whose result ``judge`` and ``services`` take, run where the configuration lies."""


@dataclass(frozen=True, slots=True)
class Services:
    """What a running server's Dovecot is configured to offer.

    ``protocols`` are those of ``lmtp`` and ``imap`` that it runs, ``imap`` IMAP's open
    listeners, ``locked`` whether logins are refused because the private keys are missing.
    """

    protocols: frozenset[str]
    imap: tuple[Listener, ...]
    locked: bool


def services(result: Result) -> Services:
    """Return what Dovecot offers, as ``QUESTION`` found it."""
    answers = _answers(result.stdout)
    named = re.findall(r"\b(lmtp|imap)\b(?! = no)", answers["protocols"])
    return Services(
        protocols=frozenset(named),
        imap=tuple(listener for listener in listeners(answers["login"]) if listener.port),
        locked=LOCKED_SERVICE in answers["session"],
    )


_MISSING_KEY: Final = (
    "mailcrypt unlock --stack STACK brings the key files back (repair with keyCustody: disk)"
)


def judge(
    result: Result,
    dialect: Dialect,
    error: type[MailCryptError],
    *,
    where: str,
    unloaded: type[MailCryptError] | None = None,
) -> str:
    """Check version, configuration and plugins; return Dovecot's version.

    Args:
        result: What ``QUESTION`` printed.
        dialect: What the configuration was compiled for.
        error: Raised if an answer is wrong.
        where: The container's name.
        unloaded: Raised instead of ``error`` if a protocol would store mail in clear.

    Raises:
        UnreachableError: The container has no Dovecot, or its answer was cut off.

    """
    answers = _answers(result.stdout)
    if _END not in answers:
        raise UnreachableError(
            f"the answer was cut off (exit code {result.exit_code})",
            where=f"doveconf in {where}",
            expected="an answer to every question",
            hint="run it again; docker ps shows whether the container runs",
        )
    version = (answers["version"].split() or [""])[0]
    if not re.fullmatch(r"\d+\.\d+\..*", version):
        raise UnreachableError(
            answers["version"] or "no answer",
            where=f"dovecot --version in {where}",
            expected="a docker-mailserver image, which contains Dovecot",
            hint="check mailcrypt:image",
        )
    _check_dialect(version, dialect, error)
    _check_load(answers["load"], error)
    _check_plugins(answers, unloaded or error)
    return version


def _answers(printed: bytes) -> Mapping[str, str]:
    answers = dict.fromkeys(_QUESTIONS, "")
    for section in printed.decode(errors="replace").split(_MARK)[1:]:
        name, _, body = section.partition("\n")
        answers[name.strip()] = body.strip()
    return answers


def _check_dialect(version: str, dialect: Dialect, error: type[MailCryptError]) -> None:
    found = of_version(version)
    if found is not dialect:
        raise error(
            f"the image contains Dovecot {version}, the configuration is for {dialect.value}",
            where="dialect",
            expected=f"dialect {found.value} for this image",
            hint="remove the setting dialect, or set the right one",
        )


def _check_load(answer: str, error: type[MailCryptError]) -> None:
    if "Fatal:" in answer or "exit code" in answer:
        raise error(
            answer,
            where="doveconf -nx",
            expected="a configuration that Dovecot accepts",
            hint=_MISSING_KEY
            if f"open({dms.CERTS_DIR}/" in answer
            else "check dovecot.cf in the configuration folder and files mounted into conf.d",
        )


def _check_plugins(answers: Mapping[str, str], error: type[MailCryptError]) -> None:
    """Check each protocol's own list: the global one hides what LMTP loads."""
    missing = [name for name in dms.PROTOCOLS if not _loads(answers[name], answers["global"])]
    if missing:
        raise error(
            f"mail_crypt is not loaded by {', '.join(missing)}: mail stored by it lies in clear",
            where="mail_plugins, as doveconf -f protocol=… prints it",
            expected=f"mail_crypt in each of {', '.join(dms.PROTOCOLS)}",
            hint="remove mail_plugins from dovecot.cf and from files mounted into conf.d",
        )


def _loads(own: str, shared: str) -> bool:
    """Return whether a protocol loads the plugin; Dovecot 2.4 prints only what it adds."""
    if "{" not in own:
        return re.search(r"\bmail_crypt\b", own) is not None
    state = re.search(r"\bmail_crypt = (yes|no)\b", own) or re.search(
        r"\bmail_crypt = (yes|no)\b", shared
    )
    return state is not None and state.group(1) == "yes"
