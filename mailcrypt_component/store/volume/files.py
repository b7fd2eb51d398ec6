"""The files of a store in a volume of a Docker host, as encrypting them anew asks for it.

An agent in Perl, which every Debian has, runs in a throw-away container of the server's
own image, with the volume mounted; it is talked with over the Docker API.  It moves bytes
and asks the file system; mail is opened and encrypted here, so no key goes there.

A question's first string says what is asked; an answer's is ``ok``, or ``error`` with the
errno and its text.  Times have the microseconds that Perl gives.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import docker.errors

from mailcrypt_component.dcrypt.header import HEADER_LIMIT
from mailcrypt_component.docker_api.agent import PERL, Agent
from mailcrypt_component.docker_api.connect import connect
from mailcrypt_component.docker_api.mounts import as_mount
from mailcrypt_component.docker_api.run import session
from mailcrypt_component.docker_api.throwaway import throwaway
from mailcrypt_component.model import dms
from mailcrypt_component.model.errors import UnreachableError
from mailcrypt_component.store.local.files import (
    TEMPORARY,
    TRIES,
    Facts,
    Seen,
    at_work,
    run_mark,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from mailcrypt_component.model.docker_host import DockerHost
    from mailcrypt_component.store.local.files import Files, Ready

LIFETIME: Final = 86_400.0
"""Seconds that a run may take at the most; the next one goes on where it stopped."""

_HINT: Final = "nothing is lost; run it again: it goes on where it stopped"

# What the container waits for: that no agent is left, whatever has become of its client.
_WAITING: Final = "while sleep 15; do grep -q perl /proc/[0-9]*/comm || exit 0; done"

_AGENT: Final = (
    PERL
    + r"""
use Errno qw(ENOENT EEXIST EWOULDBLOCK);
use Fcntl qw(:DEFAULT :flock :mode); use POSIX (); use Time::HiRes qw(stat lstat utime);
my ($root, $run, $limit, $tries, $marks) = @ARGV;
my %rename = (x86_64 => 316, aarch64 => 276, riscv64 => 276, ppc64le => 357, s390x => 347);
my $rename = $rename{(POSIX::uname())[4]};
my ($count, %mine, $locked) = (0);

sub at { join "/", $root, grep { length } @_ }
sub beside { my ($dir, $folder) = @_; $dir =~ s{[^/]*\z}{$folder}s; $dir }
sub base { $_[0] =~ /\A(.*?):2,/s ? $1 : $_[0] }
sub facts { sprintf "%d %d %.9f %.9f %d %d %d %d", @_[1, 7, 9, 8, 3, 4, 5], S_IMODE($_[2]) }
sub identity { join " ", (split / /, facts(@_))[0 .. 2] }
sub entries {
  opendir(my $dir, at($_[0])) or return;
  return grep { $_ ne "." && $_ ne ".." } readdir $dir;
}
sub opened { sysopen(my $file, at(@_), O_RDONLY | O_NOFOLLOW | O_NONBLOCK) or return; $file }
sub temporary {
  my $dir = shift; my $folder = beside($dir, "tmp");
  unless (-d at($folder)) {
    my @dir = stat at($dir) or fail();
    mkdir(at($folder), S_IMODE($dir[2])) && chown(@dir[4, 5], at($folder)) or fail();
  }
  return "$folder/$run$$." . $count++;
}
sub discard { for (@_) { unlink(at($_)) or $!{ENOENT} or fail(); delete $mine{$_} } }
sub exchange {
  my ($one, $other) = map { at($_) } @_;
  defined $rename or die [95, "renameat2 is not known on this machine's architecture"];
  return 1 if syscall($rename, -100, $one, -100, $other, 2) == 0;
  $!{ENOENT} ? 0 : fail();
}
sub renamed {
  my ($dir, %bases) = (shift, map { base($_) => 1 } @_); my @found;
  for my $folder (map { beside($dir, $_) } "cur", "new") {
    my @there = grep { $bases{base($_)} } entries($folder);
    push @found, [$folder, @there] if @there;
  }
  return @found;
}
sub take_place {
  my ($temporary, $dir, $name, $old) = @_; my $path = "$dir/$name";
  for (1 .. $tries) {
    my @now = lstat at($path);
    if (@now && identity(@now) eq $old && exchange($temporary, $path)) {
      return $path if identity(lstat at($temporary)) eq $old;
      exchange($temporary, $path);
    }
    my ($moved) = renamed($dir, $name) or return "";
    $path = "$moved->[0]/$moved->[1]";
  }
  return "";
}

