"""Try a new configuration in a throw-away container before anything is touched.

Asks the very image: does its Dovecot speak the dialect, does it load the
compiled configuration, does every protocol load ``mail_crypt``?  Asks the mail
volume: can the declared ring open every mail in it?  Asks the Docker host: are
the ports free?  This module does not look at a running server: that is the
proof's part.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import docker.errors
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mailcrypt_component.checks import doveconf
from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.files import File
from mailcrypt_component.docker_api.mounts import as_mount
from mailcrypt_component.docker_api.shell import shell
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model import dms
from mailcrypt_component.model.custody import SERVER_LABEL
from mailcrypt_component.model.errors import PreflightError
from mailcrypt_component.model.key_ring import PUBLIC_KEY_PATH, make_key, private_path
from mailcrypt_component.store.tally import CLEAR, MBOX, NOT_ENCRYPTED, Tally, is_unknown
from mailcrypt_component.store.volume.census import count_in, mail_mounts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from docker import DockerClient
    from docker.models.containers import Container

    from mailcrypt_component.checks.preflight.plan import Plan
    from mailcrypt_component.docker_api.shell import Shell


def run_preflight(plan: Plan) -> str:
    """Try the plan; return what was seen in one line.

    Raises:
        PreflightError: The plan would not work; nothing was touched.
        UnreachableError: The engine or the image did not answer.

    """
    client = connect(plan.docker_host)
    mail = mail_mounts(client, plan.mail)
    mounts = [as_mount(plan.config, dms.CONFIG_DIR, read_only=True), *mail]
    mounts += [as_mount(mount.source, mount.target, read_only=True) for mount in plan.mounts]
    with throwaway(
        client,
        plan.image,
        mounts=mounts,
        files=_files(plan),
        purpose="preflight",
        lifetime=int(plan.deadline) + 60,
    ) as container:
        version = _try_configuration(container, plan)
        found = count_in(container, deadline=plan.deadline) if mail else Tally()
    encrypted = _judge_mails(found, plan)
    _check_ports(client, plan)
    return f"Dovecot {version} loads mail_crypt in {', '.join(dms.PROTOCOLS)}; {encrypted}"


def _try_configuration(container: Container, plan: Plan) -> str:
    with shell(container, timeout=plan.deadline) as inside:
        imitate_start_up(inside)
        answer = inside.run(doveconf.QUESTION)
    return doveconf.judge(answer, plan.dialect, PreflightError, where=str(container.name))


def _files(plan: Plan) -> list[File]:
    """Return the configuration with throw-away keys of the same kinds, never the real ones."""
    keys = {name: make_key(kind) for name, kind in plan.kinds.items()}
    current = next(iter(keys.values()))
    public = current.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return [
        File(dms.CUSTOM_CONF, plan.files.crypt.encode(), mode=0o644),
        File(dms.STORAGE_CONF, plan.files.storage.encode(), mode=0o644),
        *(
            [File(plan.files.private_path, plan.files.private.encode())]
            if plan.files.private
            else ()
        ),
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


_START_UP: Final = f"""
if [ -f {dms.CONFIG_DIR}/dovecot.cf ]; then cp {dms.CONFIG_DIR}/dovecot.cf {dms.LOCAL_CONF}; fi
grep -rhoE '(=\\s*<|^\\s*ssl_[a-z_]+_file\\s*=\\s*)/\\S+' \\
  /etc/dovecot --include='*.conf' --exclude={dms.CUSTOM_CONF.rpartition("/")[2]} \\
  | sed 's|^[^/]*||' | while read -r file; do
  if [ ! -e "$file" ]; then mkdir -p "$(dirname "$file")"; echo made at start-up >"$file"; fi
done
"""


def imitate_start_up(inside: Shell) -> None:
    """Do in a bare container what docker-mailserver does to Dovecot's folder when it starts.

    It copies ``dovecot.cf``, and makes files that its own configuration reads (the
    Diffie-Hellman parameters); here they only have to exist.  What our own
    configuration reads is left alone, so that a missing key is still found.
    """
    inside.run(["sh", "-c", _START_UP])


def _judge_mails(found: Tally, plan: Plan) -> str:
    states = found.states()
    unknown = [state for state in states if is_unknown(state, plan.key_ids)]
    refused = [state for state in unknown if is_unknown(state, plan.given_up)]
    if refused:
        raise PreflightError(
            "; ".join(_count(state, found.by_user(state)) for state in refused),
            where=f"mail volume {plan.mail}",
            expected=f"mail encrypted to the declared ring: {', '.join(plan.key_ids)}",
            hint="declare the missing key again behind the new one (keys: [new, old]; its PEM "
            "may come from your escrow). To drop it later, bring its mail under the new key: "
            f"mailcrypt encrypt --stack {plan.stack} --apply. If it is lost for good, giveUpKeys: "
            f"[{', '.join(refused)}] goes on without it and leaves that mail unreadable",
        )
    lost = sum(states[state] for state in unknown)
    encrypted = sum(number for state, number in states.items() if state not in NOT_ENCRYPTED) - lost
    clear = states.get(CLEAR, 0) + states.get(MBOX, 0)
    given_up = f", {lost} stay unreadable (giveUpKeys)" if lost else ""
    return f"{encrypted} stored mails are encrypted to the ring, {clear} lie in clear{given_up}"


def _count(key: str, users: Mapping[str, int]) -> str:
    per_user = ", ".join(f"{user} {number}" for user, number in sorted(users.items())[:_SHOWN])
    more = f", and {len(users) - _SHOWN} more users" if len(users) > _SHOWN else ""
    return f"{sum(users.values())} mails are encrypted to key {key} ({per_user}{more})"


_SHOWN: Final = 10


def _check_ports(client: DockerClient, plan: Plan) -> None:
    """Bind each new port in a throw-away container; those of our own server are fine."""
    ours = _ports_of(client, plan.server)
    wanted = [port for port in plan.ports if (port.address, port.external) not in ours]
    if not wanted:
        return
    bindings = Counter((port.address, port.external) for port in wanted)
    ports = {f"{number}/tcp": (address, number) for address, number in bindings}
    try:
        container = client.containers.create(
            plan.image,
            entrypoint=["true"],
            command=[],
            ports=ports,
            labels={"mailcrypt.throwaway": "ports"},
            healthcheck={"test": ["NONE"]},
        )
        try:
            container.start()
        finally:
            container.remove(force=True, v=True)
    except docker.errors.APIError as error:
        shown = ", ".join(f"{port.address}:{port.external}" for port in wanted)
        raise PreflightError(
            str(error.explanation or error),
            where=f"ports {shown}",
            expected="ports that nothing else on the Docker host listens on",
            hint="stop what holds the port (ss -ltnp), or choose another one in ports",
        ) from None


def _ports_of(client: DockerClient, server: str) -> set[tuple[str, int]]:
    """Return the address and port pairs that our own running server holds."""
    held: set[tuple[str, int]] = set()
    for container in client.containers.list(
        filters={"label": f"{SERVER_LABEL}={server}"}, ignore_removed=True
    ):
        bindings: Sequence[Mapping[str, str]]
        for bindings in filter(None, container.ports.values()):
            held |= {(binding["HostIp"], int(binding["HostPort"])) for binding in bindings}
    return held
