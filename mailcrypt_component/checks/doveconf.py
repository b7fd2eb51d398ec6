"""Ask a container's Dovecot how it sees its own configuration.

Used by the preflight gate in a throw-away container and by the proof in the
running one.  Each question raises the error class it is given, so that the
message says which of the two found the fault.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailcrypt_component.model import dms
from mailcrypt_component.model.dialects import Dialect, of_version
from mailcrypt_component.model.errors import MailCryptError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailcrypt_component.docker_api.run import Result

_SECTIONS: Final = ("version", "load", "global", *dms.PROTOCOLS)
_MARK: Final = "@@"
_SCRIPT = "; ".join(
    [
        f"echo {_MARK}version; dovecot --version 2>&1",
        f"echo {_MARK}load; doveconf -n 2>&1 >/dev/null || echo exit code $?",
        f"echo {_MARK}global; doveconf mail_plugins 2>&1",
        *(
            f"echo {_MARK}{name}; doveconf -f protocol={name} mail_plugins 2>&1"
            for name in dms.PROTOCOLS
        ),
    ]
)
QUESTION: Final = ("sh", "-c", _SCRIPT)
"""The command whose result ``judge`` takes; to be run where the configuration is in place."""


def judge(result: Result, dialect: Dialect, error: type[MailCryptError], *, where: str) -> str:
    """Check version, configuration and plugins; return Dovecot's version.

    Args:
        result: What ``QUESTION`` left behind.
        dialect: What the configuration was compiled for.
        error: Raised where an answer is not the right one.
        where: The container's name.

    Raises:
        UnreachableError: There is no Dovecot to ask.

    """
    answers = _answers(result.stdout)
    version = (answers["version"].split() or [""])[0]
    if not re.fullmatch(r"\d+\.\d+\..*", version):
        raise UnreachableError(
            answers["version"] or "no answer",
            where=f"dovecot --version in {where}",
            expected="a docker-mailserver image, with Dovecot in it",
            hint="check mailcrypt:image",
        )
    _check_dialect(version, dialect, error)
    _check_load(answers["load"], error)
    _check_plugins(answers, error)
    return version


def _answers(printed: bytes) -> Mapping[str, str]:
    answers = dict.fromkeys(_SECTIONS, "")
    for section in printed.decode(errors="replace").split(_MARK)[1:]:
        name, _, body = section.partition("\n")
        answers[name.strip()] = body.strip()
    return answers


def _check_dialect(version: str, dialect: Dialect, error: type[MailCryptError]) -> None:
    found = of_version(version)
    if found is not dialect:
        raise error(
            f"the image carries Dovecot {version}, the configuration is for {dialect.value}",
            where="dialect",
            expected=f"dialect {found.value} for this image",
            hint="remove the setting dialect, or state the right one",
        )


def _check_load(answer: str, error: type[MailCryptError]) -> None:
    if "Fatal:" in answer or "exit code" in answer:
        raise error(
            answer,
            where="doveconf -n",
            expected="a configuration that Dovecot accepts",
            hint="look at dovecot.cf in the configuration folder and at files mounted into conf.d",
        )


def _check_plugins(answers: Mapping[str, str], error: type[MailCryptError]) -> None:
    """Look at each protocol's own list: the global one hides what LMTP loads."""
    missing = [name for name in dms.PROTOCOLS if not _loads(answers[name], answers["global"])]
    if missing:
        raise error(
            f"mail_crypt is not loaded by {', '.join(missing)}: mail stored by it lies in clear",
            where="mail_plugins, seen by doveconf -f protocol=…",
            expected=f"mail_crypt in each of {', '.join(dms.PROTOCOLS)}",
            hint="take mail_plugins out of dovecot.cf and out of files mounted into conf.d",
        )


def _loads(own: str, shared: str) -> bool:
    """Tell from doveconf's answers; Dovecot 2.4 prints what a protocol adds only."""
    if "{" not in own:
        return re.search(r"\bmail_crypt\b", own) is not None
    state = re.search(r"\bmail_crypt = (yes|no)\b", own) or re.search(
        r"\bmail_crypt = (yes|no)\b", shared
    )
    return state is not None and state.group(1) == "yes"
