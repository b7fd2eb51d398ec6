"""Count the mails of a volume of a Docker host, without installing anything in it.

A throw-away container of the server's own image reads each mail's first bytes
with Perl, which every Debian has, and streams them out; they are parsed here, by
our own format code.  The volume is mounted read-only.  Works on a remote Docker
host and while the server runs.
"""

from __future__ import annotations

import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import docker.errors
import docker.types

from mailcrypt_component.dcrypt.header import HEADER_LIMIT
from mailcrypt_component.docker_api.mounts import as_mount
from mailcrypt_component.docker_api.run import execute, stream
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model import dms
from mailcrypt_component.store.maildir import Mail, is_dbox, is_mail_folder, place_of, shown
from mailcrypt_component.store.tally import DBOX, MBOX, UNREADABLE, Tally, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from docker import DockerClient
    from docker.models.containers import Container

_READ: Final = 512
"""A header for P-521 has 325 bytes; longer ones are read up to the limit."""


# Prints one record a file: path and prefix, each with its length (4 bytes) in front, then
# size and time of arrival (8 bytes each, big-endian).  Size -1: it cannot be read.
_SCRIPT: Final = r"""
use strict; use File::Find; binmode STDOUT; my $root = shift; my ($read, $limit) = @ARGV;
find({ no_chdir => 1, wanted => sub {
  my $path = $File::Find::name;
  return unless my ($size, $time) = (lstat($path))[7, 9];
  return unless -f _;
  my $mail = $path =~ m{/(?:cur|new)/[^/]+\z}s;
  my $dbox = !$mail && $path =~ m{/[um]\.[0-9]+\z}s;
  my ($prefix, $file) = ("");
  if (open($file, "<:raw", $path)) {
    sysread($file, $prefix, $mail ? $read : 5);
    return unless $mail || $dbox || $prefix eq "From ";
    if (length($prefix) >= 18 && substr($prefix, 0, 9) eq "CRYPTED") {
      my $length = unpack("N", substr($prefix, 14, 4));
      sysread($file, $prefix, $length - $read, $read) if $length > $read && $length <= $limit;
    } else { $prefix = substr($prefix, 0, 18); }
  } else { return if $!{ENOENT} || !$mail; $size = -1; }
  print pack("N/a* N/a* q> q>", $path, $prefix, $size, $time);
} }, $root);
"""


def census(
    client: DockerClient,
    image: str,
    mail: str,
    *,
    deadline: float,
    years: bool = False,
    progress: Callable[[int], None] | None = None,
    expect: Callable[[Callable[[], int]], None] = lambda _: None,
) -> Tally:
    """Count the mails in a volume.

    Args:
        client: The Docker engine that has the volume.
        image: An image with Perl.
        mail: The volume's name, or a path on the Docker host.
        deadline: Seconds to take at the most.
        years: Whether to count by year of arrival, too.
        progress: Called now and then with the number of mails so far.
        expect: Called once, before, with a function that counts how many there are.

    Returns:
        The counts; a volume that does not exist is empty and is not made.

    Raises:
        UnreachableError: The engine, the image or the volume did not answer.

    """
    mounts = mail_mounts(client, mail)
    if not mounts:
        return Tally()
    lifetime = int(deadline) + 60
    with throwaway(client, image, mounts=mounts, purpose="census", lifetime=lifetime) as container:
        expect(lambda: _number_of_mails(container, deadline))
        return count_in(container, deadline=deadline, years=years, progress=progress)


def mail_mounts(client: DockerClient, mail: str) -> list[docker.types.Mount]:
    """Return what mounts a mail volume for reading; nothing where there is no such volume."""
    if not mail.startswith("/"):
        try:
            client.volumes.get(mail)
        except docker.errors.NotFound:
            return []
    return [as_mount(mail, dms.MAIL_DIR, read_only=True)]


