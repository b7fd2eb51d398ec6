"""The audit against ``grep`` and ``rg``, which only tell encrypted from clear: ``make bench``.

All go over the same tree as whole processes, one after the other, several times.  With
``--million`` it is done again with ten times the mail, for the slope and the memory.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
from pathlib import Path

from benchmarks.measure import folder, mailcrypt, ratio, required, seconds, span

ROUNDS = 9
ENCRYPTED = Path(__file__).parents[1] / "tests/vectors/encrypted/2.4-p256-small"
PATTERN = r"\ACRYPTED\x03\x07"


def fill(root: Path, mails: int) -> None:
    """Write mails of about 3 KiB for twenty users."""
    start = ENCRYPTED.read_bytes()[:255]
    for user in range(20):
        box = root / f"example.test/user{user:02}/cur"
        box.mkdir(parents=True)
        for number in range(mails // 20):
            name = f"{1_600_000_000 + number}.M{number}P1.mail,S=2700:2,S"
            (box / name).write_bytes(start + os.urandom(2700))


def compare(mails: int) -> float:
    """Print one comparison; return the audit's median in seconds."""
    with folder() as root:
        fill(root, mails)
        audit = mailcrypt("audit", root, "--json")
        grep = ["grep", "-rLaP", PATTERN, str(root)]
        rg = [required("rg"), "-j2", "-uuu", "-a", "--files-without-match", PATTERN, str(root)]
        seconds(audit)
        rows = [(seconds(audit), seconds(grep, (0, 1)), seconds(rg, (0, 1))) for _ in range(ROUNDS)]
    ours, by_grep, by_rg = ([row[column] for row in rows] for column in range(3))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"audit of {mails:,} mails: {span(ours)} s, largest process so far {peak:.0f} MiB")
    print(f"  {ratio(ours, by_grep)} x grep -rLaP, which takes {span(by_grep)} s")
    print(f"  {ratio(ours, by_rg)} x rg -j2, which takes {span(by_rg)} s")
    return statistics.median(ours)


if __name__ == "__main__":
    small = compare(100_000)
    if "--million" in sys.argv:
        print(f"ten times the mail takes {compare(1_000_000) / small:.1f} times as long")
