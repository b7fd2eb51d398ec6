"""The audit against ``grep``, which only tells encrypted from clear: ``make bench``.

Both go over the same tree as whole processes, one after the other, several times;
the ratio is taken within each pair.  With ``--million`` it is done again with ten times
the mail, for the slope and the memory.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAIRS = 9
ENCRYPTED = Path(__file__).parents[1] / "tests/vectors/encrypted/2.4-p256-small"
GREP = ["grep", "-rLaP", r"\ACRYPTED\x03\x07"]


def fill(root: Path, mails: int) -> None:
    """Write mails of about 3 KiB for twenty users."""
    start = ENCRYPTED.read_bytes()[:255]
    for user in range(20):
        folder = root / f"example.test/user{user:02}/cur"
        folder.mkdir(parents=True)
        for number in range(mails // 20):
            name = f"{1_600_000_000 + number}.M{number}P1.mail,S=2700:2,S"
            (folder / name).write_bytes(start + os.urandom(2700))


def seconds(argv: list[str], codes: tuple[int, ...]) -> float:
    """Return how long a command takes."""
    begin = time.perf_counter()
    done = subprocess.run(argv, stdout=subprocess.DEVNULL, check=False)
    took = time.perf_counter() - begin
    if done.returncode not in codes:
        raise SystemExit(f"{argv[0]} ended with {done.returncode}")
    return took


def compare(mails: int) -> float:
    """Print one comparison; return the audit's median in seconds."""
    root = Path(tempfile.mkdtemp(prefix="mailcrypt-bench-"))
    try:
        fill(root, mails)
        audit = [sys.executable, "-m", "mailcrypt_component.cli", "audit", str(root), "--json"]
        grep = [*GREP, str(root)]
        seconds(audit, (0,))
        pairs = [(seconds(audit, (0,)), seconds(grep, (0, 1))) for _ in range(PAIRS)]
    finally:
        shutil.rmtree(root)
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(mine / other for mine, other in pairs)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{mails:,} mails: audit {ours:.2f} s, grep {theirs:.2f} s, ratio "
        f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}); "
        f"largest process so far {peak:.0f} MiB"
    )
    return ours


if __name__ == "__main__":
    small = compare(100_000)
    if "--million" in sys.argv:
        print(f"ten times the mail takes {compare(1_000_000) / small:.1f} times as long")
