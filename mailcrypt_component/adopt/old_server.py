"""The server that was set up by hand: its Compose service, its files and its variables."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mailcrypt_component.adopt.dovecot_conf import DovecotConf, read_dovecot_conf
from mailcrypt_component.adopt.mounted import MountedFiles
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mailcrypt_component.adopt.compose import Project, Service

FOLDER: Final = "mailcrypt-adopted"
"""The folder next to the compose file for configuration files without mail_crypt's settings."""
DOVECOT_CF: Final = f"{dms.CONFIG_DIR}/dovecot.cf"
OTHER_CONFIG: Final = ("postfix-main.cf", "postfix-master.cf", "user-patches.sh")

_CONF_D: Final = "/etc/dovecot/conf.d"
_FILES_FROM_CERTS: Final = "/etc/mailcrypt-adopted"
"""The new folder for other files of /certs, which is a memory volume that holds only keys."""


@dataclass(frozen=True, slots=True)
class OldServer:
    """A Compose service with the files that it mounts.

    ``environment`` holds the variables that have a value.  ``confs`` holds Dovecot's
    configuration files by path, in the order in which Dovecot reads them.  ``moved`` maps each
    file in the key folder that another setting names to its new path.
    """

    folder: Path
    stack: str
    project: Project
    service: Service
    image: str
    files: MountedFiles
    environment: Mapping[str, str] = field(repr=False)
    confs: Mapping[str, DovecotConf] = field(repr=False)
    moved: Mapping[str, str]

    @property
    def new_name(self) -> str:
        """The name of the stack's container."""
        return f"mailcrypt-{self.stack}"

    @property
    def key_paths(self) -> list[str]:
        """The paths of the key files that Dovecot's configuration names."""
        return _key_paths(self.confs)

    @property
    def named_files(self) -> list[str]:
        """The paths of the files that the environment and the configuration name."""
        return _named_files(self.environment, self.confs, self.files)

    @property
    def rest_files(self) -> dict[Path, str]:
        """The remaining text of each configuration file that cannot stay as it is, by path."""
        return {
            self.rest_path(path): self.with_moved(conf.rest)
            for path, conf in self.confs.items()
            if conf.rest and self.is_rewritten(path)
        }

    def rest_path(self, path: str) -> Path:
        """Return the path on this machine of what remains of a configuration file."""
        return self.folder / FOLDER / Path(path).name

    def is_rewritten(self, path: str) -> bool:
        """Tell whether a configuration file sets mail_crypt or names a file that has moved."""
        conf = self.confs[path]
        return conf.uses_mail_crypt or self.with_moved(conf.rest) != conf.rest

    def with_moved(self, text: str) -> str:
        """Return a configuration text with the new paths of the files that have moved."""
        for path, new in self.moved.items():
            text = re.sub(rf"(?<![\w./-]){re.escape(path)}(?![\w./-])", new, text)
        return text

    def fault(self, where: str, found: str, expected: str, hint: str = "") -> SettingsError:
        """Return the error for a key of the service."""
        return service_fault(self.project, self.service, where, found, expected, hint=hint)


def service_fault(
    project: Project, service: Service, where: str, found: str, expected: str, *, hint: str = ""
) -> SettingsError:
    """Return the error for a key of a service."""
    place = f"{project.file}: {service.name}.{where}"
    return SettingsError(found, where=place, expected=expected, hint=hint)


def read_old_server(
    folder: Path, stack: str, project: Project, service: Service, note: Callable[[str], None]
) -> OldServer:
    """Read the files of a service that describe the server.

    Args:
        folder: The absolute path of the folder with the compose file.
        stack: The name of the stack that takes over the server.
        project: The Compose project.
        service: The mail server's service.
        note: Called with each note.

    Raises:
        SettingsError: The service has no image, or a configuration file cannot be read.

    """
    image = _required_image(project, service)
    files = MountedFiles(service.mounts, image)
    environment = _set_variables(service, note)
    confs = dict(_read_confs(project, service, files))
    moved = dict(_moved(environment, confs, files))
    return OldServer(folder, stack, project, service, image, files, environment, confs, moved)


def paths_in(text: str) -> list[str]:
    """Return the absolute paths that a configuration file names."""
    return re.findall(r"(?<![\w./-])/[\w./-]+", text)


def _required_image(project: Project, service: Service) -> str:
    image = service.text("image")
    if image:
        return image
    if "build" in service.stated:
        return f"{project.name}-{service.name}"
    raise service_fault(project, service, "image", "not stated", "the service's image")


def _set_variables(service: Service, note: Callable[[str], None]) -> dict[str, str]:
    stated = service.environment
    unset = sorted(name for name, value in stated.items() if value is None)
    empty = sorted(name for name, value in stated.items() if value == "")
    if unset:
        note(
            f"not set: {', '.join(unset)}; the compose file takes them from the environment, "
            "where they are not set now"
        )
    if empty:
        note(f"empty and left out, which is the same to docker-mailserver: {', '.join(empty)}")
    return {name: value for name, value in stated.items() if value}


def _read_confs(
    project: Project, service: Service, files: MountedFiles
) -> Iterator[tuple[str, DovecotConf]]:
    """Yield Dovecot's configuration files by path, in the order in which it reads them."""
    for target in sorted(mount.target for mount in service.mounts):
        if target in {_CONF_D, "/etc/dovecot"}:
            raise service_fault(
                project,
                service,
                "volumes",
                f"a whole folder is mounted at {target}",
                "each file mounted by itself, because the stack writes a file there",
                hint=f"mount only the files that you changed, such as {dms.CUSTOM_CONF}",
            )
        if target.startswith("/etc/dovecot/") and target.endswith(".conf"):
            yield target, read_dovecot_conf(files.read(target))
    text = files.find(DOVECOT_CF)
    if text is not None:
        yield DOVECOT_CF, read_dovecot_conf(text)


def _moved(
    environment: Mapping[str, str], confs: Mapping[str, DovecotConf], files: MountedFiles
) -> Iterator[tuple[str, str]]:
    """Yield each named file of the key folder that is no key, with its new path."""
    keys = _key_paths(confs)
    for path in _named_files(environment, confs, files):
        if path.startswith(f"{dms.CERTS_DIR}/") and path not in keys:
            yield path, _FILES_FROM_CERTS + path.removeprefix(dms.CERTS_DIR)


def _key_paths(confs: Mapping[str, DovecotConf]) -> list[str]:
    keys = [key.path for conf in confs.values() for key in (*conf.private, *conf.public)]
    return [path for path in keys if path]


def _named_files(
    environment: Mapping[str, str], confs: Mapping[str, DovecotConf], files: MountedFiles
) -> list[str]:
    texts = [conf.rest for conf in confs.values()]
    texts += [files.find(f"{dms.CONFIG_DIR}/{name}") or "" for name in OTHER_CONFIG]
    found = [value for value in environment.values() if value.startswith("/")]
    found += paths_in("\n".join(texts))
    return list(dict.fromkeys(path for path in found if not path.endswith("/")))
