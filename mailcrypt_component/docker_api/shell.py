"""Commands in a container side by side, and connections from there, through one agent."""

from __future__ import annotations

import io
import os
from collections import defaultdict, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from mailcrypt_component.docker_api.agent import PERL, Agent
from mailcrypt_component.docker_api.run import Result, session
from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from docker.models.containers import Container

# A question is a number, what is asked, and with what; answers bear the same number.
_PROGRAM: Final = (
    PERL
    + r"""
use IPC::Open3; use IO::Select; use Socket; use Symbol "gensym";
my ($select, %reading, %dialled) = (IO::Select->new(\*STDIN));

sub reads { my ($file, $read) = @_; $reading{fileno $file} = $read; $select->add($file) }
sub ends { my $file = shift; $select->remove($file); delete $reading{fileno $file}; close $file }

my %questions = (
  run => sub {
    my ($number, $input, @argv) = @_; my ($in, $out, $err) = (undef, undef, gensym);
    my $pid = eval { local $SIG{PIPE} = "DEFAULT"; open3($in, $out, $err, @argv) };
    return reply($number, "done", 127, "", "$@") unless $pid;
    print $in $input; close $in;
    my @said = ("", ""); my $open = 2;
    for ([$out, 0], [$err, 1]) { my ($file, $which) = @$_; reads($file, sub {
      return if sysread $file, $said[$which], 65536, length $said[$which];
      ends($file);
      return if --$open;
      waitpid $pid, 0;
      reply($number, "done", $? & 127 ? 128 + ($? & 127) : $? >> 8, @said);
    }) }
  },
  dial => sub {
    my ($number, $port) = @_;
    socket(my $file, PF_INET, SOCK_STREAM, 0) or fail();
    connect($file, sockaddr_in($port, INADDR_LOOPBACK)) or fail();
    $dialled{$number} = $file;
    reads($file, sub {
      my $size = sysread $file, my $data, 65536;
      ends($file) unless $size;
      reply($number, "data", $size ? $data : "");
    });
  },
  data => sub { my ($number, $data) = @_; put($dialled{$number}, $data) },
);

while (1) { for my $file ($select->can_read) {
  if (my $read = $reading{fileno $file}) { $read->(); next }
  my ($number, $asked, @rest) = hear() or exit;
  eval { $questions{$asked}->($number, @rest) };
  if (my $why = $@) { reply($number, "fault", ref $why ? $why->[1] : "$why") }
} }
"""
)


class Shell:
    """Commands in a container, and connections to its own ports."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._asked = 0
        self._came: defaultdict[int, deque[list[bytes]]] = defaultdict(deque)

    def run(self, argv: Sequence[str], stdin: bytes = b"") -> Result:
        """Run a command and wait for its result.

        Args:
            argv: The command; it is visible to others, so it holds no secret.
            stdin: What the command reads, 64 KiB at the most; the place for secrets.

        Raises:
            UnreachableError: The container is gone, there is no such command, or the time is up.

        """
        return self.begin(argv, stdin)()

    def begin(self, argv: Sequence[str], stdin: bytes = b"") -> Callable[[], Result]:
        """Have a command run; return what waits for its result, once."""
        number = self._ask(b"run", stdin, *map(os.fsencode, argv))

        def result() -> Result:
            code, stdout, stderr = self._next(number)
            return Result(int(code), stdout, stderr)

        return result

    def dial(self, port: int) -> Connection:
        """Connect to a TCP port of the container's own loopback; faults come with the reading."""
        number = self._ask(b"dial", b"%d" % port)
        return Connection(
            hear=lambda: self._next(number)[0],
            say=lambda data: self._agent.send(b"%d" % number, b"data", data),
        )

    def _ask(self, asked: bytes, *words: bytes) -> int:
        self._asked += 1
        self._agent.send(b"%d" % self._asked, asked, *words)
        return self._asked

    def _next(self, number: int) -> list[bytes]:
        while not self._came[number]:
            of, *answer = self._agent.receive()
            self._came[int(of)].append(answer)
        kind, *words = self._came[number].popleft()
        if kind == b"fault":
            said = words[0].decode(errors="replace").strip()
            raise UnreachableError(said, where=self._agent.where)
        return words


class Connection(io.RawIOBase):
    """A connection to a port in a container."""

    def __init__(self, hear: Callable[[], bytes], say: Callable[[bytes], None]) -> None:
        self._hear = hear
        self._rest = memoryview(b"")
        self.send = say

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has come; nothing where the other side has ended it."""
        self._rest = self._rest or memoryview(self._hear())
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


@contextmanager
def shell(container: Container, *, timeout: float) -> Iterator[Shell]:
    """Run commands in a container through one agent, bounded in time altogether.

    Raises:
        UnreachableError: It could not be started, or the time was up.

    """
    argv = ["perl", "-e", _PROGRAM]
    with session(container, argv, name="what was asked", timeout=timeout) as talk:
        yield Shell(Agent(talk, f"container {container.name}"))
