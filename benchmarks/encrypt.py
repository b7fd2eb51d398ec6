"""``mailcrypt encrypt`` against a loop over ``doveadm fs put``, mail by mail: ``make bench``.

Both bring mail that lies in clear under a key, on the same disk, one after the other in
each pair.  The loop is what one writes by hand: encrypt into a file beside, set its time,
move it over; it does not read back, and does not survive a kill.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.store import Key, Store

PAIRS = 5
IMAGE = "mailcrypt-dms-dev:12"
MAILS = 2000
LOOPED = 100
SIZE = 3000
LOOP = (
    f"cd /store && for f in $(find . -path '*/cur/*' -type f | head -n {LOOPED}); do"
    ' doveadm fs put crypt public_key_path=/public.pem:posix:prefix=/store/ "$f" "$f.new"'
    ' && touch -r "$f" "$f.new" && mv "$f.new" "$f" || exit 1; done; sync -f .'
)


def ours(store: Path, pem: Path) -> float:
    """Return how long ``mailcrypt encrypt`` takes for one mail, as a whole process, in seconds."""
    argv = ["encrypt", str(store), "--key", str(pem), "--apply", "--json"]
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "mailcrypt_component.cli", *argv],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return (time.perf_counter() - begin) / MAILS


def doveadm(store: Path, public: Path) -> float:
    """Return how long the loop takes for one mail, in seconds, its container's start left out."""
    timed = f"s=$(date +%s%N); {LOOP}; e=$(date +%s%N); echo $((e - s))"
    argv = ["docker", "run", "--rm", "--entrypoint", "sh", "-v", f"{store}:/store"]
    argv += ["-v", f"{public}:/public.pem:ro", IMAGE, "-c", timed]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1e9 / LOOPED


def pair(folder: Path) -> tuple[float, float]:
    """Return both times on fresh copies of one store."""
    key = Key()
    (folder / "key.pem").write_text(key.pem)
    (folder / "public.pem").write_text(key.public_pem)
    for name in ("ours", "theirs"):
        store = Store(folder / name)
        for number in range(MAILS):
            store.put(os.urandom(SIZE), name=f"{number}.M1P1.mail,S={SIZE}")
    took = ours(folder / "ours", folder / "key.pem")
    return took, doveadm(folder / "theirs", folder / "public.pem")


def main() -> None:
    """Print the comparison."""
    pairs = []
    for _ in range(PAIRS):
        folder = Path(tempfile.mkdtemp(prefix="mailcrypt-bench-"))
        try:
            pairs.append(pair(folder))
        finally:
            shutil.rmtree(folder)
    ratios = sorted(theirs / mine for mine, theirs in pairs)
    mine, theirs = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"encrypt {mine:.2f} ms a mail, the loop {theirs:.2f} ms: "
        f"{statistics.median(ratios):.1f} times as fast ({ratios[0]:.1f}-{ratios[-1]:.1f})"
    )


if __name__ == "__main__":
    main()
