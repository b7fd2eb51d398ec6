"""An agent in a container, a program in Perl that is talked with in messages.

To start a command in a container costs the engine 40 ms and more; an agent is started once.
Perl is there in every Debian.

A message is a list of byte strings, each with its length (4 bytes, big-endian) in front,
and all of it with its own length in front of that.  What the strings mean is for the agent's
own program to say.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Final

from mailcrypt_component.model.errors import UnreachableError

if TYPE_CHECKING:
    from mailcrypt_component.docker_api.run import Session

PERL: Final = r"""
use strict; use warnings; binmode STDIN; binmode STDOUT; $SIG{PIPE} = "IGNORE";

sub fail { die [0 + $!, "$!"] }
sub whole {
  my ($file, $length, $data) = (@_, "");
  while (length $data < $length) {
    defined(my $n = sysread($file, $data, $length - length $data, length $data)) or fail();
    last unless $n;
  }
  return $data;
}
sub put { my ($file, $data) = @_; my $at = 0;
  while ($at < length $data) {
    defined(my $n = syswrite($file, $data, length($data) - $at, $at)) or fail(); $at += $n;
  }
}
sub hear {
  length(my $head = whole(\*STDIN, 4)) == 4 or return;
  return unpack "(N/a*)*", whole(\*STDIN, unpack("N", $head));
}
sub reply {
  my $message = pack "(N/a*)*", @_;
  put(\*STDOUT, pack("N", length $message) . $message);
}
"""
"""What an agent's own program goes on from: it hears messages, and replies."""

_LIMIT: Final = 1 << 30
"""Bytes of a message; letters where its length should be make more."""


class Agent:
    """A program in a container that was made of ``PERL``."""

    def __init__(self, session: Session, where: str, hint: str = "") -> None:
        self._session = session
        self._heard = io.BufferedReader(session, 1 << 20)
        self._hint = hint
        self.where = where

    def send(self, *words: bytes) -> None:
        """Send a message.

        Raises:
            UnreachableError: The connection broke.

        """
        message = b"".join(struct.pack(">L", len(word)) + word for word in words)
        try:
            self._session.send(struct.pack(">L", len(message)) + message)
        except OSError as error:
            raise self._broken(f"the connection broke: {error}") from None

    def receive(self) -> list[bytes]:
        """Return the next message.

        Raises:
            UnreachableError: The connection broke.

        """
        head = self._read(4)
        (size,) = struct.unpack(">L", head)
        if size > _LIMIT:  # It is the engine that speaks: there is no Perl, or no agent any more.
            said = head + self._heard.read()
            raise self._broken(said.decode(errors="replace").strip())
        message = self._read(size)
        words, start = [], 0
        while start < len(message):
            end = start + 4 + int.from_bytes(message[start : start + 4])
            words.append(message[start + 4 : end])
            start = end
        return words

    def _read(self, size: int) -> bytes:
        data = self._heard.read(size)
        if len(data) < size:
            said = self._session.errors.decode(errors="replace").strip()
            raise self._broken(said or "the connection broke")
        return data

    def _broken(self, said: str) -> UnreachableError:
        return UnreachableError(said, where=self.where, hint=self._hint)
