"""``mailcrypt audit`` reports whether every stored mail is encrypted, and to which key."""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mailcrypt_component.cli.options import require_one, stack_option
from mailcrypt_component.cli.progress import Progress
from mailcrypt_component.model.errors import MailCryptError
from mailcrypt_component.model.words import counted
from mailcrypt_component.store.audit import MEANINGS, Audit, State
from mailcrypt_component.store.local.walk import count, number_of_files

if TYPE_CHECKING:
    from mailcrypt_component.store.tally import Tally

FOUND, NOT_KNOWN = 1, 2
_ACCEPTABLE = ("unknown", "clear", "damaged", "retired", "dbox")
_DAY = 86_400.0


@click.command()
@click.argument("path", required=False)
@stack_option("Audit the mail of this Pulumi stack's server.")
@click.option("--key-id", "key_ids", multiple=True, help="A key of the ring, current one first.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@click.option("--html", type=click.Path(dir_okay=False), help="Write a report page to this file.")
@click.option(
    "--fail-on",
    default="clear,unknown,damaged",
    show_default=True,
    help=f"Exit with 1 if there are any of these: {', '.join(_ACCEPTABLE)}; none never fails.",
)
def audit(
    path: str | None,
    stack: str | None,
    server: str | None,
    key_ids: tuple[str, ...],
    as_json: bool,
    html: str | None,
    fail_on: str,
) -> None:
    """Count every mail of a store by the key that it is encrypted to.

    PATH is a Maildir, or a directory of many such as /var/mail or a backup of it.
    With --stack it is the stack's mail volume, read through the Docker API while the
    server runs.  Nothing is written, followed or decrypted; no key is needed.

    Without --key-id (and --stack) every encrypted mail counts as encrypted, and its key
    ids are listed.

    Mail is not looked at if it cannot be read, is in another format (sdbox, mdbox), or is
    behind a symbolic link that leads out of the store.  An empty Maildir is a
    result: 0 mails.  A path without any Maildir is not.

    Exit codes: 0 nothing of --fail-on was found; 1 something was; 2 not known: there is no
    Maildir, or something could not be looked at (--fail-on none: 0 in this case).
    """
    refused = _states(fail_on)
    require_one("PATH", path, stack, server)
    try:
        with Progress("mails") as progress:
            found = (
                _of_stack(stack, server, bool(html), progress)
                if stack
                else Audit(str(path), _of_path(str(path), bool(html), progress), key_ids)
            )
        if html:
            _write_report(Path(html), found)
    except MailCryptError as error:
        click.echo(f"could not find out: {error}", err=True)
        sys.exit(NOT_KNOWN)
    click.echo(json.dumps(found.as_json(), indent=2) if as_json else _table(found))
    faults = found.faults(refused)
    if faults:
        names = ", ".join(f"{number} {state.value}" for state, number in faults.items())
        click.echo(f"found: {names}", err=True)
        sys.exit(FOUND)
    if refused and found.not_looked_at():
        click.echo("\n  ".join(["not looked at:", *found.tally.not_looked_at()]), err=True)
        sys.exit(NOT_KNOWN)


def _states(fail_on: str) -> list[str]:
    names = [name for name in fail_on.split(",") if name and name != "none"]
    for name in names:
        if name not in _ACCEPTABLE:
            raise click.BadParameter(
                f"{name!r} is none of {', '.join(_ACCEPTABLE)}", param_hint="--fail-on"
            )
    return names


def _of_path(path: str, years: bool, progress: Progress) -> Tally:
    progress.expect(lambda: number_of_files(path))
    return count(path, years=years, maildir_required=True, progress=progress.callback)


def _of_stack(stack: str, name: str | None, years: bool, progress: Progress) -> Audit:
    from mailcrypt_component.cli.stack_state import read_state  # noqa: PLC0415
    from mailcrypt_component.docker_api.connect import connect  # noqa: PLC0415
    from mailcrypt_component.store.volume.census import census  # noqa: PLC0415

    server = read_state(stack).with_engine(name)
    tally = census(
        connect(server.docker_host),
        server.image,
        server.mail,
        deadline=_DAY,
        years=years,
        maildir_required=True,
        progress=progress.callback,
        expect=progress.expect,
    )
    return Audit(server.mail, tally, server.target.key_ids, server.target.version_1_ids)


def _write_report(path: Path, found: Audit) -> None:
    from mailcrypt_component.store.report import report  # noqa: PLC0415

    try:
        path.write_text(report(found, time.time(), platform.node()), encoding="utf-8")
    except OSError as error:
        raise MailCryptError(
            error.strerror or "cannot be written", where=str(path), expected="a file to write"
        ) from None


def _table(found: Audit) -> str:
    states = found.by_state(found.tally.states())
    lines = [f"{counted(found.total, 'mail')} in {found.store}"]
    lines += [f"{number:>10}  {MEANINGS[state]}" for state, number in states.items()]
    keys = found.by_key()
    if keys:
        lines.append("by key id")
        lines += [f"{number:>10}  {_known(found, key)}{key}" for key, number in keys.items()]
    lines.append("by user and folder")
    for mailbox, counts in sorted(found.tally.mailboxes.items()):
        shares = ", ".join(f"{n} {state.value}" for state, n in found.by_state(counts).items())
        lines.append(f"            {mailbox.user} {mailbox.folder}: {shares}")
    for state, paths in found.examples().items():
        if state not in {State.CURRENT, State.RETIRED, State.ENCRYPTED}:
            lines.append(f"examples of {MEANINGS[state]}")
            lines += [f"            {path}" for path in paths]
    return "\n".join(lines)


def _known(found: Audit, key: str) -> str:
    if not found.key_ids:
        return ""
    return f"{found.state(key).value} "
