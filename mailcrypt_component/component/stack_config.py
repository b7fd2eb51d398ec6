"""Read the ``mailcrypt:*`` configuration of a stack into the component's arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

import pulumi
from pulumi.runtime import config as runtime_config

from mailcrypt_component.docker_api.address import require_engine
from mailcrypt_component.model.docker_host import DockerHost
from mailcrypt_component.model.errors import MailCryptError
from mailcrypt_component.model.read_settings import read_settings

if TYPE_CHECKING:
    from mailcrypt_component.args import MailCryptServerArgs

_PREFIX: Final = "mailcrypt:"


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
    try:
        require_engine(DockerHost(read_settings(args).docker_host))
    except MailCryptError as error:
        raise pulumi.RunError(str(error)) from None
    return cast("MailCryptServerArgs", args)


def _value(text: str) -> Any:
    """Undo what the engine does to values: everything but a string travels as JSON."""
    if text in {"true", "false"} or text[:1] in {"[", "{"}:
        return json.loads(text)
    return int(text) if text.isdecimal() else text
