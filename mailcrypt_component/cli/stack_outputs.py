"""Read a stack's outputs through the pulumi command."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from mailcrypt_component.errors import UnreachableError


def stack_outputs(stack: str) -> dict[str, Any]:
    """Return all outputs of a stack, secrets in clear.

    Raises:
        UnreachableError: pulumi is not there, or does not know the stack, or
            could not decrypt its secrets.

    """
    argv = ["pulumi", "stack", "output", "--json", "--show-secrets", "--stack", stack]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise UnreachableError(
            "pulumi is not on PATH", where=f"stack {stack}", hint='eval "$(engine/setup env)"'
        ) from None
    if done.returncode:
        raise UnreachableError(
            done.stderr.strip(), where=f"stack {stack}", hint=f"make up STACK={stack}"
        )
    outputs: dict[str, Any] = json.loads(done.stdout)
    return outputs
