"""``mailcrypt encrypt`` against what one does with Dovecot's tools: ``make bench``.

The loop is what one writes by hand: ``doveadm fs put`` into a file beside the mail, set its time,
move it over.  It does not read back, and does not survive a kill.  ``doveadm backup`` makes an
encrypted copy of a mailbox in one process; it leaves the mail itself in clear.  With ``--memory``
the stores are in memory, for a machine whose disk is busy with something else.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from benchmarks import doveadm
from benchmarks.measure import MEMORY, folder, mailcrypt, ratio, seconds, span
from tests.store import Key, Store

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 5
MAILS = 2000
FEW = 200
SIZE = 3000
LOOP = (
    "cd /bench/looped && for f in $(find . -path '*/cur/*' -type f); do"
    " doveadm fs put crypt public_key_path=/bench/public.pem:posix:prefix=/bench/looped/"
    ' "$f" "$f.new" && touch -r "$f" "$f.new" && mv "$f.new" "$f" || exit 1; done; sync -f .'
)


def fill(root: Path, mails: int) -> None:
    """Write mails in clear."""
    store = Store(root)
    for number in range(mails):
        mail = b"Subject: encrypt\r\n\r\n" + os.urandom(SIZE // 2).hex().encode() + b"\r\n"
        name = f"{number}.M1P1.mail,S={len(mail)},W={len(mail)}:2,S"
        store.put(mail, user="u", name=name)


def one_round(place: Path) -> tuple[float, float, float]:
    """Return the times for one mail in seconds: ours, the loop's and the backup's."""
    key = Key()
    (place / "key.pem").write_text(key.pem)
    (place / "public.pem").write_text(key.public_pem)
    fill(place / "ours", MAILS)
    fill(place / "looped", FEW)
    fill(place / "copied", FEW)
    argv = mailcrypt("encrypt", place / "ours", "--key", place / "key.pem", "--apply", "--json")
    ours = seconds(argv) / MAILS
    doveadm.own(place)
    looped = doveadm.timed(place, LOOP) / FEW
    return ours, looped, doveadm.backup(place, "copied/u", encrypt=True) / FEW


def main(parent: Path | None) -> None:
    """Print the comparison, of stores below a folder; the disk's temporary one by default."""
    rows = []
    for _ in range(ROUNDS):
        with folder(parent) as place:
            rows.append(one_round(place))
    ours, looped, copied = (
        [1000 * value for value in column] for column in zip(*rows, strict=True)
    )
    print(
        f"encrypt: {span(ours)} ms a mail of {SIZE:,} bytes, in {parent or 'a folder on the disk'}"
    )
    print(f"  {ratio(looped, ours, '.1f')} x as fast as a loop of doveadm, {span(looped)} ms")
    print(f"  {ratio(copied, ours, '.1f')} x as fast as doveadm backup, {span(copied)} ms")


if __name__ == "__main__":
    main(MEMORY if "--memory" in sys.argv else None)
