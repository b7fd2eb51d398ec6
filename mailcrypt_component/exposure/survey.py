"""Surveys which data of a running server is on a disk; changes nothing.

One program in the container reads mounts, files and settings; the engine lists the changed files
of the container's layer, and the place of its own logs.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import docker.errors
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from mailcrypt_component.docker_api.connect import NOT_ANSWERING, explained
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from docker.models.containers import Container

_PROGRAM: Final = Path(__file__).with_name("inside.py")
_PEM: Final = re.compile(rb"-----BEGIN PRIVATE KEY-----.*?-----END PRIVATE KEY-----", re.DOTALL)
_DELETED: Final = 2
"""The kind of a change, as the engine writes it."""
_POSTFIX: Final = ("always_bcc", "sender_bcc_maps", "recipient_bcc_maps", "queue_directory")

# The folders of other data that may hold the text of mail, and the files that count there.
PLACES: Final[Mapping[str, tuple[str, str]]] = {
    "index cache": (dms.MAIL_DIR, r"/dovecot\.index\.cache$"),
    "full-text index": (
        dms.MAIL_DIR,
        r"/(fts-flatcurve|xapian-indexes|lucene-indexes)/|/dovecot\.index\.search",
    ),
    "queue": (
        "/var/spool/postfix",
        r"/(incoming|active|deferred|hold|maildrop|corrupt)/(.+/)?[0-9A-Za-z]+$",
    ),
    "amavis quarantine": ("/var/lib/amavis", r"/(virusmails|quarantine)/"),
    "rspamd history": ("/var/lib/rspamd", r"(history|\.sqlite|\.map)$|/rspamd\.rrd$"),
    "redis": ("/var/lib/redis", r"\.(rdb|aof)$|/appendonly"),
    "spam filter tokens": ("/var/lib/amavis", r"/bayes_"),
    "sieve": (dms.MAIL_DIR, r"\.sieve$"),
    "global sieve": (dms.CONFIG_DIR, r"\.sieve$"),
    "logs": (dms.LOG_DIR, r"."),
    "temporary files": ("/tmp", r"^/tmp/(?!docker-mailserver/)."),  # noqa: S108
}


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of the container."""

    path: str
    file_system: str
    options: tuple[str, ...]

    @property
    def in_memory(self) -> bool:
        """Whether its content is lost without power."""
        return self.file_system in {"tmpfs", "ramfs"}


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file on a disk that holds private keys, with the SHA-256 of their public keys in DER."""

    path: str
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """The data of a server that were surveyed.

    ``certs`` are the digests of the private keys that Dovecot is given, on a disk or not.
    ``files`` has for each of ``PLACES`` the number of files, and whether they are on a disk.
    ``dovecot`` and ``postfix`` are None if the daemon's own tool did not answer.
    """

    mounts: tuple[Mount, ...]
    swaps: tuple[str, ...]
    core_pattern: str
    core_limit: str | None
    key_files: tuple[KeyFile, ...]
    certs: frozenset[str]
    deleted_with_key: tuple[str, ...]
    files: Mapping[str, tuple[int, bool]]
    dovecot: str | None
    postfix: Mapping[str, str] | None
    log_driver: str

    def mount_of(self, path: str) -> Mount:
        """Return the mount that holds a path of the container."""
        holding = [
            mount
            for mount in self.mounts
            if mount.path in {"/", path} or path.startswith(f"{mount.path}/")
        ]
        return max(holding, key=lambda mount: len(mount.path))

    def setting(self, name: str) -> str | None:
        """Return a setting of Dovecot at the top level of its configuration; None if unset."""
        found = re.search(rf"(?m)^\s*{re.escape(name)} = (.*)$", self.dovecot or "")
        return found.group(1).strip() if found else None

    def ring_keys(self, public_pems: Sequence[str]) -> tuple[str, ...]:
        """Return the files on a disk that hold a private key of this ring."""
        ring = {digest_of(pem) for pem in public_pems}
        return tuple(file.path for file in self.key_files if ring & set(file.digests))


def digest_of(public_pem: str) -> str:
    """Return the SHA-256 of a public key in DER, as 64 hex digits."""
    key = load_pem_public_key(public_pem.encode())
    return hashlib.sha256(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def survey(
    server: Container, *, timeout: float, places: Mapping[str, tuple[str, str]] = PLACES
) -> Survey:
    """Look at a running server.

    Args:
        server: The container.
        timeout: Seconds for all of it.
        places: The folders whose files are counted, which takes long in a large mail store.

    Raises:
        UnreachableError: The engine or the container did not answer.

    """
    changed = _changed_files(server)
    question = {
        "changed": changed,
        "places": {
            name: {"path": path, "pattern": pattern} for name, (path, pattern) in places.items()
        },
        "postfix": _POSTFIX,
    }
    argv = ["python3", "-I", "-c", _PROGRAM.read_text(encoding="utf-8")]
    done = execute(server, argv, stdin=json.dumps(question).encode(), timeout=timeout)
    printed = done.checked(
        where=f"container {server.name}", expected="an answer to what lies on a disk"
    )
    found = _survey_of(json.loads(printed), server)
    return replace(found, key_files=(*found.key_files, *_hidden_keys(server, changed, found)))


def _changed_files(server: Container) -> list[str]:
    """Return the files in the container's layer that differ from its image."""
    try:
        changes = server.diff() or []
    except NOT_ANSWERING as error:
        raise UnreachableError(explained(error), where=f"docker diff {server.name}") from None
    return [str(change["Path"]) for change in changes if change["Kind"] != _DELETED]


