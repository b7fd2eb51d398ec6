"""A mail store in a folder, encrypted by our own code, for tests and benchmarks."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mailcrypt_component.dcrypt.encrypt import encrypt
from mailcrypt_component.dcrypt.key_id import key_id

if TYPE_CHECKING:
    import subprocess

    from mailcrypt_component.dcrypt.keys import PrivateKey

SCHEMAS = Path(__file__).parents[1] / "mailcrypt_component/schemas"


class Key:
    """A key in all the forms that tests need."""

    def __init__(self, curve: ec.EllipticCurve | None = None) -> None:
        self.private = ec.generate_private_key(curve or ec.SECP256R1())
        self.public = self.private.public_key()
        self.id = key_id(self.public)
        self.pem = self.private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ).decode()
        self.public_pem = self.public.public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        ).decode()

    @property
    def ring(self) -> dict[str, PrivateKey]:
        return {self.id: self.private}


class Store:
    """A folder with Maildirs."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.plain: dict[str, bytes] = {}

    def put(
        self,
        data: bytes,
        user: str = "example.test/ann",
        folder: str = "",
        name: str | None = None,
        *,
        new: bool = False,
        mtime: float | None = None,
    ) -> str:
        """Store bytes as they are; return the path relative to the root."""
        box = Path(user) / folder / ("new" if new else "cur")
        (self.root / box).mkdir(parents=True, exist_ok=True)
        name = (
            name or f"{1_700_000_000 + len(self.plain)}.M{len(self.plain)}P1.mail,S={len(data)}:2,S"
        )
        path = os.fsencode(self.root / box) + b"/" + os.fsencode(name)
        with open(path, "wb") as file:
            file.write(data)
        if mtime:
            os.utime(path, (mtime, mtime))
        relative = os.fsdecode(os.path.relpath(path, os.fsencode(self.root)))
        self.plain[relative] = data
        return relative

    def encrypt(self, plain: bytes, key: Key, **where: Any) -> str:
        """Store a mail encrypted to a key; return its path."""
        number = len(self.plain)
        name = f"{1_700_000_000 + number}.M{number}P1.mail,S={len(plain)}:2,S"
        relative = self.put(encrypt(plain, key.public), **{"name": name, **where})
        self.plain[relative] = plain
        return relative


def valid(text: str, command: str) -> Any:
    """Return the JSON that a command printed, checked against its schema."""
    found = json.loads(text)
    schema = json.loads((SCHEMAS / f"{command}.schema.json").read_text())
    jsonschema.validate(found, schema)
    return found


def kill_all(running: subprocess.Popen[bytes]) -> None:
    """Kill a process and its workers; wait, for a second at most, until none holds a lock."""
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    with suppress(ProcessLookupError):
        for _ in range(100):
            os.killpg(running.pid, 0)
            time.sleep(0.01)