my %answers = (
  lock => sub {
    sysopen($locked, $root, O_RDONLY) or fail();
    return "locked" if flock($locked, LOCK_EX | LOCK_NB);
    $!{EWOULDBLOCK} ? "" : fail();
  },
  folders => sub {
    my ($waiting, @found) = ([""]);
    while (@$waiting) {
      my $dir = shift @$waiting; push @found, $dir;
      next if $dir =~ m{(?:\A|/)(?:cur|new|tmp)\z};
      push @$waiting, grep { CORE::lstat(at($_)); -d _ }
        map { length $dir ? "$dir/$_" : $_ } entries($dir);
    }
    return @found;
  },
  names => sub {
    my $dir = shift; opendir(my $there, at($dir)) or return $!{ENOENT} ? "gone" : "unreadable";
    return ("read", grep { CORE::lstat(at($dir, $_)); -f _ } readdir $there);
  },
  look => sub {
    my $dir = shift;
    return map {
      my $file = opened($dir, $_); my ($said, $head) = ("", "");
      if ($file) { $said = facts(stat $file); $head = whole($file, $limit) }
      elsif (!$!{ENOENT}) { $said = "$!" }
      ($said, $head);
    } @_;
  },
  read => sub {
    my $dir = shift;
    return map {
      my $file = opened($dir, $_); $file || $!{ENOENT} or fail();
      $file ? ("read", whole($file, -s $file)) : ("", "");
    } @_;
  },
  write => sub {
    my $dir = shift; my @written;
    while (@_) {
      my ($facts, $data) = splice @_, 0, 2;
      my (undef, undef, $mtime, $atime, undef, $uid, $gid, $mode) = split / /, $facts;
      my $temporary = temporary($dir);
      sysopen(my $file, at($temporary), O_RDWR | O_CREAT | O_EXCL, 0600) or fail();
      $mine{$temporary} = 1;
      put($file, $data);
      chown($uid, $gid, $file) && chmod($mode, $file) && sysseek($file, 0, 0) or fail();
      push @written, $temporary, whole($file, -s $file);
      utime($atime, $mtime, $file) or fail();
    }
    return @written;
  },
  link => sub {
    my ($path, $dir) = @_; my $temporary = temporary($dir);
    if (link(at($path), at($temporary))) { $mine{$temporary} = 1; return $temporary }
    $!{ENOENT} ? "" : fail();
  },
  settle => sub {
    system("sync", "-f", $root) == 0 or die [5, "sync failed"];
    my @settled;
    while (@_) {
      my @ready = splice @_, 0, 4;
      push @settled, take_place(@ready); discard($ready[0]);
    }
    return @settled;
  },
  discard => sub { discard(@_); () },
  renamed => sub { map { join "\0", @$_ } renamed(@_) },
  clean => sub {
    my $folder = beside(shift, "tmp");
    discard(map { "$folder/$_" } grep { /\A\Q$marks\E/ && !/\A\Q$run\E/ } entries($folder)); ();
  },
);

