"""``mailcrypt adopt``: take over a set-up that was made by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from mailcrypt_component.adopt.compose import Adopted, read_setup
from mailcrypt_component.model.errors import MailCryptError, SettingsError, UnreachableError
from mailcrypt_component.model.key_ring import Curve
from mailcrypt_component.model.read_settings import read_settings

if TYPE_CHECKING:
    from mailcrypt_component.model.key_ring import RingKey

FAILED = 2
_PREFIX = "mailcrypt:"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--stack", required=True, help="The Pulumi stack that takes it over.")
@click.option("--apply", is_flag=True, help="Make the stack and write its file.")
def adopt(folder: Path, stack: str, apply: bool) -> None:
    """Take over a docker-mailserver whose mail_crypt was set up by hand.

    FOLDER has the compose file.  Mail, accounts and configuration stay in their
    folders, the keys go into the stack's file as secrets.  Without --apply it only
    shows what it found and what would change; the running server is never touched.

    Exit codes: 0 shown or written; 2 nothing was written.
    """
    try:
        found = read_setup(folder)
        settings = {**found.settings, "keys": [_public_part(key) for key in found.keys]}
        read_settings(
            {**settings, "keys": [{"name": k.name, "pem": k.private_pem} for k in found.keys]}
        )
        click.echo(_shown(found))
        if apply:
            path = _write(stack, settings, found)
            click.echo(f"written to {path}, the keys as secrets; now stop the old server:")
            click.echo(f"  docker compose stop && pulumi up --stack {stack}")
        else:
            click.echo("nothing was written; --apply makes the stack")
    except MailCryptError as error:
        click.echo(f"nothing was written: {error}", err=True)
        sys.exit(FAILED)


def _public_part(key: RingKey) -> dict[str, Any]:
    curve = {"curve": key.kind} if key.kind in set(Curve) else {}
    return {"name": key.name, **curve}


def _shown(found: Adopted) -> str:
    lines = [f"key {key.name}  {key.kind}  {key.key_id}" for key in found.keys]
    lines[0] += "  (current)"
    for name, value in found.settings.items():
        if value:
            text = yaml.safe_dump(value, default_flow_style=False).removesuffix("...\n").strip()
            lines.append(f"{name}: {text}" if "\n" not in text else f"{name}:\n{_indented(text)}")
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _write(stack: str, settings: dict[str, Any], found: Adopted) -> Path:
    """Make the stack and write its file; nothing is left of it where that fails."""
    path = _stack_file(stack)
    before = path.read_bytes() if path.exists() else None
    if before and _PREFIX in before.decode():
        raise SettingsError(
            "it has settings already",
            where=str(path),
            expected="a stack of its own",
            hint="choose another name for the stack",
        )
    try:
        _pulumi("stack", "init", stack, "--no-select", unless="already exists")
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
        content = content or {}
        config = {f"{_PREFIX}{name}": value for name, value in settings.items() if value}
        content["config"] = {**content.get("config", {}), **config}
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        for number, key in enumerate(found.keys):
            place = f"{_PREFIX}keys[{number}].pem"
            secret = ("config", "set", "--secret", "--path", place, "--stack", stack)
            _pulumi(*secret, stdin=key.private_pem)
    except (MailCryptError, OSError):
        if before is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(before)
        raise
    return path


def _stack_file(stack: str) -> Path:
    try:
        project = yaml.safe_load(Path("Pulumi.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        raise SettingsError(
            "no Pulumi.yaml", where=str(Path.cwd()), expected="the folder of the project"
        ) from None
    return Path(project.get("stackConfigDir", ".")) / f"Pulumi.{stack}.yaml"


def _pulumi(*argv: str, stdin: str = "", unless: str = "") -> None:
    try:
        command = ["pulumi", *argv]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise UnreachableError(
            "pulumi is not on PATH", where="adopt", hint='eval "$(engine/setup env)"'
        ) from None
    if done.returncode and not (unless and unless in done.stderr):
        raise UnreachableError(done.stderr.strip(), where=f"pulumi {argv[0]} {argv[1]}")
