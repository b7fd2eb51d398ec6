"""``mailcrypt adopt``: take over a server that was set up by hand."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import yaml

from mailcrypt_component.adopt.setup import Adopted, read_setup
from mailcrypt_component.adopt.stored_mail import report, unopened
from mailcrypt_component.model.errors import MailCryptError, SettingsError, UnreachableError
from mailcrypt_component.model.key_ring import Curve
from mailcrypt_component.model.read_settings import read_settings
from mailcrypt_component.model.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mailcrypt_component.model.key_ring import RingKey

UNOPENED, FAILED = 1, 2
_PREFIX: Final = "mailcrypt:"
_EXISTS: Final = "already exists"


class _MissingKeyError(MailCryptError):
    """Stored mail is encrypted to a key that was not found."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--stack", required=True, help="The Pulumi stack that takes it over.")
@click.option("--service", help="The mail server's service, if the project has several.")
@click.option("--apply", is_flag=True, help="Make the stack and write its file.")
def adopt(folder: Path, stack: str, service: str | None, apply: bool) -> None:
    """Take over a docker-mailserver whose mail_crypt was set up by hand.

    FOLDER has the compose file.  Mail, accounts and configuration stay where they lie; the
    keys and passwords become secrets of the stack.  Without --apply it shows what it found,
    counts the stored mail, and says what is not taken over.  The running server is never
    touched.

    Exit codes: 0 shown or written; 1 a key for stored mail is missing, nothing was written;
    2 nothing was written.
    """
    try:
        found = read_setup(folder, stack, service)
        _check(found)
        click.echo(_shown(found))
        if number := unopened(found.mail):
            raise _MissingKeyError(
                f"no key was found for {counted(number, 'mail')}",
                where=found.mail.store,
                expected="the private key of every key id above",
                hint="name the missing key in Dovecot's configuration as a further private key "
                "(mail_crypt_global_private_key2, or crypt_global_private_key old { … })",
            )
        if apply:
            path = _write(stack, found)
            click.echo(f"\nwritten to {path}, keys and passwords as secrets; go on with")
        else:
            click.echo("\nnothing was written; --apply makes the stack; then go on with")
        click.echo(_steps(found))
    except MailCryptError as error:
        click.echo(f"nothing was written: {error}", err=True)
        sys.exit(UNOPENED if isinstance(error, _MissingKeyError) else FAILED)


def _check(found: Adopted) -> None:
    """Check what the stack would have as its settings, with everything secret in them."""
    environment = {**found.settings["environment"], **found.secrets}
    keys = [{"name": key.name, "pem": key.private_pem} for key in found.keys]
    read_settings({**found.settings, "environment": environment, "keys": keys})


def _shown(found: Adopted) -> str:
    lines = [f"key {key.name}  {key.kind}  {key.key_id}" for key in found.keys]
    lines[0] += "  (current)"
    masked = dict.fromkeys(found.secrets, "[secret]")
    settings = {**found.settings, "environment": {**found.settings["environment"], **masked}}
    lines.append(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).strip())
    lines += report(found.mail)
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])


def _steps(found: Adopted) -> str:
    return "\n".join(f"  {command}\n      # {reason}" for command, reason in found.steps)


def _write(stack: str, found: Adopted) -> Path:
    """Make the stack and write its file; undo all of it where anything fails."""
    path = _stack_file(stack)
    before = path.read_bytes() if path.exists() else None
    if before and _PREFIX in before.decode():
        raise SettingsError(
            "it has settings already",
            where=str(path),
            expected="a stack without settings",
            hint="choose another name for the stack",
        )
    with _undone_on_failure(stack, [path, *found.files]) as undo_stack:
        undo_stack[0] = _make_stack(stack)
        for file, text in found.files.items():
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        _write_settings(path, found)
        for place, value in _secrets(found):
            _set_secret(stack, place, value)
    return path


@contextmanager
def _undone_on_failure(stack: str, paths: list[Path]) -> Iterator[list[bool]]:
    """Restore files, and remove the stack if it was made, when the body fails.

    Yields a list whose only entry says whether the stack was made.
    """
    before = {path: path.read_bytes() if path.exists() else None for path in paths}
    made = [False]
    try:
        yield made
    except BaseException as error:
        if made[0]:
            _pulumi("stack", "rm", "--yes", "--stack", stack)
        for path, content in before.items():
            _restore(path, content)
        if isinstance(error, OSError):
            raise UnreachableError(
                error.strerror or "cannot be written", where=str(error.filename)
            ) from None
        raise


def _restore(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)
        return
    path.unlink(missing_ok=True)
    if path.parent.is_dir() and path.parent.name == "mailcrypt-adopted":
        path.parent.rmdir()


def _make_stack(stack: str) -> bool:
    """Make the stack; return whether it is new."""
    try:
        _pulumi("stack", "init", stack, "--no-select")
    except UnreachableError as error:
        if _EXISTS in error.found:
            return False
        raise
    return True


def _write_settings(path: Path, found: Adopted) -> None:
    content: dict[str, Any] = {}
    if path.exists():
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    keys = [{"name": key.name, **_curve(key)} for key in found.keys]
    settings = {f"{_PREFIX}{name}": value for name, value in _plain(found.settings).items()}
    content["config"] = {**content.get("config", {}), **settings, f"{_PREFIX}keys": keys}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without empty ones; no ports at all is a choice, though."""
    return {name: value for name, value in settings.items() if value or name == "ports"}


def _secrets(found: Adopted) -> Iterator[tuple[str, str]]:
    for number, key in enumerate(found.keys):
        yield f"keys[{number}].pem", key.private_pem
    for name, value in found.secrets.items():
        yield f"environment.{name}", value


def _set_secret(stack: str, place: str, value: str) -> None:
    path = f"{_PREFIX}{place}"
    options = ("--secret", "--path", "--raw", "--stack", stack)
    _pulumi("config", "set", *options, path, stdin=value)


def _stack_file(stack: str) -> Path:
    try:
        project = yaml.safe_load(Path("Pulumi.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        raise SettingsError(
            "no Pulumi.yaml", where=str(Path.cwd()), expected="the folder of the project"
        ) from None
    return Path(project.get("stackConfigDir", ".")) / f"Pulumi.{stack}.yaml"


def _pulumi(*argv: str, stdin: str = "") -> None:
    try:
        command = ["pulumi", "--non-interactive", *argv]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise UnreachableError(
            "pulumi is not on PATH", where="adopt", hint='eval "$(engine/setup env)"'
        ) from None
    if done.returncode:
        raise UnreachableError(done.stderr.strip(), where=f"pulumi {argv[0]} {argv[1]}")


def _curve(key: RingKey) -> dict[str, str]:
    """Return the setting that states a key's curve; a retired key of another kind has none."""
    return {"curve": key.kind} if key.kind in set(Curve) else {}
