"""Converts raw arguments into settings once, and reports all faults in one error.

No deeper code reads raw arguments.  Arguments that are partly unresolved can be read twice: at
construction for their shape, and again at ``up`` when all of them are known.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.dialects.dialect import Dialect
from mailcrypt_component.model import dms
from mailcrypt_component.model.raw_settings import HOSTNAME, RawSettings, is_docker_host, shown
from mailcrypt_component.model.read_accounts import read_accounts, read_probe_address
from mailcrypt_component.model.read_environment import read_environment, read_tls
from mailcrypt_component.model.read_keys import read_custody, read_given_up, read_keys
from mailcrypt_component.model.read_nodes import read_nodes
from mailcrypt_component.model.read_ports import read_ports
from mailcrypt_component.model.read_stores import (
    read_adopt_mail,
    read_binds,
    read_index_cache,
    read_mounts,
    read_queue,
)
from mailcrypt_component.model.settings import (
    DEFAULT_COUNT_DEADLINE,
    DEFAULT_DEADLINE,
    DEFAULT_STOP_GRACE,
    Settings,
)
from mailcrypt_component.model.swarm import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOSTNAME: Final = re.compile(HOSTNAME, re.IGNORECASE)
_IMAGE_ID: Final = re.compile(r"sha256:[0-9a-f]{64}")
_NETWORK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_PREDEFINED: Final = ("bridge", "default", "host", "none")
"""Networks that give a container no name of its own, or no address."""
_FIELDS: Final = (*Settings.__dataclass_fields__,)
_MAX_HOSTNAME: Final = 253
_MAX_DEADLINE: Final = 3600
_MAX_COUNT_DEADLINE: Final = 86400
_MAX_STOP_GRACE: Final = 1080  # The provider gives up after twenty minutes.


def read_settings(args: Mapping[str, Any], *, unresolved: tuple[type, ...] = ()) -> Settings:
    """Check raw arguments and return them as one frozen value.

    Args:
        args: The arguments by their ``snake_case`` or ``camelCase`` names.
        unresolved: Types of values that Pulumi resolves later.  Such a value passes through
            as it is where ``args.py`` allows an ``Input``; an unresolved port is left out.

    Raises:
        SettingsErrors: One or more settings are wrong; it names each of them.

    """
    raw = RawSettings(args, unresolved)
    raw.refuse_unknown_settings(_FIELDS)
    dialect = _dialect(raw)
    accounts = read_accounts(raw)
    environment = read_environment(raw)
    keys = read_keys(raw, dialect)
    target = raw.choice("target", raw.get("target"), Platform, Platform.MACHINE)
    custody = read_custody(raw, keys, target)
    binds = read_binds(raw, custody)
    nodes, placement = read_nodes(raw, target, binds)
    index_cache, index_cache_size = read_index_cache(raw)
    queue, queue_size = read_queue(raw, environment)
    settings = Settings(
        image=_image(raw),
        hostname=_hostname(raw),
        dialect=dialect,
        keys=keys,
        give_up_keys=read_given_up(raw),
        key_custody=custody,
        accounts=accounts,
        probe_address=read_probe_address(raw, accounts),
        protect=raw.typed("protect", bool, default=True),
        keep_mail=raw.typed("keep_mail", bool, default=True),
        stop_unproven=raw.typed("stop_unproven", bool, default=True),
        adopt_mail=read_adopt_mail(raw),
        binds=binds,
        index_cache=index_cache,
        index_cache_size=index_cache_size,
        queue=queue,
        queue_size=queue_size,
        ports=read_ports(raw, target),
        network=_network(raw),
        environment=environment,
        mounts=read_mounts(raw, custody),
        tls=read_tls(raw),
        docker_host=_docker_host(raw),
        target=target,
        nodes=nodes,
        placement=placement,
        deadline=raw.whole_number("deadline", DEFAULT_DEADLINE, _MAX_DEADLINE, "seconds"),
        count_deadline=raw.whole_number(
            "count_deadline", DEFAULT_COUNT_DEADLINE, _MAX_COUNT_DEADLINE, "seconds"
        ),
        stop_grace=raw.whole_number("stop_grace", DEFAULT_STOP_GRACE, _MAX_STOP_GRACE, "seconds"),
    )
    raw.raise_faults()
    return settings


def _image(raw: RawSettings) -> Any:
    image = raw.get("image", "")
    if raw.later(image):
        return image
    if not isinstance(image, str) or not image or re.search(r"\s", image):
        raw.fault(
            "image",
            shown(image),
            "an image name or id",
            "for instance mailserver/docker-mailserver:15.1.0",
        )
    elif image.startswith("sha256:") and not _IMAGE_ID.fullmatch(image):
        # The engine answers with all digits, so a shortened id would differ at each up.
        raw.fault(
            "image",
            shown(image),
            "sha256: and all 64 digits of the image's id",
            "docker images --no-trunc shows them",
        )
    return image


def _hostname(raw: RawSettings) -> Any:
    hostname = raw.get("hostname", "")
    if raw.later(hostname):
        return hostname
    valid = isinstance(hostname, str) and _HOSTNAME.fullmatch(hostname)
    if not valid or len(hostname) > _MAX_HOSTNAME:
        raw.fault("hostname", shown(hostname), "a full host name such as mail.example.test")
    return hostname


def _dialect(raw: RawSettings) -> Dialect | None:
    image = raw.get("image")
    tagged = dms.dialect_of_tag(image) if isinstance(image, str) else None
    stated = raw.choice("dialect", raw.get("dialect"), Dialect, None)
    if stated and tagged and stated is not tagged:
        raw.fault(
            "dialect",
            f"{stated.value}, but {image} contains Dovecot {tagged.value}",
            f"{tagged.value}, or no dialect setting",
            "remove the setting dialect; the image decides",
        )
    return stated or tagged


def _network(raw: RawSettings) -> Any:
    network = raw.get("network")
    if network is None or raw.later(network):
        return network
    if not isinstance(network, str) or not _NETWORK.fullmatch(network):
        raw.fault("network", shown(network), "the name of an existing network")
    elif network in _PREDEFINED:
        raw.fault(
            "network",
            f"{network!r}, which Docker defines itself",
            "a network that was made with docker network create",
            "remove the setting network to get a network of the server's own; ports publishes it",
        )
    return network


def _docker_host(raw: RawSettings) -> Any:
    host = raw.get("docker_host")
    if host is None or raw.later(host):
        return host
    if not is_docker_host(host):
        raw.fault("dockerHost", shown(host), "unix://…, tcp://… or ssh://user@host")
        return None
    return host
