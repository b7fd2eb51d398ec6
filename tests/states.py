"""States of a stack as ``pulumi stack export --show-secrets`` prints them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mailcrypt_component.cli.stack_state import StackState

SECRET = "4dabf18193072939515e22adb298388d"
KEY_ID = "a" * 64
FACTS = {
    "dockerHost": {
        "url": None,
        "ca": None,
        "certificate": None,
        "privateKey": None,
        "certificateFolder": None,
        "sshOptions": [],
    },
    "container": "c" * 64,
    "dialect": "2.4",
    "keyIds": [KEY_ID],
    "account": "mailcrypt-probe@example.test",
    "deadline": 60,
    "password": "secret",
    "containerName": "mail-dev",
    "imageId": "sha256:1",
    "stores": {"mail": "mail-dev-mail"},
    "keyNames": ["k1"],
    "keyCustody": "disk",
    "endpoints": {"imaps": "127.0.0.1:993"},
    "madePasswords": ["user@example.test"],
}


def secret(value: object) -> dict[str, str]:
    return {SECRET: "1b47061264138c4ac30d75fd1eb44270", "plaintext": json.dumps(value)}


def server(
    name: str = "mail", parent: str = "stack", facts: Mapping[str, Any] | None = FACTS
) -> dict[str, Any]:
    outputs = {} if facts is None else {"verifyTarget": secret(json.dumps(facts))}
    kind = "mailcrypt:index:MailCryptServer"
    return {"type": kind, "urn": f"urn:pulumi:dev::p::{parent}${kind}::{name}", "outputs": outputs}


def key_ring(kept: object) -> dict[str, Any]:
    """Return the key ring of ``server()``, with these private keys."""
    return {
        "type": "mailcrypt:index:KeyRing",
        "urn": "urn:pulumi:dev::p::ring::ring",
        "parent": server()["urn"],
        "outputs": {"privateKeys": secret(kept)},
    }


def deployed(key_ids: Sequence[str], kept: object) -> StackState:
    """Return a state with one server that declares these key ids and keeps these keys."""
    return StackState("dev", [server(facts={**FACTS, "keyIds": key_ids}), key_ring(kept)])