def _hidden_keys(server: Container, changed: Sequence[str], found: Survey) -> Iterator[KeyFile]:
    """Yield the files of the layer that a mount in memory hides, if they hold private keys.

    An upload to a path below a tmpfs succeeds and lands in the layer below, on the disk.
    """
    for path in changed:
        mount = found.mount_of(path)
        if mount.in_memory and path != mount.path and (digests := _digests_in(server, path)):
            yield KeyFile(path, digests)


def _digests_in(server: Container, path: str) -> tuple[str, ...]:
    """Return the SHA-256 of the public key of each private key in a file of the layer."""
    try:
        chunks, _ = server.get_archive(path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            texts = [archive.extractfile(member) for member in archive if member.isfile()]
            read = b"".join(text.read() for text in texts if text)
    except docker.errors.NotFound:
        return ()
    except (*NOT_ANSWERING, tarfile.TarError) as error:
        raise UnreachableError(explained(error), where=f"{path} of {server.name}") from None
    return tuple(filter(None, (_public_digest(block) for block in _PEM.findall(read))))


def _public_digest(block: bytes) -> str | None:
    try:
        key = load_pem_private_key(block, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    public = key.public_key()
    return digest_of(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def _survey_of(found: Mapping[str, Any], server: Container) -> Survey:
    return Survey(
        mounts=tuple(
            Mount(path, kind, tuple(options.split(","))) for path, kind, options in found["mounts"]
        ),
        swaps=tuple(found["swaps"]),
        core_pattern=found["corePattern"],
        core_limit=found["coreLimit"],
        certs=frozenset(found["certs"]),
        key_files=tuple(KeyFile(one["path"], tuple(one["digests"])) for one in found["keys"]),
        deleted_with_key=tuple(found["deletedWithKey"]),
        files={name: (one["files"], one["onDisk"]) for name, one in found["places"].items()},
        dovecot=found["dovecot"],
        postfix=_settings_of(found["postfix"]),
        log_driver=server.attrs["HostConfig"]["LogConfig"]["Type"],
    )


def _settings_of(printed: str | None) -> Mapping[str, str] | None:
    if printed is None:
        return None
    lines = (line.partition("=") for line in printed.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
