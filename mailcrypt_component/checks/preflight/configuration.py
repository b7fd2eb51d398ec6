"""Loads the compiled configuration with the image's own Dovecot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mailcrypt_component.checks import doveconf
from mailcrypt_component.docker_api.files import File
from mailcrypt_component.docker_api.run import execute
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import PreflightError
from mailcrypt_component.model.key_ring import PUBLIC_KEY_PATH, make_key, private_path

if TYPE_CHECKING:
    from docker.models.containers import Container

    from mailcrypt_component.checks.preflight.plan import Plan


def configuration_files(plan: Plan) -> list[File]:
    """Return the configuration with throw-away keys of the same kinds, never the real ones."""
    keys = {name: make_key(kind) for name, kind in plan.kinds.items()}
    current = next(iter(keys.values()))
    public = current.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return [
        File(dms.CUSTOM_CONF, plan.files.crypt.encode(), mode=0o644),
        File(dms.STORAGE_CONF, plan.files.storage.encode(), mode=0o644),
        *_private_configuration(plan),
        File(PUBLIC_KEY_PATH, public, mode=0o644),
        *(
            File(
                private_path(name),
                key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
                mode=0o600,
            )
            for name, key in keys.items()
        ),
    ]


def _private_configuration(plan: Plan) -> list[File]:
    """Return what names the private keys, so that the unlocked server is what is tried."""
    if not plan.files.private:
        return []
    return [File(plan.files.private_path, plan.files.private.encode())]


def try_configuration(container: Container, plan: Plan) -> str:
    """Load the configuration in a container that holds it; return Dovecot's version.

    Raises:
        PreflightError: Dovecot refuses it, or a protocol does not load mail_crypt.

    """
    imitate_start_up(container, timeout=plan.deadline)
    answer = execute(container, doveconf.QUESTION, timeout=plan.deadline)
    return doveconf.judge(answer, plan.dialect, PreflightError, where=str(container.name))


_START_UP: Final = f"""
if [ -f {dms.CONFIG_DIR}/dovecot.cf ]; then cp {dms.CONFIG_DIR}/dovecot.cf {dms.LOCAL_CONF}; fi
grep -rhoE '(=\\s*<|^\\s*ssl_[a-z_]+_file\\s*=\\s*)/\\S+' \\
  /etc/dovecot --include='*.conf' --exclude={dms.CUSTOM_CONF.rpartition("/")[2]} \\
  | sed 's|^[^/]*||' | while read -r file; do
  if [ ! -e "$file" ]; then mkdir -p "$(dirname "$file")"; echo made at start-up >"$file"; fi
done
"""


def imitate_start_up(container: Container, *, timeout: float) -> None:
    """Do in a bare container what docker-mailserver does to Dovecot's folder when it starts.

    It copies ``dovecot.cf``, and makes files that its own configuration reads (the
    Diffie-Hellman parameters); here they only have to exist.  Files that our own
    configuration reads are not made, so that a missing key is still found.
    """
    done = execute(container, ["sh", "-c", _START_UP], timeout=timeout)
    done.checked(
        where=f"container {container.name}, /etc/dovecot",
        expected="a docker-mailserver image, with Dovecot in it",
        hint="check mailcrypt:image",
    )
