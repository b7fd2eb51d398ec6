"""The probe's mailbox: opened as its owner does, and empty before and after a proof."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from mailcrypt_component.checks.proof.context import Waiting, wait_for
from mailcrypt_component.checks.proof.imap import TAINT, LoginRefused, opened, way_to
from mailcrypt_component.checks.proof.on_disk import root_of
from mailcrypt_component.model.errors import MailCryptError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from imaplib import IMAP4

    from mailcrypt_component.checks.proof.context import Context
    from mailcrypt_component.checks.proof.server import Server

_ACCOUNT_SECONDS: Final = 4.0
"""For so long DMS may be writing the accounts anew, during which the probe has none."""


@contextmanager
def probe_mailbox(context: Context, server: Server) -> Iterator[IMAP4 | None]:
    """Open the probe's mailbox, empty before and after; a locked one has no session.

    Raises:
        ProofError: The login was refused, or IMAP failed.
        UnreachableError: The deadline has passed.

    """
    with ExitStack() as held:
        client = None
        with ThreadPoolExecutor(1) as pool:
            emptied = pool.submit(_empty, context)
            if server.services.locked:
                _find_account(context)
            else:
                client = _log_in(context, server, held)
            emptied.result()
        held.enter_context(_emptied(context))
        yield client


def _log_in(context: Context, server: Server, held: ExitStack) -> IMAP4:
    start = time.monotonic()
    way = way_to(server.services.imap, context.target.account)

    def look() -> IMAP4 | Waiting:
        try:
            return held.enter_context(opened(context, way))
        except UnreachableError as error:
            return Waiting(f"IMAP does not answer: {error.found}")
        except LoginRefused as error:
            if _is_certain(context, start):
                raise
            return Waiting(error.found)

    return wait_for(context, look, 0.2)


def _find_account(context: Context) -> None:
    """Make sure that Dovecot knows the probe's account, which nobody can log in to now."""
    start = time.monotonic()
    account = context.target.account

    def look() -> Waiting | None:
        if context.run(["doveadm", "user", account]).exit_code == 0:
            return None
        if _is_certain(context, start):
            raise LoginRefused(
                f"the login of {account} would be refused: there is no such account",
                where="doveadm user",
                expected="the probe account",
                hint=TAINT,
            )
        return Waiting(f"there is no account {account}")

    wait_for(context, look, 0.2)


def _is_certain(context: Context, start: float) -> bool:
    return time.monotonic() - start > min(_ACCOUNT_SECONDS, context.target.deadline / 4)


@contextmanager
def _emptied(context: Context) -> Iterator[None]:
    """Empty the mailbox afterwards; a fault found in between takes precedence."""
    try:
        yield
    except BaseException:
        with suppress(MailCryptError):
            _empty(context)
        raise
    _empty(context)


def _empty(context: Context) -> None:
    """Remove every mail of the probe, in every folder, also what killed runs have left.

    The files of a Maildir may be removed behind Dovecot's back.  It works without any key.
    """
    root = root_of(context)
    mails = ["(", "-path", "*/cur/*", "-o", "-path", "*/new/*", ")"]
    argv = ["find", root, "-ignore_readdir_race", "-type", "f", *mails, "-delete"]
    done = context.run(["env", "LC_ALL=C", *argv])
    said = done.stderr.decode(errors="replace").strip()
    if done.exit_code and not said.endswith("No such file or directory"):  # It may not exist yet.
        raise UnreachableError(
            said or f"exit code {done.exit_code}",
            where=f"{root} in {context.where}",
            expected="a mailbox of the probe that can be emptied",
        )
