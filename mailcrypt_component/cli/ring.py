"""The private keys of a deployed server, for commands that open what it has encrypted."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.cli.stack_state import clear
from mailcrypt_component.dcrypt.escrow import EscrowKey
from mailcrypt_component.dcrypt.key_id import key_id
from mailcrypt_component.dcrypt.keys import load_private_key
from mailcrypt_component.model.errors import KeyFault

if TYPE_CHECKING:
    from mailcrypt_component.cli.stack_state import DeployedServer, StackState

_RING: Final = "mailcrypt:index:KeyRing"


def private_keys(state: StackState, server: DeployedServer) -> list[EscrowKey]:
    """Return a server's private keys as its key ring keeps them, the current one first.

    Raises:
        KeyFault: Those that the server declares are not all there.

    """
    rings = state.children(server, _RING)
    kept = [clear(ring.get("outputs", {}).get("privateKeys")) or [] for ring in rings]
    by_id = {key.key_id: key for key in (_key(one, server) for one in chain(*kept))}
    declared = server.target.key_ids
    if not set(declared) <= set(by_id):  # Others are of an update that failed later on.
        raise KeyFault(
            f"the private keys in the state are {', '.join(by_id) or 'none'}",
            where=server.title,
            expected=f"those of the key ring: {', '.join(declared)}",
            hint="if an update failed, declare the keys as they were and run "
            f"'pulumi up --stack {server.stack}'; a ring of public keys has none",
        )
    return [by_id[wanted] for wanted in declared]


def _key(kept: Any, server: DeployedServer) -> EscrowKey:
    name, pem = kept["name"], kept["pem"]
    if not isinstance(pem, str) or not pem.strip():
        raise KeyFault(
            f"key {name} is empty in the state",
            where=server.title,
            expected="a private key",
            hint="check the passphrase: with a wrong one Pulumi may return empty secrets",
        )
    key = load_private_key(pem.encode())
    return EscrowKey(name, key_id(key.public_key()), key)
