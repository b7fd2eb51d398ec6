"""A mail store in a folder, encrypted by our own code, for tests and benchmarks."""

import json
import os
from pathlib import Path

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

SCHEMAS = Path(__file__).parents[1] / "mailcrypt_component/schemas"


class Key:
    """A key with all that tests ask of it."""

    def __init__(self, curve=None):
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
    def ring(self):
        return {self.id: self.private}


class Store:
    """A folder with Maildirs."""

    def __init__(self, root):
        self.root = Path(root)
        self.plain = {}

    def put(self, data, user="example.test/ann", folder="", name=None, new=False, mtime=None):
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

    def encrypt(self, plain, key, **where):
        """Store a mail encrypted to a key; return its path."""
        number = len(self.plain)
        name = f"{1_700_000_000 + number}.M{number}P1.mail,S={len(plain)}:2,S"
        relative = self.put(encrypt(plain, key.public), **{"name": name, **where})
        self.plain[relative] = plain
        return relative


def valid(text, command):
    """Return what a command printed as JSON, checked against its schema."""
    found = json.loads(text)
    schema = json.loads((SCHEMAS / f"{command}.schema.json").read_text())
    jsonschema.validate(found, schema)
    return found
