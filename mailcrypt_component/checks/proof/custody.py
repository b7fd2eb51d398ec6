"""Checks that key, index cache and temporary files lie in memory, as far as they are declared so.

What lies on a disk is looked for in the running server, whatever was declared: a user's own
configuration, a mount or a file that somebody put there may have changed it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailcrypt_component.custody.keeper import declared_name, find_keeper
from mailcrypt_component.dialects.dialect import CACHE_DIR, Dialect
from mailcrypt_component.docker_api.connect import client_of
from mailcrypt_component.exposure.survey import digest_of, survey
from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import Custody, IndexCache
from mailcrypt_component.model.errors import CustodyError, ProofError, UnreachableError, UnsafeError
from mailcrypt_component.model.words import counted

if TYPE_CHECKING:
    from mailcrypt_component.checks.proof.context import Context
    from mailcrypt_component.checks.proof.target import Target
    from mailcrypt_component.exposure.survey import Survey


def check_custody(context: Context, *, locked: bool) -> str:
    """Check where keys, index caches and temporary files lie; return what was seen.

    Raises:
        ProofError: A private key of the ring lies on a disk, or the keeper is missing.
        UnsafeError: The text of mails is written to a disk.
        UnreachableError: It could not be found out.

    """
    target = context.target
    found = survey(context.container, timeout=context.left, places={})
    if not locked:
        _check_key_files(context, found)
    seen = ["the private key lies in the container's layer (keyCustody: disk)"]
    if target.custody is Custody.MEMORY:
        _check_keeper(context)
        seen = [_check_keys(context, found, dms.CERTS_DIR)]
    if target.custody is Custody.SWARM:
        paths = [mount.path for mount in found.mounts if mount.path.startswith(f"{dms.CERTS_DIR}/")]
        seen = [_check_keys(context, found, *(paths or [dms.CERTS_DIR]))]
    seen.append(_check_temporary(found))
    if target.index_cache is IndexCache.MEMORY:
        seen.append(_check_cache(found, target.dialect))
    return "; ".join(seen)


def _check_keeper(context: Context) -> None:
    """Check that the keys outlive the next restart of the server."""
    try:
        find_keeper(client_of(context.container), declared_name(context.container))
    except CustodyError as error:
        raise ProofError(
            error.found, where=error.where, expected=error.expected, hint=error.hint
        ) from None


def _check_key_files(context: Context, found: Survey) -> None:
    """Check that each key of the ring is there for the next restart of Dovecot.

    Dovecot has read its keys, so a lost or exchanged file would only be noticed after a restart.
    """
    target = context.target
    wanted = dict(zip(map(digest_of, target.public_pems), target.key_ids, strict=True))
    lost = [key_id for digest, key_id in wanted.items() if digest not in found.certs]
    if lost:
        raise ProofError(
            f"no file holds {counted(len(lost), 'private key')} of the ring: {', '.join(lost)}",
            where=f"{dms.CERTS_DIR} in container {context.container.name}",
            expected="every private key of the ring",
            hint=_bringing_keys(target),
        )


def _bringing_keys(target: Target) -> str:
    return target.command(target.unlocking if target.custody is Custody.MEMORY else "repair")


def _check_keys(context: Context, found: Survey, *places: str) -> str:
    on_disk = (*found.ring_keys(context.target.public_pems), *found.deleted_with_key)
    if on_disk:
        raise ProofError(
            "a private key of the ring lies on a disk",
            where=", ".join(on_disk),
            expected=f"keys in memory at {dms.CERTS_DIR} alone (keyCustody: "
            f"{context.target.custody.value})",
            hint="remove the file, then add a new key in front of keys: "
            "the old one can be read in the disk's free blocks",
        )
    server = context.container
    again = f"docker rm -f {server.name} {declared_name(server)}-keeper, then pulumi up --refresh"
    if context.target.custody is Custody.SWARM:
        again = f"docker rm -f {server.name} on its node; Swarm starts another one"
    for place in places:
        _require_memory(found, place, ProofError, again)
        _refuse_swap(found, place)
    return "no private key of the ring in any file on a disk"


def _check_temporary(found: Survey) -> str:
    """Check Dovecot's own folder and the one where ``doveconf`` writes the keys."""
    for folder in _settings(found, "mail_temp_dir"):
        _require_memory(found, folder, UnsafeError, "remove mail_temp_dir from dovecot.cf")
    for folder in ("/tmp", "/var/tmp"):  # noqa: S108
        _require_memory(found, folder, UnsafeError, f"remove what is mounted at {folder}")
    return "temporary files in memory"


def _check_cache(found: Survey, dialect: Dialect) -> str:
    """Check each place that Dovecot is told of, also for one protocol or namespace."""
    names, wanted = {
        Dialect.V2_3: (("mail_location", "location"), f":INDEXCACHE={CACHE_DIR}/"),
        Dialect.V2_4: (("mail_cache_path",), f"{CACHE_DIR}/"),
    }[dialect]
    places = [place for name in names for place in _settings(found, name)]
    for place in places or ["no mail_cache_path"]:
        if wanted not in place:
            raise UnsafeError(
                "Dovecot's index cache, which holds subjects and text, lies on a disk",
                where=f"doveconf: {place}",
                expected=f"{wanted.strip(':')}… (indexCache: memory)",
                hint=f"remove {' and '.join(names)} from dovecot.cf, or choose indexCache: disk",
            )
    _require_memory(found, CACHE_DIR, UnsafeError, f"remove what is mounted at {CACHE_DIR}")
    _refuse_swap(found, CACHE_DIR)
    return "index cache in memory"


def _settings(found: Survey, name: str) -> list[str]:
    """Return every value that a setting has at any level of Dovecot's configuration.

    Raises:
        UnreachableError: ``doveconf`` did not answer.

    """
    if found.dovecot is None:
        raise UnreachableError("doveconf does not answer", where="the running server")
    return re.findall(rf"(?m)^\s*{name} = (\S.*?)\s*$", found.dovecot)


def _refuse_swap(found: Survey, folder: str) -> None:
    """Refuse memory that the kernel may write to a disk."""
    if found.swaps and "noswap" not in found.mount_of(folder).options:
        raise ProofError(
            f"{folder} can be swapped out to {', '.join(found.swaps)}",
            where="/proc/swaps and the mounts of the running server",
            expected="mount option noswap (Linux 6.4 or newer), or a host without swap",
            hint="swapoff -a on the Docker host",
        )


def _require_memory(found: Survey, folder: str, error: type[ProofError], hint: str) -> None:
    mount = found.mount_of(folder)
    if not mount.in_memory:
        raise error(
            f"{folder} lies on a disk ({mount.file_system} at {mount.path})",
            where="the mounts of the running server",
            expected="a tmpfs",
            hint=hint,
        )
