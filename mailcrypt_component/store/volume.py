"""Count the mails of a volume by what they are sealed to, without installing anything.

A throw-away container of the server's own image reads each mail's first bytes
with Perl, which every Debian has, and streams them out; they are parsed here, by
our own format code.  The volume is mounted read-only.  Works on a remote Docker
host too.
"""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import docker.errors

from mailcrypt_component import dms
from mailcrypt_component.cryptfile import HEADER_LIMIT, NotSealed, parse_header
from mailcrypt_component.docker_host import execute, throwaway
from mailcrypt_component.errors import FormatError, UnreachableError
from mailcrypt_component.mounts import as_mount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient
    from docker.models.containers import Container

_READ: Final = 512
"""A header for P-521 has 325 bytes; longer ones are read up to the limit."""


@dataclass(slots=True)
class Census:
    """How many mails each user has, by state; users are ``domain/user``.

    ``sealed`` counts per key id; ``clear`` and ``damaged`` per user.
    """

    sealed: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    clear: Counter[str] = field(default_factory=Counter)
    damaged: Counter[str] = field(default_factory=Counter)

    def add(self, user: str, prefix: bytes) -> None:
        """Count one mail by its first bytes."""
        try:
            header = parse_header(prefix)
        except NotSealed:
            self.clear[user] += 1
        except FormatError:
            self.damaged[user] += 1
        else:
            for recipient in header.recipients:
                self.sealed[recipient.key_id][user] += 1


# Prints one record a mail: path length, path, prefix length, prefix; lengths of 4 bytes.
_SCRIPT: Final = r"""
use strict; use File::Find; binmode STDOUT; my $root = shift; my ($read, $limit) = @ARGV;
find({ no_chdir => 1, wanted => sub {
  my $path = $File::Find::name;
  return unless $path =~ m{/(?:cur|new)/[^/]+\z}s;
  return unless lstat($path) && -f _;
  open(my $file, "<:raw", $path) or return;
  my $prefix = ""; sysread($file, $prefix, $read);
  if (length($prefix) >= 18 && substr($prefix, 0, 9) eq "CRYPTED\x03\x07") {
    my $length = unpack("N", substr($prefix, 14, 4));
    sysread($file, $prefix, $length - $read, $read) if $length > $read && $length <= $limit;
  } else { $prefix = substr($prefix, 0, 18); }
  print pack("N/a* N/a*", $path, $prefix);
} }, $root);
"""


def census(client: DockerClient, image: str, mail: str, *, deadline: float) -> Census:
    """Count the mails in a volume.

    Args:
        client: The Docker engine that has the volume.
        image: An image with Perl.
        mail: The volume's name, or a path on the Docker host.
        deadline: Seconds to take at the most.

    Returns:
        The counts; a volume that does not exist is empty and is not made.

    Raises:
        UnreachableError: The engine, the image or the volume did not answer.

    """
    found = Census()
    if not _exists(client, mail):
        return found
    mount = as_mount(mail, dms.MAIL_DIR, read_only=True)
    with throwaway(client, image, mounts=[mount], purpose="census") as container:
        for path, prefix in read_mails(container, dms.MAIL_DIR, timeout=deadline):
            found.add(_user(path), prefix)
    return found


def read_mails(container: Container, root: str, *, timeout: float) -> Iterator[tuple[bytes, bytes]]:
    """Yield each mail's path and first bytes, from below a folder of a container.

    Raises:
        UnreachableError: The folder could not be read in time.

    """
    argv = ["perl", "-e", _SCRIPT, root, str(_READ), str(HEADER_LIMIT)]
    result = execute(container, argv, timeout=timeout)
    if result.exit_code:
        raise UnreachableError(
            result.stderr.decode(errors="replace").strip(), where=f"{container.name}:{root}"
        )
    stream = io.BytesIO(result.stdout)
    while size := stream.read(4):
        path = stream.read(int.from_bytes(size))
        yield path, stream.read(int.from_bytes(stream.read(4)))


def _user(path: bytes) -> str:
    parts = path.decode(errors="backslashreplace").removeprefix(dms.MAIL_DIR + "/").split("/")
    return "/".join(parts[:2])


def _exists(client: DockerClient, mail: str) -> bool:
    if mail.startswith("/"):
        return True
    try:
        client.volumes.get(mail)
    except docker.errors.NotFound:
        return False
    return True