while (my ($asked, @rest) = hear()) {
  my @answer = eval { ("ok", $answers{$asked}->(@rest)) };
  if (my $why = $@) { discard(keys %mine); @answer = ("error", ref $why ? @$why : (0, "$why")) }
  reply(@answer);
}
# The one that keeps other runs out ends the container, whose other agents lose their input.
END { unlink map { at($_) } keys %mine; kill "TERM", 1 if $locked }
"""
)


class VolumeFiles:
    """A store in a volume, by an agent that is talked with."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.where = agent.where

    def _ask(self, *words: bytes) -> list[bytes]:
        self._agent.send(*words)
        status, *answer = self._agent.receive()
        if status == b"error":
            number, text = answer
            raise OSError(int(number), text.decode(errors="replace").strip())
        return answer

    def lock(self) -> None:
        """Keep other runs out for as long as this agent lives.

        Raises:
            UnreachableError: Another run is at work on this store.

        """
        if self._ask(b"lock") == [b""]:
            raise at_work(self.where)

    def folders(self) -> Iterator[tuple[bytes, list[bytes] | None]]:
        for directory in self._ask(b"folders"):
            state, *names = self._ask(b"names", directory)
            if state == b"unreadable":
                yield directory, None
            elif names:
                yield directory, names

    def look(self, directory: bytes, names: Sequence[bytes]) -> list[Seen | str | None]:
        answer = self._ask(b"look", directory, *names)
        return [_seen(said, head) for said, head in _pairs(answer)]

    def read(self, directory: bytes, names: Sequence[bytes]) -> list[bytes | None]:
        answer = self._ask(b"read", directory, *names)
        return [data if state else None for state, data in _pairs(answer)]

    def write(
        self, directory: bytes, mails: Sequence[tuple[Facts, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        words = (word for facts, data in mails for word in (_text_of(facts), data))
        return list(_pairs(self._ask(b"write", directory, *words)))

    def link(self, path: bytes, directory: bytes) -> bytes | None:
        return self._ask(b"link", path, directory)[0] or None

    def settle(self, ready: Sequence[Ready]) -> list[bytes | None]:
        words = []
        for each in ready:
            inode, size, mtime = each.old
            words += [each.temporary, each.directory, each.name]
            words.append(f"{inode} {size} {_seconds(mtime)}".encode())
        return [path or None for path in self._ask(b"settle", *words)]

    def discard(self, temporaries: Sequence[bytes]) -> None:
        self._ask(b"discard", *temporaries)

    def renamed(self, directory: bytes, names: Sequence[bytes]) -> list[tuple[bytes, list[bytes]]]:
        found = [word.split(b"\0") for word in self._ask(b"renamed", directory, *names)]
        return [(folder, there) for folder, *there in found]

    def clean(self, directory: bytes) -> None:
        self._ask(b"clean", directory)


@contextmanager
def volume_files(
    docker_host: DockerHost, image: str, mail: str
) -> Iterator[Callable[[], AbstractContextManager[Files]]]:
    """Give what opens the files of a volume, in any process; other runs are kept out.

    Args:
        docker_host: The Docker engine that has the volume, as ``connect`` takes it.
        image: An image with Perl, such as the server's own.
        mail: The volume's name, or a path on the Docker host.

    Raises:
        UnreachableError: The engine or the image did not answer, there is no such volume,
            or another run is at work on it.

    """
    client = connect(docker_host)
    try:
        if not mail.startswith("/"):
            client.volumes.get(mail)
    except docker.errors.NotFound:
        raise UnreachableError(
            "there is no such volume", where=f"volume {mail}", expected="one with mail in it"
        ) from None
    mount = as_mount(mail, dms.MAIL_DIR, read_only=False)
    argv = ["perl", "-e", _AGENT, dms.MAIL_DIR, run_mark().decode(), str(HEADER_LIMIT)]
    argv += [str(TRIES), TEMPORARY.decode()]
    with throwaway(
        client,
        image,
        mounts=[mount],
        purpose="encrypt",
        lifetime=int(LIFETIME),
        waiting=["sh", "-c", _WAITING],
    ) as container:

        @contextmanager
        def opened() -> Iterator[VolumeFiles]:
            # A connection cannot be shared between processes, so each makes its own.
            mine = connect(docker_host).containers.get(str(container.id))
            with session(mine, argv, name="encrypt", timeout=LIFETIME) as talk:
                yield VolumeFiles(Agent(talk, f"volume {mail}", _HINT))

        with opened() as keeper:
            keeper.lock()
            yield opened


def _pairs(words: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(words[::2], words[1::2], strict=True)


def _seen(said: bytes, head: bytes) -> Seen | str | None:
    fields = said.decode(errors="replace").split(" ")
    if not said:
        return None
    if not fields[0].isdecimal():
        return said.decode(errors="replace")
    inode, size, mtime, atime, links, uid, gid, mode = fields
    return Seen(
        Facts(
            inode=int(inode),
            size=int(size),
            mtime=_nanoseconds(mtime),
            atime=_nanoseconds(atime),
            links=int(links),
            uid=int(uid),
            gid=int(gid),
            mode=int(mode),
        ),
        head,
    )


def _text_of(facts: Facts) -> bytes:
    mtime, atime = _seconds(facts.mtime), _seconds(facts.atime)
    return (
        f"{facts.inode} {facts.size} {mtime} {atime} {facts.links} {facts.uid} {facts.gid} "
        f"{facts.mode}"
    ).encode()


def _seconds(nanoseconds: int) -> str:
    sign, whole = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    return f"{sign}{whole // 10**9}.{whole % 10**9:09d}"


def _nanoseconds(seconds: str) -> int:
    whole, _, fraction = seconds.lstrip("-").partition(".")
    value = int(whole) * 10**9 + int(fraction)
    return -value if seconds.startswith("-") else value
