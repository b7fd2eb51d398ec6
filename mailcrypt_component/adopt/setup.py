"""Puts together what a stack needs to take over a server that was set up by hand.

The Compose project says where mail, accounts and configuration lie; Dovecot's configuration
names the keys.  The result keeps all of it where it lies.  Nothing is written here, and
whatever is not taken over is named in a note.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.adopt import notes
from mailcrypt_component.adopt.compose import Mount, mail_service, read_project
from mailcrypt_component.adopt.dovecot_conf import read_dovecot_conf
from mailcrypt_component.adopt.mounted import MountedFiles
from mailcrypt_component.adopt.network import network_of, ports_of
from mailcrypt_component.adopt.ring import ring_of
from mailcrypt_component.adopt.steps import container_of, hand_over, rename_in, replace_file
from mailcrypt_component.adopt.stored_mail import in_clear, mails, stored_mail
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import SettingsError
from mailcrypt_component.model.settings import PROBE_USER, STORES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mailcrypt_component.adopt.compose import Project, Service
    from mailcrypt_component.adopt.dovecot_conf import DovecotConf
    from mailcrypt_component.adopt.steps import Step
    from mailcrypt_component.model.key_ring import RingKey
    from mailcrypt_component.store.audit import Audit

FOLDER: Final = "mailcrypt-adopted"
"""Beside the compose file: what remains of configuration files without mail_crypt's settings."""

