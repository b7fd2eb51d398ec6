"""Times commands; results are ratios within one run, so that they hold when the machine drifts."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MEMORY = Path("/dev/shm")  # noqa: S108  (a benchmark's store is in memory, not on the disk)


def mailcrypt(*words: str | Path) -> list[str]:
    """Return the command that runs mailcrypt as a whole process."""
    return [sys.executable, "-m", "mailcrypt_component.cli", *map(str, words)]


def seconds(argv: Sequence[str], codes: Sequence[int] = (0,)) -> float:
    """Return how long a command takes.

    Raises:
        SystemExit: It ended with another exit code.

    """
    begin = time.perf_counter()
    done = subprocess.run(argv, stdout=subprocess.DEVNULL, check=False)
    took = time.perf_counter() - begin
    if done.returncode not in codes:
        raise SystemExit(f"{argv[0]} ended with exit code {done.returncode}")
    return took


def required(program: str) -> str:
    """Return a program's path.

    Raises:
        SystemExit: It is not installed.

    """
    if path := shutil.which(program):
        return path
    raise SystemExit(f"{program} is not installed: apt-get install ripgrep")


@contextmanager
def folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder and remove it at the end."""
    made = Path(tempfile.mkdtemp(prefix="mailcrypt-bench-", dir=parent))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)


def ratio(above: Sequence[float], below: Sequence[float], form: str = ".2f") -> str:
    """Return the median, least and most of the ratios of two columns."""
    found = sorted(one / other for one, other in zip(above, below, strict=True))
    shown = [format(value, form) for value in (statistics.median(found), found[0], found[-1])]
    return "{} ({}-{})".format(*shown)


def span(values: Sequence[float], form: str = ".2f") -> str:
    """Return the median, least and most of a column."""
    return ratio(values, [1.0] * len(values), form)
