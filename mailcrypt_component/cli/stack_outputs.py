"""Read a stack's outputs through the pulumi command."""

from __future__ import annotations

import json
import subprocess
from pathlib import PurePosixPath
from typing import Any, Final

from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.model.key_ring import PUBLIC_KEY_PATH


def stack_outputs(stack: str) -> dict[str, Any]:
    """Return all outputs of a stack, secrets in clear.

    Raises:
        UnreachableError: pulumi is not there, or does not know the stack, or
            could not decrypt its secrets.

    """
    outputs: dict[str, Any] = _asked(stack, "output", "--json", "--show-secrets")
    if "verifyTarget" not in outputs:
        raise UnreachableError(
            "it has no output verifyTarget, so no proof has held yet",
            where=f"stack {stack}",
            hint=f"make up STACK={stack}",
        )
    return outputs


def stack_ring(stack: str) -> dict[str, Any]:
    """Return the private keys that a stack's server was given, by name, as PEM.

    They are taken out of the state; a wrong passphrase may leave nulls there.

    Raises:
        UnreachableError: As ``stack_outputs``, or there is no server in the state.

    """
    wanted = json.loads(stack_outputs(stack)["verifyTarget"])["container"]
    exported = _asked(stack, "export", "--show-secrets")
    for resource in exported.get("deployment", {}).get("resources", []):
        if resource.get("type") == _CONTAINER and resource.get("id") == wanted:
            uploads = _clear(resource["inputs"].get("uploads")) or []
            return {
                PurePosixPath(upload["file"]).stem: _clear(upload.get("content"))
                for upload in uploads
                if upload["file"].startswith(f"{dms.CERTS_DIR}/")
                and upload["file"] != PUBLIC_KEY_PATH
            }
    raise UnreachableError(
        "there is no server in the state", where=f"stack {stack}", hint=f"make up STACK={stack}"
    )


_CONTAINER: Final = "docker:index/container:Container"


def _clear(value: Any) -> Any:
    """Return a state's value without the wrapping of a secret."""
    if isinstance(value, dict) and "plaintext" in value:
        return json.loads(value["plaintext"])
    return value


def _asked(stack: str, *argv: str) -> dict[str, Any]:
    command = ["pulumi", "stack", *argv, "--stack", stack]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise UnreachableError(
            "pulumi is not on PATH", where=f"stack {stack}", hint='eval "$(engine/setup env)"'
        ) from None
    if done.returncode:
        raise UnreachableError(
            done.stderr.strip(), where=f"stack {stack}", hint=f"make up STACK={stack}"
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found