def count_in(
    container: Container,
    *,
    deadline: float,
    years: bool = False,
    progress: Callable[[int], None] | None = None,
    into: Tally | None = None,
) -> Tally:
    """Count the mails below a container's mail directory; see ``census``.

    What was counted before the deadline passed is in ``into``, where that is given.
    """
    found = Tally() if into is None else into
    for number, one in enumerate(read_mails(container, dms.MAIL_DIR, timeout=deadline)):
        _add(found, one, years=years)
        if progress and not number % _TOLD:
            progress(number + 1)
    return found


@contextmanager
def opened_volume(
    client: DockerClient, image: str, mail: str, deadline: float
) -> Iterator[tuple[Iterator[Mail], Callable[[bytes], bytes]]]:
    """Give every mail of a volume, and a function that fetches a whole one.

    Raises:
        UnreachableError: The engine, the image or the volume did not answer.

    """
    mount = as_mount(mail, dms.MAIL_DIR, read_only=True)
    with throwaway(
        client, image, mounts=[mount], purpose="drill", lifetime=int(deadline) + 60
    ) as container:

        def fetch(path: bytes) -> bytes:
            # A name need not be UTF-8, and arguments must be: it goes by standard input.
            script = 'local $/; my $path = <STDIN>; open(my $f, "<:raw", $path) or exit 2;'
            script += " binmode STDOUT; print while <$f>;"
            full = dms.MAIL_DIR.encode() + b"/" + path
            done = execute(container, ["perl", "-e", script], stdin=full, timeout=deadline)
            if done.exit_code:
                raise FileNotFoundError(path)
            return done.stdout

        head = len(dms.MAIL_DIR) + 1
        found = read_mails(container, dms.MAIL_DIR, timeout=deadline)
        yield (one._replace(path=one.path[head:]) for one in found), fetch


def _add(found: Tally, mail: Mail, *, years: bool) -> None:
    directory, _, name = mail.path.removeprefix(dms.MAIL_DIR.encode() + b"/").rpartition(b"/")
    if mail.size < 0:
        state = UNREADABLE
    elif is_mail_folder(directory):
        state = state_of(mail.prefix, mail.size)
    else:
        state = DBOX if is_dbox(name) else MBOX
    found.add(place_of(directory), {state: 1})
    found.add_example(state, shown(directory + b"/" + name))
    if years:
        found.add_year(time.gmtime(mail.arrived).tm_year, {state: 1})


def read_mails(container: Container, root: str, *, timeout: float) -> Iterator[Mail]:
    """Yield each mail below a folder of a container, as it is found.

    Raises:
        UnreachableError: The folder could not be read in time.

    """
    yield from mails_of(stream(container, reading(root), timeout=timeout))


def reading(root: str) -> list[str]:
    """Return the command that prints what ``mails_of`` takes, for each mail below a folder."""
    return ["perl", "-MErrno", "-e", _SCRIPT, root, str(_READ), str(HEADER_LIMIT)]


def mails_of(printed: Iterable[bytes]) -> Iterator[Mail]:
    """Yield each mail that the command of ``reading`` has printed, in pieces of any size."""
    held = bytearray()
    for chunk in printed:
        held += chunk
        start = 0
        while record := _record(held, start):
            mail, start = record
            yield mail
        del held[:start]


def _record(data: bytearray, start: int) -> tuple[Mail, int] | None:
    """Take one record off; None where it has not come whole yet."""
    fields = []
    for _ in range(2):
        end = start + 4 + int.from_bytes(data[start : start + 4])
        if len(data) < start + 4 or len(data) < end:
            return None
        fields.append(bytes(data[start + 4 : end]))
        start = end
    if len(data) < start + 16:
        return None
    return Mail(fields[0], fields[1], *struct.unpack_from(">qq", data, start)), start + 16


def _number_of_mails(container: Container, timeout: float) -> int:
    names = r"find . -type f \( -path '*/cur/*' -o -path '*/new/*' \) -printf ."
    argv = ["sh", "-c", f"cd {dms.MAIL_DIR} && {names} | wc -c"]
    return int(execute(container, argv, timeout=timeout).stdout or 0)


_TOLD: Final = 1000
