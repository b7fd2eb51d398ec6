"""Reads the ``mailcrypt:*`` configuration of a stack into the component's arguments.

Secrets of the stack's file stay secret: their values become secret Outputs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

import pulumi
from pulumi.runtime import config as runtime_config

from mailcrypt_component.component.outputs import is_mocked, plainly
from mailcrypt_component.component.scope import configured_engine
from mailcrypt_component.docker_api.address import require_engine
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.read_environment import is_decisive
from mailcrypt_component.model.read_settings import read_settings

if TYPE_CHECKING:
    from mailcrypt_component.args import MailCryptServerArgs

_PREFIX: Final = "mailcrypt:"
_SECRET_FIELDS: Final = frozenset({"pem", "password", "passwordHash", "privateKey"})


def args_of_stack() -> MailCryptServerArgs:
    """Return the stack's configuration, checked, with a Docker engine that answers.

    Raises:
        pulumi.RunError: A setting is wrong or unknown (all faults in one
            message), or no engine answers.

    """
    raw = runtime_config.CONFIG.get()
    args = {
        key.removeprefix(_PREFIX): _value(value)
        for key, value in raw.items()
        if key.startswith(_PREFIX) and value
    }
    settings = plainly(read_settings, args)
    if not is_mocked():
        host = settings.docker_host
        plainly(require_engine, DockerHost(host) if host else configured_engine())
    secret = {
        name: _secret(name, value) if runtime_config.is_config_secret(_PREFIX + name) else value
        for name, value in args.items()
    }
    return cast("MailCryptServerArgs", secret)


def _value(text: str) -> Any:
    """Decode a value of the engine, which passes everything but a string as JSON."""
    if text in {"true", "false"} or text[:1] in {"[", "{"}:
        return json.loads(text)
    return int(text) if text.isdecimal() else text


def _secret(name: str, value: Any) -> Any:
    """Return a value of the configuration with its secret parts as Outputs.

    Pulumi marks a whole setting as secret if one value in it is secret.  Names, curves and
    decisive variables have to be known when the graph is declared.
    """
    if name == "environment":
        return {key: part if is_decisive(key) else _hidden(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_secret("", part) for part in value]
    if isinstance(value, dict):
        return {
            key: _hidden(part) if key in _SECRET_FIELDS else _secret("", part)
            for key, part in value.items()
        }
    return value


def _hidden(value: Any) -> pulumi.Output[Any]:
    return pulumi.Output.secret(value)
