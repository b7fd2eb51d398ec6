"""The ring of a stack, for commands that open or put away what it has encrypted."""

from __future__ import annotations

from typing import Any

from mailcrypt_component.cli.stack_outputs import stack_outputs, stack_ring
from mailcrypt_component.dcrypt.escrow import EscrowKey
from mailcrypt_component.dcrypt.key_id import key_id
from mailcrypt_component.dcrypt.keys import load_private_key
from mailcrypt_component.model.errors import KeyFault


def declared_ring(stack: str) -> list[EscrowKey]:
    """Return a stack's private keys, the current one first.

    Raises:
        KeyFault: They are not those whose ids the stack declares.
        UnreachableError: They could not be read.

    """
    declared: list[str] = stack_outputs(stack)["keyIds"]
    keys = [_key(name, pem, stack) for name, pem in stack_ring(stack).items()]
    by_id = {key.key_id: key for key in keys}
    if set(by_id) != set(declared):
        raise KeyFault(
            f"the keys in the state are {', '.join(by_id) or 'none'}",
            where=f"stack {stack}",
            expected=f"the declared ring: {', '.join(declared)}",
            hint=f"make up STACK={stack}",
        )
    return [by_id[wanted] for wanted in declared]


def _key(name: str, pem: Any, stack: str) -> EscrowKey:
    if not isinstance(pem, str) or not pem.strip():
        raise KeyFault(
            f"key {name} is empty",
            where=f"stack {stack}",
            expected="a private key",
            hint="a wrong Pulumi passphrase exports nothing; check it",
        )
    key = load_private_key(pem.encode())
    return EscrowKey(name, key_id(key.public_key()), key)