_CONF_D: Final = "/etc/dovecot/conf.d"
_REST_OF_CUSTOM: Final = f"{_CONF_D}/10-custom-adopted.conf"
_DOVECOT_CF: Final = f"{dms.CONFIG_DIR}/dovecot.cf"
_OTHER_CONFIG: Final = ("postfix-main.cf", "postfix-master.cf", "user-patches.sh")
_BESIDE_KEYS: Final = "/etc/mailcrypt-adopted"
"""Where files go that lay beside the keys: only keys can lie in the memory at /certs."""
_SECRET: Final = re.compile(r"PASSW|_PASS|^PASS|SECRET|TOKEN|CREDENTIAL|(?:^|_)KEY$|API_?KEY")
_WITH_LOGIN: Final = re.compile(r"://[^/\s:@]+:[^/\s@]+@")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us)")
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was found.

    ``settings`` is the stack's configuration without keys and secrets; ``secrets`` holds
    variables of the environment by name.  ``files`` are to be written, by path.  ``steps``
    are the commands that follow, each with the reason for it.
    """

    settings: Mapping[str, Any]
    secrets: Mapping[str, str] = field(repr=False)
    keys: tuple[RingKey, ...]
    files: Mapping[Path, str]
    notes: tuple[str, ...]
    steps: tuple[tuple[str, str], ...]
    mail: Audit


def read_setup(folder: Path, stack: str, service: str | None = None) -> Adopted:
    """Read the set-up of a folder that has a compose file.

    Args:
        folder: Where ``docker compose`` is run.
        stack: The name of the stack that takes it over.
        service: The mail server's service, where there are several.

    Raises:
        SettingsError: There is no such set-up, or a part of it cannot be taken over.
        KeyFault: A key is missing, encrypted, or fits no public key.
        UnreachableError: Stored mail could not be read.

    """
    _refuse_remote_engine()
    project = read_project(folder.resolve())
    return _Setup(folder.resolve(), project, mail_service(project, service), stack).read()


def is_secret(name: str, value: str) -> bool:
    """Tell whether a variable holds a secret, by its name or a login in its address."""
    return bool(_SECRET.search(name.upper()) or _WITH_LOGIN.search(value))


def _refuse_remote_engine() -> None:
    host = os.environ.get("DOCKER_HOST", "")
    if host and not host.startswith("unix://"):
        raise SettingsError(
            f"{host} is another machine",
            where="DOCKER_HOST",
            expected="the Docker engine of this machine, whose files are read here",
            hint="run mailcrypt adopt on the machine that runs the mail server",
        )


class _Setup:
    """One Compose service and the files that it mounts."""

    def __init__(self, folder: Path, project: Project, service: Service, stack: str) -> None:
        self._folder, self._project, self._service = folder, project, service
        self._stack, self._server = stack, f"mailcrypt-{stack}"
        self._image = self._required_image()
        self._files = MountedFiles(service.mounts, self._image)
        self._notes = [f"docker compose warns: {warning}" for warning in project.warnings]
        self._environment = self._read_environment()
        self._confs = dict(self._read_confs())
        self._moved = dict(self._read_moved())

    def read(self) -> Adopted:
        keys = self._ring()
        binds = dict(self._binds())
        mail = stored_mail(binds["mail"], self._image, [key.key_id for key in keys])
        files = dict(self._rest_files())
        secrets = {
            name: value for name, value in self._environment.items() if is_secret(name, value)
        }
        plain = {
            name: self._moved.get(value, value)
            for name, value in self._environment.items()
            if name not in secrets
        }
        settings = {
            "image": self._image,
            "hostname": self._hostname(),
            "probeAddress": self._probe_address(),
            "binds": binds,
            "ports": ports_of(self._service, self._environment, self._notes.append),
            "network": network_of(self._project, self._service, self._server, self._notes.append),
            "environment": plain,
            "mounts": list(self._other_mounts(files)),
            "stopGrace": self._stop_grace(),
        }
        self._note_the_rest(mail)
        return Adopted(
            settings={name: value for name, value in settings.items() if value is not None},
            secrets=secrets,
            keys=keys,
            files=files,
            notes=tuple(self._notes),
            steps=tuple(
                hand_over(self._project, self._service, self._stack, [*self._edits(files)])
            ),
            mail=mail,
        )

    def _fault(self, where: str, found: str, expected: str, hint: str = "") -> SettingsError:
        place = f"{self._project.file}: {self._service.name}.{where}"
        return SettingsError(found, where=place, expected=expected, hint=hint)

    def _required_image(self) -> str:
        image = self._service.text("image")
        if image:
            return image
        if "build" in self._service.stated:
            return f"{self._project.name}-{self._service.name}"
        raise self._fault("image", "not stated", "the service's image")

    def _read_environment(self) -> dict[str, str]:
        stated = self._service.environment
        unset = sorted(name for name, value in stated.items() if value is None)
        empty = sorted(name for name, value in stated.items() if value == "")
        if unset:
            self._notes.append(
                f"not set: {', '.join(unset)}; the compose file takes them from the environment, "
                "where they are not set now"
            )
        if empty:
            self._notes.append(
                f"empty and left out, which is the same to docker-mailserver: {', '.join(empty)}"
            )
        return {name: value for name, value in stated.items() if value}

    def _read_confs(self) -> Iterator[tuple[str, DovecotConf]]:
        """Yield Dovecot's configuration files by path, in the order in which it reads them."""
        targets = sorted(mount.target for mount in self._service.mounts)
        for target in targets:
            if target in {_CONF_D, "/etc/dovecot"}:
                raise self._fault(
                    "volumes",
                    f"a whole folder is mounted at {target}",
                    "each file mounted by itself: the stack writes one of its own there",
                    f"mount only the files that you changed, such as {dms.CUSTOM_CONF}",
                )
            if target.startswith("/etc/dovecot/") and target.endswith(".conf"):
                yield target, read_dovecot_conf(self._files.read(target))
        text = self._files.find(_DOVECOT_CF)
        if text is not None:
            yield _DOVECOT_CF, read_dovecot_conf(text)

    def _ring(self) -> tuple[RingKey, ...]:
        used = {path: conf for path, conf in self._confs.items() if conf.uses_mail_crypt}
        self._refuse_per_user_keys(used)
        private = [key for conf in used.values() for key in conf.private]
        if not private:
            raise self._no_key(used)
        public = [key for conf in used.values() for key in conf.public]
        if not any(conf.plugin for conf in used.values()):
            self._notes.append("the old server does not load mail_crypt: it stores mail in clear")
        versions = [conf.save_version for conf in used.values() if conf.save_version]
        if versions and versions[-1] == "0":
            self._notes.append("mail_crypt_save_version 0: the old server stores mail in clear")
        return ring_of(private, public, self._files.read)

    def _refuse_per_user_keys(self, used: Mapping[str, DovecotConf]) -> None:
        for path, conf in used.items():
            if conf.per_user:
                raise SettingsError(
                    f"per-user keys ({', '.join(conf.per_user)})",
                    where=path,
                    expected="global keys, which the stack keeps as a key ring",
                    hint="per-user keys lie in the mail volume and cannot become a ring; see "
                    "docs/per-user-keys.md",
                )

    def _no_key(self, used: Mapping[str, DovecotConf]) -> SettingsError:
        looked = ", ".join(self._confs) or "no file of Dovecot's is mounted"
        patches = self._files.find(f"{dms.CONFIG_DIR}/user-patches.sh") or ""
        hint = "without mail_crypt there is no key to take over: start a stack of your own"
        if "mail_crypt" in patches:
            hint = "user-patches.sh sets up mail_crypt; put its settings into 10-custom.conf first"
        return SettingsError(
            "no private key is configured" if used else "mail_crypt is not configured",
            where=looked,
            expected="mail_crypt_global_private_key or crypt_global_private_key",
            hint=hint,
        )

    def _hostname(self) -> str:
        stated = self._environment.get("OVERRIDE_HOSTNAME") or self._service.text("hostname")
        domain = self._service.text("domainname")
        if not stated:
            raise self._fault("hostname", "not stated", "the server's full host name")
        if domain and not stated.endswith(f".{domain}"):
            return f"{stated}.{domain}"
        return stated

    def _probe_address(self) -> str:
        provisioner = self._environment.get("ACCOUNT_PROVISIONER", "FILE").upper()
        if provisioner != "FILE":
            raise self._fault(
                "environment.ACCOUNT_PROVISIONER",
                provisioner,
                f"FILE: the proof needs an account of its own in {dms.ACCOUNTS_FILE}",
            )
        path = f"{dms.CONFIG_DIR}/{dms.ACCOUNTS_FILE}"
        domains = re.findall(r"^[^#|\s]+@([^|\s]+)\|", self._files.read(path), re.MULTILINE)
        if not domains:
            raise SettingsError("no account", where=path, expected="address|hash in a line")
        return f"{PROBE_USER}@{domains[0]}"

    def _binds(self) -> Iterator[tuple[str, str]]:
        for name, target in STORES.items():
            found = self._files.locate(target)
            if found is None and name in {"mail", "config"}:
                raise self._fault("volumes", f"nothing is mounted at {target}", "mail and accounts")
            if found is None:
                self._notes.append(
                    f"nothing is mounted at {target}: what the old container holds there stays in "
                    "it, and the stack makes a new volume"
                )
            elif found.mount.kind == "bind":
                yield name, str(found.host_path)
            elif found.mount.kind == "volume" and found.mount.source and not found.relative.parts:
                yield name, found.mount.source
            else:
                raise self._fault(
                    "volumes",
                    f"{target} lies in {found.mount.source or 'an anonymous volume'}",
                    "a folder of the host, or a named volume of its own",
                    f"mount one at {target} and copy the files there first",
                )

    def _stop_grace(self) -> int | None:
        stated = self._service.text("stop_grace_period")
        parts = _DURATION.findall(stated)
        if stated and "".join(map("".join, parts)) != stated:
            raise self._fault("stop_grace_period", stated, "a duration such as 1m30s")
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        return max(1, round(seconds)) if stated else None

    def _read_moved(self) -> Iterator[tuple[str, str]]:
        """Yield each file beside the keys that some setting names, with its new path."""
        keys = {key.path for conf in self._confs.values() for key in (*conf.private, *conf.public)}
        for path in self._named_files():
            if path.startswith(f"{dms.CERTS_DIR}/") and path not in keys:
                yield path, _BESIDE_KEYS + path.removeprefix(dms.CERTS_DIR)

    def _with_moved(self, text: str) -> str:
        for path, new in self._moved.items():
            text = re.sub(rf"(?<![\w./-]){re.escape(path)}(?![\w./-])", new, text)
        return text

    def _is_rewritten(self, path: str) -> bool:
        conf = self._confs[path]
        return conf.uses_mail_crypt or self._with_moved(conf.rest) != conf.rest

    def _rest_files(self) -> Iterator[tuple[Path, str]]:
        """Yield what remains of each configuration file that cannot stay as it is."""
        for path, conf in self._confs.items():
            if conf.rest and self._is_rewritten(path):
                yield self._rest_path(path), self._with_moved(conf.rest)

    def _rest_path(self, path: str) -> Path:
        return self._folder / FOLDER / Path(path).name

    def _other_mounts(self, files: Mapping[Path, str]) -> Iterator[dict[str, Any]]:
        """Yield the mounts beside the stores, without the keys."""
        keys = self._key_paths()
        for mount in self._service.mounts:
            self._notes += notes.of_mount(mount)
            if mount.kind not in {"bind", "volume"} or mount.target in STORES.values():
                continue
            if mount.target in self._confs:
                yield from self._conf_mount(mount, files)
            elif _holds(dms.CERTS_DIR, [mount.target]) or _holds(mount.target, keys):
                yield from self._files_beside_keys(mount, keys)
            elif mount.source:
                yield _mount(mount.source, mount.target, read_only=mount.read_only)
            else:
                self._notes.append(
                    f"anonymous volume at {mount.target}: not taken over; its files stay in it"
                )

    def _conf_mount(self, mount: Mount, files: Mapping[Path, str]) -> Iterator[dict[str, Any]]:
        target = _REST_OF_CUSTOM if mount.target == dms.CUSTOM_CONF else mount.target
        rest = self._rest_path(mount.target)
        if not self._is_rewritten(mount.target):
            yield _mount(mount.source, target, read_only=True)
        elif rest in files:
            self._notes.append(
                f"{mount.source}: its settings besides mail_crypt and keys go to {rest}, which is "
                f"mounted at {target}"
            )
            yield _mount(str(rest), target, read_only=True)

    def _key_paths(self) -> list[str]:
        found = [
            key.path
            for conf in self._confs.values()
            for key in (*conf.private, *conf.public)
            if key.path
        ]
        for path in found:
            where = self._files.locate(path)
            if where and where.mount.target in STORES.values():
                self._notes.append(
                    f"the key {where} lies in a store that stays mounted: delete the file once "
                    "the stack is proven and mailcrypt escrow has made a copy"
                )
        return found

    def _files_beside_keys(self, mount: Mount, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield a mount for each file in a folder of keys that other settings name."""
        used = [
            path
            for path in self._named_files()
            if _holds(mount.target, [path]) and path not in {*keys, dms.CERTS_DIR}
        ]
        if used and mount.kind == "volume":
            raise self._fault(
                "volumes",
                f"{', '.join(used)} lies in the volume {mount.source} beside the keys",
                "a folder of the host: a single file of a volume cannot be mounted",
                f"copy the certificate into a folder, and mount that at {mount.target}",
            )
        for path in used:
            where = self._files.locate(path)
            yield _mount(str(where), self._moved.get(path, path), read_only=True)
        if used:
            moved = ", ".join(self._moved.get(path, path) for path in used)
            self._notes.append(
                f"{', '.join(used)}: mounted file by file, as {moved}; after renewing a "
                f"certificate by replacing its file, docker restart {self._server}"
            )
        left = set(self._files.names_in(mount.target)) - {Path(path).name for path in used}
        self._notes.append(
            f"{mount.source} is no longer mounted at {mount.target}; left there: "
            f"{', '.join(sorted(left)) or 'nothing'}. The keys are the stack's secrets now: delete "
            "their files once the stack is proven and mailcrypt escrow has made a copy"
        )

    def _named_files(self) -> list[str]:
        """Return the paths of files that the environment and the configuration name."""
        texts = [conf.rest for conf in self._confs.values()]
        texts += [self._files.find(f"{dms.CONFIG_DIR}/{name}") or "" for name in _OTHER_CONFIG]
        found = [value for value in self._environment.values() if value.startswith("/")]
        found += _paths_in("\n".join(texts))
        return list(dict.fromkeys(path for path in found if not path.endswith("/")))

    def _note_the_rest(self, mail: Audit) -> None:
        compression = sorted({word for conf in self._confs.values() for word in conf.compression})
        if compression:
            self._notes.append(
                f"mail is compressed ({', '.join(compression)}): taken over, so that it stays "
                "readable"
            )
        if number := in_clear(mail):
            self._notes.append(
                f"{mails(number)} in clear: mailcrypt encrypt --stack {self._stack} --apply "
                "encrypts what is stored in clear, once the stack is up"
            )
        if not {"SSL_TYPE", "SSL_TYPE__FILE"} & self._environment.keys():
            self._notes.append(
                "SSL_TYPE is not set, so the stack makes a certificate of its own; "
                "tls: {mode: dms} accepts passwords in clear as before"
            )
        self._notes.append(
            "the stack keeps the private keys in memory: after a reboot users can read their mail "
            f"once mailcrypt unlock --stack {self._stack} has run; keyCustody: disk is as before"
        )
        self._notes += notes.of_service(self._service, self._environment, self._server)
        others = [name for name in self._project.services if name != self._service.name]
        if others:
            self._notes.append(f"other services stay with Docker Compose: {', '.join(others)}")

    def _edits(self, files: Mapping[Path, str]) -> Iterator[Step]:
        """Yield how to change the files of the configuration folder, which stays mounted."""
        conf, where = self._confs.get(_DOVECOT_CF), self._files.locate(_DOVECOT_CF)
        if conf and where and self._is_rewritten(_DOVECOT_CF):
            numbers = ", ".join(map(str, conf.lines))
            reason = f"its lines {numbers} set mail_crypt, and would overrule the stack's"
            remains = self._rest_path(_DOVECOT_CF)
            yield from replace_file(
                _DOVECOT_CF,
                where,
                remains if remains in files else None,
                container_of(self._project, self._service),
                reason if conf.uses_mail_crypt else "it names files that have moved",
            )
        for name in _OTHER_CONFIG:
            path = f"{dms.CONFIG_DIR}/{name}"
            where, named = self._files.locate(path), _paths_in(self._files.find(path) or "")
            if where:
                yield from (
                    rename_in(where, old, new) for old, new in self._moved.items() if old in named
                )


def _paths_in(text: str) -> list[str]:
    """Return the absolute paths that a configuration file names."""
    return re.findall(r"(?<![\w./-])/[\w./-]+", text)


def _holds(target: str, paths: Sequence[str]) -> bool:
    """Tell whether a mount at target is, or holds, one of these paths."""
    return any(path == target or path.startswith(f"{target}/") for path in paths)


def _mount(source: str, target: str, *, read_only: bool) -> dict[str, Any]:
    return {"source": source, "target": target, "readOnly": read_only}
